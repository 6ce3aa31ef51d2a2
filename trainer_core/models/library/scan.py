"""Scans the library: walks its folders, reuses the results of the last scan, and reads new and changed models."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from trainer_core.models.library import cache, reading
from trainer_core.models.library.cache import Kept, Row
from trainer_core.models.library.entry import Entry, from_row
from trainer_core.models.library.query import Library
from trainer_core.models.library.roots import Root, Roots, roots
from trainer_core.models.library.walk import Candidate, walk

Progress = Callable[[int, int], None]
"""Called with the number of finished models and the total number."""


def scan(
    folders: Iterable[Path | Root] | None = None,
    *,
    refresh: bool = False,
    progress: Progress | None = None,
    cancelled: threading.Event | None = None,
    kept_in: Path | None = None,
) -> Library:
    """The models in the folders, by default in every folder that `roots()` finds.

    A file that has not changed since the last scan is not read again, unless `refresh` is True. `scan` may run in any
    thread and calls `progress` from it; a scan that is `cancelled` returns what it has found so far. The results are
    stored in `kept_in`, by default <home>/library.json.
    """
    is_cancelled = cancelled.is_set if cancelled is not None else lambda: False
    report = progress or (lambda _done, _total: None)
    kept_in = kept_in or cache.kept_in()
    known = cache.load(kept_in)
    searched = roots() if folders is None else Roots(_as_roots(folders))
    candidates, notices = walk(searched.folders, is_cancelled)
    entries = {} if refresh else dict(_unchanged(candidates, known))
    unknown = {each.path: each for each in candidates if each.path not in entries}
    rows = {str(path): known[str(path)][1] for path in entries}
    report(len(entries), len(candidates))
    with contextlib.closing(reading.read(list(unknown), is_cancelled)) as answers:
        for path, row in answers:
            entries[path] = _entry(unknown[path], row)
            rows[str(path)] = row
            report(len(entries), len(candidates))
    is_complete = not is_cancelled()
    again = _kept(candidates, rows, known, searched.folders if is_complete else ())
    unkept = cache.save(kept_in, again) if again != known else ""
    return Library(
        tuple(entries[each.path] for each in candidates if each.path in entries),
        searched.folders,
        (*searched.notices, *notices, *filter(None, [unkept])),
        is_complete,
        sum(path in entries for path in unknown),
    )


def _as_roots(folders: Iterable[Path | Root]) -> tuple[Root, ...]:
    return tuple(each if isinstance(each, Root) else Root(Path(each), "yours", "asked for") for each in folders)


def _unchanged(candidates: Iterable[Candidate], known: Kept) -> Iterator[tuple[Path, Entry]]:
    """The models that have not changed since the last scan."""
    for each in candidates:
        stamp, row = known.get(str(each.path), ("", {}))
        if stamp == each.stamp:
            # A user may have edited the stored results: a model whose row is not valid is read again.
            with contextlib.suppress(TypeError, ValueError, AttributeError):
                yield each.path, _entry(each, row)


def _kept(candidates: Iterable[Candidate], rows: dict[str, Row], known: Kept, searched: Iterable[Root]) -> Kept:
    """The results to store: all of this scan, and the older ones for folders that were not searched."""
    starts = tuple(f"{root.path}{os.sep}" for root in searched)
    kept = {path: row for path, row in known.items() if not path.startswith(starts)}
    stamps = {str(each.path): each.stamp for each in candidates}
    return kept | {path: (stamps[path], row) for path, row in rows.items() if "again" not in row}


def _entry(each: Candidate, row: Row) -> Entry:
    found, error = from_row(row)
    return Entry(each.path, each.size_bytes, each.modified_s, found, error, each.file, each.app)

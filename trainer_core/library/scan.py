"""A scan of the library: walks its folders, takes what is known from the last scan, and reads the rest."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from trainer_core.library import cache, reading
from trainer_core.library.cache import Kept, Row
from trainer_core.library.entry import Entry, from_row
from trainer_core.library.query import Library
from trainer_core.library.roots import Root, Roots, roots
from trainer_core.library.walk import Candidate, walk

Progress = Callable[[int, int], None]
"""Called with how many models are known, and how many there are."""


def scan(
    folders: Iterable[Path | Root] | None = None,
    *,
    refresh: bool = False,
    progress: Progress | None = None,
    cancelled: threading.Event | None = None,
    kept_in: Path | None = None,
) -> Library:
    """The models in folders, or in every folder that `roots()` finds.

    A file that was read before and has not changed since is not read again, unless `refresh` asks for that. May be called
    from any thread; `progress` is called from that thread, and a scan that was `cancelled` returns what it has by then.
    What was found is kept in `kept_in`, else in <home>/library.json.
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
    """The models that the last scan found and that have not changed since."""
    for each in candidates:
        stamp, row = known.get(str(each.path), ("", {}))
        if stamp == each.stamp:
            # What was kept may have been edited by hand: such a model is read again.
            with contextlib.suppress(TypeError, ValueError, AttributeError):
                yield each.path, _entry(each, row)


def _kept(candidates: Iterable[Candidate], rows: dict[str, Row], known: Kept, searched: Iterable[Root]) -> Kept:
    """What is kept for the next scan: all of this one, and what lies in folders that were not searched."""
    starts = tuple(f"{root.path}{os.sep}" for root in searched)
    kept = {path: row for path, row in known.items() if not path.startswith(starts)}
    stamps = {str(each.path): each.stamp for each in candidates}
    return kept | {path: (stamps[path], row) for path, row in rows.items() if "again" not in row}


def _entry(each: Candidate, row: Row) -> Entry:
    found, error = from_row(row)
    return Entry(each.path, each.size_bytes, each.modified_s, found, error, each.file, each.app)

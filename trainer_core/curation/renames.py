"""Where images of a dataset are now that an edit has renamed or converted, from the records of the edits."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from functools import partial
from pathlib import Path, PurePosixPath

from trainer_core.curation import records
from trainer_core.curation.archives import IMAGES
from trainer_core.curation.contents import NOTHING, OWN
from trainer_core.curation.journal import EDITS
from trainer_core.curation.records import DONE, ROWS, Row
from trainer_core.files import open_own


def current(root: Path, gone: Collection[str]) -> Mapping[str, str]:
    """The present path of each of these paths at which there is no file; one that was not renamed is left out."""
    if not gone:
        return {}
    waiting = {path: path for path in gone}
    # From the oldest edit on, each path is followed through every edit that moved it.
    for folder in _edits(root):
        moved = _moves(folder, waiting)
        for old, new in moved.items():
            waiting[new] = waiting.pop(old)
    return {was: now for now, was in waiting.items() if now != was and (root / now).is_file()}


def _edits(root: Path) -> Iterator[Path]:
    """The folders of the edits that were completed, the oldest first."""
    own = root / OWN
    if own.is_symlink() or (own / EDITS).is_symlink():
        return
    try:
        inside = [one for one in (own / EDITS).iterdir() if one.name.isdecimal() and not one.is_symlink()]
    except OSError:
        return
    yield from sorted((one for one in inside if (one / DONE).is_file()), key=lambda one: int(one.name))


def _moves(folder: Path, paths: Collection[str]) -> Mapping[str, str]:
    """Which of these paths an edit moved, and to where."""
    if not _names_any(folder / ROWS, paths):
        return {}
    rows = records.rows(folder)
    made = [row for row in rows if row.before == NOTHING and row.after != NOTHING]
    left = [row for row in rows if row.after == NOTHING and row.path in paths]
    found = {}
    for row in left:
        target = next(filter(partial(_same_file, row), made), None) or next(
            filter(partial(_converted, row), made), None
        )
        if target is not None:
            found[row.path] = target.path
    return found


def _same_file(row: Row, other: Row) -> bool:
    return other.after == row.before


def _converted(row: Row, other: Row) -> bool:
    """Whether the other file has the same name apart from its extension, and is an image, too."""
    one, new = PurePosixPath(row.path), PurePosixPath(other.path)
    return one.with_suffix("") == new.with_suffix("") and new.suffix.casefold() in IMAGES


def _names_any(path: Path, wanted: Collection[str]) -> bool:
    """Whether the record of an edit contains one of these paths; to read all records as JSON would take long."""
    try:
        with open_own(path) as file:
            content = file.read(records.LONGEST_ROWS_BYTES)
    except OSError:
        return False
    return any(json.dumps(one).encode() in content for one in wanted)

"""Removes what old edits of a dataset keep, when the user says so: those edits cannot be taken back any more.

The record of an edit stays: what was done, when, by whom, and to which files.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from trainer_core.curation import originals
from trainer_core.curation.journal import BEFORE, Journal
from trainer_core.curation.records import PRUNED, Edit
from trainer_core.errors import DatasetError
from trainer_core.files import write_whole


@dataclass(frozen=True)
class Pruning:
    """The edits that cannot be taken back afterwards, and how many bytes that frees."""

    edits: tuple[Edit, ...]
    freed_bytes: int


def kept_bytes(journal: Journal) -> int:
    """How many bytes the edits of a dataset keep, so that they can be taken back; a file that the dataset still uses counts 0."""
    return _freed(journal, journal.edits())


def preview(journal: Journal, keep: int) -> Pruning:
    """What `prune` would do; nothing is removed.

    Raises:
        DatasetError: `keep` is negative.
    """
    if keep < 0:
        raise DatasetError("The number of edits to keep cannot be negative.")
    edits = journal.edits()
    old = tuple(one for one in edits[: max(0, len(edits) - keep)] if not one.is_pruned)
    return Pruning(old, _freed(journal, old))


def prune(journal: Journal, keep: int) -> Pruning:
    """Removes what all edits but the newest `keep` have replaced; returns what was done.

    Raises:
        DatasetError: `keep` is negative, another program edits the dataset, or it cannot be written.
    """
    try:
        with journal.alone():
            found = preview(journal, keep)
            for edit in found.edits:
                folder = journal.folder_of(edit.number)
                # The mark comes first: an edit of which only a part is kept must not be taken back.
                write_whole(folder / PRUNED, "", durable=True)
            for edit in journal.edits():
                if edit.is_pruned:
                    shutil.rmtree(journal.folder_of(edit.number) / BEFORE, ignore_errors=True)
                    shutil.rmtree(originals.folder(journal.root, edit.number), ignore_errors=True)
    except OSError as error:
        raise DatasetError(f"The dataset cannot be changed: {error.strerror or error}.") from error
    return found


def _freed(journal: Journal, edits: tuple[Edit, ...] | list[Edit]) -> int:
    """The bytes of the files that only these edits have: one that is linked from elsewhere is not freed."""
    links: Counter[tuple[int, int]] = Counter()
    sizes: dict[tuple[int, int], tuple[int, int]] = {}
    for edit in edits:
        kept = journal.folder_of(edit.number) / BEFORE, originals.folder(journal.root, edit.number)
        for found in (status for folder in kept for status in _statuses(folder)):
            key = found.st_dev, found.st_ino
            links[key] += 1
            sizes[key] = found.st_nlink, found.st_size
    return sum(size for key, (count, size) in sizes.items() if links[key] >= count)


def _statuses(folder: Path) -> Iterator[os.stat_result]:
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                found = entry.stat(follow_symlinks=False)
                if stat.S_ISREG(found.st_mode):
                    yield found
    except OSError:
        return

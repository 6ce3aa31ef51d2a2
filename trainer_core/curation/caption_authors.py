"""Counts who wrote the captions of a dataset, as far as its edits tell."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from trainer_core.curation import contents, gathering, records
from trainer_core.curation.journal import Journal
from trainer_core.errors import DatasetError

UNKNOWN = ""
"""A caption of which no edit tells: it came in with its image, or was written by another program."""
_WRITING = frozenset({"import", "undo"})
"""Edits that bring in what somebody else has written."""


def counted(root: Path, ending: str = ".txt") -> dict[str, int]:
    """How many captions each author wrote: "user", the name of a program or model, or "" if it is not known.

    A caption counts for the author of the newest edit that wrote it, if it is still as that edit left it.

    Raises:
        DatasetError: the folder cannot be listed.
    """
    journal = Journal(root)
    written: dict[str, tuple[str, str]] = {}
    for edit in journal.edits():
        author = UNKNOWN if edit.name in _WRITING and edit.author == "user" else edit.author
        for row in records.rows(journal.folder_of(edit.number)):
            written[row.path] = author, row.after
    found: Counter[str] = Counter()
    for item in gathering.caption_files(root, ending):
        try:
            now = contents.mark(root / item.path)
        except (DatasetError, OSError):
            continue
        if now != contents.NOTHING:
            author, after = written.get(item.path, (UNKNOWN, ""))
            found[author if after == now else UNKNOWN] += 1
    return dict(found)

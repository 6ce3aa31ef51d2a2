"""The records of edits in a dataset: which there are, which were taken back, and which files each of them changed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer_core.curation.contents import Mark
from trainer_core.files import open_own

ROWS, DONE, PRUNED = "rows.jsonl", "done", "pruned"
LONGEST_ROWS_BYTES = 1 << 30


@dataclass(frozen=True)
class Edit:
    """An edit that was made. `author` is "user", or what wrote the content; `undoes` is the number of the edit that it takes back.

    `refused` are the files that it left as they were, as (path, reason). `is_pruned`: what it replaced was removed, so that it
    cannot be taken back.
    """

    number: int
    name: str
    title: str
    author: str
    time: float
    files: int
    undoes: int | None = None
    refused: tuple[tuple[str, str], ...] = ()
    is_pruned: bool = False


@dataclass(frozen=True)
class Row:
    """A file of an edit: what it was before and after, as marks."""

    path: str
    before: Mark
    after: Mark
    made: tuple[str, ...] = ()
    """The folders that the edit makes for this file."""

    def as_dict(self) -> dict[str, Any]:
        """The row as it is written."""
        return {"path": self.path, "before": self.before, "after": self.after, "made": list(self.made)}

    @classmethod
    def read(cls, table: object) -> Row | None:
        """The row in a line of the record; None if it is damaged."""
        if not isinstance(table, Mapping) or not isinstance(path := table.get("path"), str):
            return None
        before, after, made = table.get("before"), table.get("after"), table.get("made")
        if not (isinstance(before, str) and isinstance(after, str) and isinstance(made, list)):
            return None
        return cls(path, before, after, tuple(one for one in made if isinstance(one, str)))


def taken_back(edits: Iterable[Edit]) -> set[int]:
    """The numbers of the edits that were taken back, and not made again."""
    gone: set[int] = set()
    for edit in sorted(edits, key=lambda one: one.number, reverse=True):
        if edit.undoes is not None and edit.number not in gone:
            gone.add(edit.undoes)
    return gone


def later(edit: Edit, edits: Iterable[Edit]) -> list[Edit]:
    """The edits after this one that are in effect, the oldest first.

    What takes back an edit that came after this one, too, is not among them: both together change nothing.
    """
    found = list(edits)
    gone = taken_back(found)
    return [
        one
        for one in found
        if one.number > edit.number and one.number not in gone and (one.undoes is None or one.undoes < edit.number)
    ]


def is_undo(edit: Edit, edits: Iterable[Edit]) -> bool:
    """Whether it takes back an edit, not an undo."""
    return any(one.number == edit.undoes and one.undoes is None for one in edits)


def edit(folder: Path) -> Edit | None:
    """The edit in this folder; None if it was not completed, or its record cannot be read."""
    lines, done = _lines(folder / ROWS), _lines(folder / DONE)
    if not lines or not done or not isinstance(lines[0], Mapping) or not isinstance(done[0], Mapping):
        return None
    head, refused = lines[0], done[0].get("refused")
    when, undoes = head.get("time"), head.get("undoes")
    pairs = [tuple(map(str, one)) for one in refused if isinstance(one, list) and len(one) == 2] if isinstance(refused, list) else []  # fmt: skip
    name, title, author = (str(head.get(key, "")) for key in ("name", "title", "author"))
    left = {path for path, _ in pairs}
    return Edit(
        int(folder.name),
        name,
        title,
        author,
        float(when) if isinstance(when, (int, float)) else 0.0,
        sum(row.path not in left for row in rows(folder)),
        undoes if isinstance(undoes, int) else None,
        tuple((path, reason) for path, reason in pairs),
        (folder / PRUNED).exists(),
    )


def rows(folder: Path) -> list[Row]:
    """The files that an edit changes, in its order; what cannot be read is left out."""
    return [row for line in _lines(folder / ROWS)[1:] if (row := Row.read(line)) is not None]


def _lines(path: Path) -> list[Any]:
    """The JSON values in the lines of a file; none if it cannot be read."""
    try:
        with open_own(path) as file:
            return [json.loads(line) for line in file.read(LONGEST_ROWS_BYTES).splitlines() if line.strip()]
    except (OSError, ValueError, RecursionError):
        return []

"""The edits of a dataset: each is whole or not at all, also after a crash, and each can be undone, byte by byte.

An edit has a folder in `.easel/edits` of the dataset: `rows.jsonl` says which files it changes and what they contained,
`before` keeps those files, `new` has the new ones until they are in place, and `done` is written at the end. Files are
only ever linked and renamed into place. So an undo needs no space on the disk, a file keeps its times and rights when it
comes back, and a training that has linked a file keeps the content with which it began.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import stat
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trainer_core.curation import contents, records
from trainer_core.curation.contents import Mark
from trainer_core.curation.records import DONE, ROWS, Edit, Row
from trainer_core.errors import DatasetError
from trainer_core.files import write_whole
from trainer_core.text import printable

OWN = contents.OWN
EDITS = "edits"
BEFORE, NEW = "before", "new"
WAIT_S = 10.0
CHANGED = "it was changed by another program meanwhile"


@dataclass(frozen=True)
class Change:
    """One file of an edit: what `path`, relative to the dataset with "/", shall contain.

    `content` are its bytes, or another file whose content it gets; None removes it. `was` is what it must be now: if it is
    anything else, the file is left as it is, and the edit says so.
    """

    path: str
    content: bytes | Path | None
    was: Mark | None = None
    known: Mark | None = None
    """The mark of another file whose content it gets, if that is known; it is not read then."""


@dataclass
class _Plan:
    """An edit that is being made."""

    folder: Path
    head: dict[str, Any]
    rows: list[Row] = field(default_factory=list)
    found: list[tuple[Path, tuple[int, ...] | None]] = field(default_factory=list)
    """The place of each row's file, and its stamp when it was read."""
    refused: list[tuple[str, str]] = field(default_factory=list)


class Journal:
    """The edits of the dataset in a folder. Nothing is written before the first one.

    Raises:
        DatasetError: there is no such folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(root)
        if not self.root.is_dir():
            raise DatasetError(f"There is no folder {printable(str(root), 200)}.")

    # ---- reading ----
    def edits(self) -> list[Edit]:
        """All edits that were completed, the oldest first. One whose record is damaged is left out."""
        return [edit for folder in self._folders() if (edit := records.edit(folder)) is not None]

    def undoable(self) -> Edit | None:
        """The edit that `undo` takes back: the newest that was not taken back yet."""
        edits = self.edits()
        gone = records.taken_back(edits)
        found = next((one for one in reversed(edits) if one.undoes is None and one.number not in gone), None)
        return None if found is None or found.is_pruned else found

    def redoable(self) -> Edit | None:
        """The undo that `redo` takes back; None also if something else was changed after it."""
        edits = self.edits()
        gone = records.taken_back(edits)
        for edit in reversed(edits):
            if edit.undoes is None:
                if edit.number not in gone:
                    return None
            elif edit.number not in gone and records.is_undo(edit, edits):
                return None if edit.is_pruned else edit
        return None

    # ---- changing ----
    def apply(self, name: str, title: str, changes: Iterable[Change], author: str = "user") -> Edit | None:
        """Makes these changes as one edit; None if they change nothing.

        Args:
            name: the kind of edit, such as "replace".
            title: what it does, for the list of edits.
            changes: the files; each path once.
            author: "user", or the program or model that wrote the content.

        Raises:
            DatasetError: another program edits the dataset, a path leaves it, or the disk is full; nothing is changed then.
        """
        head = {"name": name, "title": title, "author": author}
        with self.alone():
            return self._make(head, list(changes))

    def undo(self, number: int | None = None) -> Edit | None:
        """Takes back an edit, or the newest that was not taken back; None if there is none.

        A file that was changed since then is left as it is, and is named in `refused`.

        Raises:
            DatasetError: there is no such edit, it was taken back, a later edit changed some of its files, or as with `apply`.
        """
        with self.alone():
            edit = self.undoable() if number is None else self._edit(number)
            if number is not None and edit is not None:
                self._check_later(edit)
            return self._take_back(edit) if edit is not None else None

    def redo(self) -> Edit | None:
        """Takes back the newest undo; None if there is none, or something was changed after it.

        Raises:
            DatasetError: a later edit changed some of its files, or as with `apply`.
        """
        with self.alone():
            edit = self.redoable()
            if edit is not None:
                self._check_later(edit)
            return self._take_back(edit) if edit is not None else None

    def recover(self) -> None:
        """Takes back an edit that was interrupted. Each change of the dataset does this first.

        Raises:
            DatasetError: another program edits the dataset.
        """
        if self._folders():
            with self.alone():
                pass

    # ---- inside ----
    def _edit(self, number: int) -> Edit:
        edits = self.edits()
        found = next((one for one in edits if one.number == number), None)
        if found is None:
            raise DatasetError(f"There is no edit {number}.")
        if number in records.taken_back(edits):
            raise DatasetError(f"Edit {number} was taken back already.")
        if found.is_pruned:
            raise DatasetError(f"Edit {number} cannot be taken back: what it replaced was removed to free space.")
        return found

    def _check_later(self, edit: Edit) -> None:
        """Raises if later edits changed some of its files: only the others would come back, and these never."""
        files = self._changed(edit)
        later = [one for one in records.later(edit, self.edits()) if files & self._changed(one)]
        if not later:
            return
        told = [f"Edit {one.number} ({printable(one.title, 60)})" for one in later]
        named = told[0] if len(told) == 1 else f"{', '.join(told[:-1])} and {told[-1]}"
        first = ", then ".join(str(one.number) for one in reversed(later))
        raise DatasetError(
            f"Edit {edit.number} cannot be taken back now. {named} changed some of its files later.",
            f"Take back {first} first.",
        )

    def _changed(self, edit: Edit) -> set[str]:
        """The files that an edit changed, without those that it left as they were."""
        return {row.path for row in records.rows(self.folder_of(edit.number))} - {path for path, _ in edit.refused}

    def _take_back(self, edit: Edit) -> Edit | None:
        source = self.folder_of(edit.number)
        rows, refused = records.rows(source), {path for path, _ in edit.refused}
        changes = [
            Change(
                row.path,
                None if row.before == contents.NOTHING else source / BEFORE / str(place),
                row.after,
                None if row.before == contents.NOTHING else row.before,
            )
            for place, row in reversed(list(enumerate(rows)))
            if row.path not in refused
        ]
        verb = "Redo" if edit.undoes is not None else "Undo"
        title = edit.title.removeprefix("Undo: ") if edit.undoes is not None else edit.title
        head = {"name": "undo", "title": f"{verb}: {title}", "author": "user", "undoes": edit.number}
        emptied = [folder for row in rows for folder in row.made]
        return self._make(head, changes, emptied, keeps=True)

    def _make(
        self, head: dict[str, Any], changes: list[Change], emptied: Iterable[str] = (), *, keeps: bool = False
    ) -> Edit | None:
        """Makes an edit; `emptied` are folders to remove if they are empty then. One that `keeps` is recorded even if it changes nothing."""
        if len({change.path for change in changes}) != len(changes):
            raise DatasetError("An edit names a file twice.")
        own = contents.own_folder(self.root)
        number = max((int(folder.name) for folder in self._folders()), default=0) + 1
        plan = _Plan(own / EDITS / f"{number:06}", {**head, "time": time.time()})
        if not self._prepare(plan, changes, keeps=keeps):
            return None
        self._perform(plan)
        shutil.rmtree(plan.folder / NEW, ignore_errors=True)
        for folder in sorted(set(emptied), key=len, reverse=True):
            with contextlib.suppress(OSError):
                contents.inside(self.root, folder).rmdir()
        return records.edit(plan.folder)

    def _prepare(self, plan: _Plan, changes: list[Change], *, keeps: bool) -> bool:
        """Writes the record of an edit and the new files, all beside the old ones; whether there is anything to do."""
        is_ready = False
        try:
            plan.folder.mkdir(parents=True)
            for part in (BEFORE, NEW):
                (plan.folder / part).mkdir()
            for change in changes:
                self._stage(plan, change)
            if plan.rows or keeps:
                lines = [json.dumps(plan.head), *(json.dumps(row.as_dict()) for row in plan.rows)]
                write_whole(plan.folder / ROWS, "\n".join(lines) + "\n", durable=True)
                is_ready = True
        except OSError as error:
            raise DatasetError(
                f"Nothing was changed: {error.strerror or error}.", "Free some space, or check the permissions."
            ) from error
        finally:
            if not is_ready:
                shutil.rmtree(plan.folder, ignore_errors=True)
        return is_ready

    def _perform(self, plan: _Plan) -> None:
        """Puts the new files in place."""
        is_done = False
        try:
            for place, row in enumerate(plan.rows):
                self._put(plan, place, row)
            write_whole(plan.folder / DONE, json.dumps({"refused": plan.refused}), durable=True)
            is_done = True
        except OSError as error:
            raise DatasetError(f"Everything is as it was: {error.strerror or error}.") from error
        finally:
            if not is_done:
                _roll_back(self.root, plan.folder)

    def _stage(self, plan: _Plan, change: Change) -> None:
        """Writes the new file beside, and records what it replaces."""
        path = contents.inside(self.root, change.path)
        seen, before = contents.stamp(path), contents.mark(path)
        if change.was is not None and before != change.was:
            plan.refused.append((change.path, CHANGED))
            return
        staged = plan.folder / NEW / str(len(plan.rows))
        if change.content is None:
            after = contents.NOTHING
        elif isinstance(change.content, Path):
            contents.link_or_copy(change.content, staged)
            after = change.known or contents.mark(staged)
        else:
            after = contents.mark_of(change.content)
            if after != before:
                _write(staged, change.content, seen[-1] if seen is not None and before.startswith("file") else None)
        if after == before:
            staged.unlink(missing_ok=True)
            return
        plan.found.append((path, seen))
        missing = contents.missing_folders(self.root, change.path) if seen is None else ()
        plan.rows.append(Row(change.path, before, after, tuple(missing)))

    def _put(self, plan: _Plan, place: int, row: Row) -> None:
        """Puts one new file in place of the older one, which is kept."""
        (path, seen), kept = plan.found[place], plan.folder / BEFORE / str(place)
        try:
            if contents.stamp(path) != seen and contents.mark(path) != row.before:
                plan.refused.append((row.path, CHANGED))
                return
            for folder in row.made:
                contents.inside(self.root, folder).mkdir(exist_ok=True)
            if row.before != contents.NOTHING:
                if row.after == contents.NOTHING:
                    path.rename(kept)
                    return
                contents.link_or_copy(path, kept)
            (plan.folder / NEW / str(place)).replace(path)
        except OSError as error:
            # A full disk concerns the whole edit, not one file of it.
            if error.errno not in (errno.ENOSPC, errno.EDQUOT) and contents.mark(path) == row.before:
                plan.refused.append((row.path, printable(error.strerror or str(error), 200)))
                return
            raise

    def folder_of(self, number: int) -> Path:
        """The folder of the edit with this number."""
        return self.root / OWN / EDITS / f"{number:06}"

    def _folders(self) -> list[Path]:
        """The folders of all edits, the oldest first."""
        edits = self.root / OWN / EDITS
        if (self.root / OWN).is_symlink() or edits.is_symlink():
            return []
        try:
            found = [one for one in edits.iterdir() if one.name.isdecimal() and one.is_dir() and not one.is_symlink()]
        except OSError:
            return []
        return sorted(found, key=lambda one: int(one.name))

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """No other process or thread edits the dataset meanwhile; what was interrupted is taken back first."""
        with contents.locked(self.root, WAIT_S):
            for folder in self._folders():
                if not (folder / DONE).exists():
                    _roll_back(self.root, folder)
            yield


def _write(path: Path, content: bytes, mode: int | None) -> None:
    """Writes a new file, with the rights of the one that it will replace."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        if mode is not None:
            with contextlib.suppress(OSError):
                os.fchmod(handle, stat.S_IMODE(mode))


def _roll_back(root: Path, folder: Path) -> None:
    """Takes back an edit that was not completed. What cannot be put back now stays in its folder."""
    is_whole = True
    for place, row in enumerate(records.rows(folder)):
        kept = folder / BEFORE / str(place)
        try:
            path = contents.inside(root, row.path)
            now = contents.mark(path)
            if now == row.before:
                continue
            if now == row.after and row.before == contents.NOTHING:
                path.unlink()
            elif now in (row.after, contents.NOTHING) and os.path.lexists(kept):
                kept.replace(path)
            elif os.path.lexists(kept):
                is_whole = False
        except (OSError, DatasetError):
            is_whole = False
    if is_whole:
        for made in sorted({one for row in records.rows(folder) for one in row.made}, key=len, reverse=True):
            with contextlib.suppress(OSError, DatasetError):
                contents.inside(root, made).rmdir()
        shutil.rmtree(folder, ignore_errors=True)
    else:
        # Another program has changed a file meanwhile: both versions stay, and the edit counts as made.
        with contextlib.suppress(OSError):
            write_whole(folder / DONE, json.dumps({"refused": []}), durable=True)

"""The folder that the mirror of a run writes to: which one it is, and how files in it are opened.

mirror.json of the run folder names the folders that were made for it, and `.easel-mirror.json` in each of them names the run. A run
folder may come from elsewhere or be a copy, so its record alone decides nothing. In such a folder no link is followed.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedRandom, BufferedReader
from pathlib import Path, PurePosixPath
from typing import Any

from trainer_core import places
from trainer_core.errors import RunError
from trainer_core.files import write_whole
from trainer_core.jobs.folder import json_object, json_text
from trainer_core.text import printable
from trainer_core.training.folder import RunFolder

RECORD = "mirror.json"
MARKER = ".easel-mirror.json"
MOST_FOLDERS = 50
"""Online, so many folders with the name of the run may belong to others before a place is given up."""
_ID = re.compile("[0-9a-f]{32}")
_NOT_OURS = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EINVAL})
_NO_LINK = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
_LARGEST_BYTES = 1 << 16


@dataclass(frozen=True)
class Record:
    """mirror.json: a random id of the run, and for each chosen folder what was made in it, by its path without links.

    An entry has the `name` of the folder in it, the `device` of its disk, and `files`: size, time and SHA-256 of each copy.
    """

    run: RunFolder
    id: str
    targets: dict[str, dict[str, Any]]

    @property
    def mark(self) -> dict[str, str]:
        """What names the run in a folder that was made for it: a copy of the run folder lies elsewhere, and is another run."""
        return {"id": self.id, "run": os.path.realpath(self.run.path)}

    def write(self) -> None:
        """Keeps it in the run folder."""
        self.run.write(RECORD, {**self.mark, "targets": self.targets})


def read(run: RunFolder) -> Record:
    """The record of a run in the form that it must have; a new one if there is none, or if it is that of another folder."""
    found = read_record(run, RECORD)
    entries = {base: _entry(entry) for base, entry in found["targets"].items() if isinstance(entry, dict)}
    return Record(run, found["id"], entries)


def read_record(run: RunFolder, name: str) -> dict[str, Any]:
    """The `id`, the `run` and the `targets` of a record; with a new id and no targets if there is none, or if it came with a copy."""
    found = run.read(name) or {}
    here = os.path.realpath(run.path)
    id_, rows = found.get("id"), found.get("targets")
    if found.get("run") != here or not isinstance(id_, str) or not _ID.fullmatch(id_):
        return {"id": secrets.token_hex(16), "run": here, "targets": {}}
    return {"id": id_, "run": here, "targets": rows if isinstance(rows, dict) else {}}


def _entry(found: dict[str, Any]) -> dict[str, Any]:
    rows = found.get("files")
    good = rows.items() if isinstance(rows, dict) else ()
    return {
        "name": str(found.get("name") or ""),
        "device": found.get("device"),
        "files": {name: row for name, row in good if isinstance(row, dict)},
    }


def base_of(run: RunFolder, text: str) -> Path:
    """The chosen folder with all links followed: two ways to write the same folder are the same.

    Raises:
        RunError: it is no path, is in the run folder, or is the folder of all runs, where a mirror would look like a run.
    """
    shown = printable(text, 300)
    try:
        base = Path(os.path.realpath(places.typed(text)))
        os.fsencode(base)
        if not text.strip():
            # It would be the working folder.
            raise ValueError
    except ValueError:
        raise RunError(f"{shown!r} is not a path of this system.", "Choose another folder.") from None
    if base.is_relative_to(os.path.realpath(run.path)):
        raise RunError(f"{shown} is inside the run folder.", "Choose another folder.")
    runs = Path(os.path.realpath(places.runs()))
    if base == Path(os.path.realpath(run.path.parent)) or base.is_relative_to(runs):
        raise RunError(f"{shown} is the folder of the runs, or inside it.", "Choose another folder.")
    return base


def target_in(base: Path, record: Record) -> tuple[Path, dict[str, Any]]:
    """The folder of this run in the chosen one, which an earlier pass or this one has made, and the rows of its copies.

    Raises:
        RunError: the chosen folder is not there, or no longer has what an earlier pass made: its disk is not mounted.
        OSError: it cannot be read or written.
    """
    entry = record.targets.get(str(base))
    if not base.is_dir() and not base.parent.is_dir():
        # Google Drive that is not mounted: a folder made there would be on the disk that is lost.
        raise RunError(
            f"There is no folder {printable(str(base.parent), 300)}.", "Mount the disk, or choose another folder."
        )
    if entry is not None and _is_name(record.run, entry["name"]):
        before = base / entry["name"]
        if not os.path.lexists(before):
            raise _gone(base, entry, record.run)
        if _is_marked(before, record):
            # A disk that is mounted again may have another number; the mark shows that it is the same one.
            entry["device"] = base.stat().st_dev
            return before, entry["files"]
    return _new(base, record)


def _is_name(run: RunFolder, name: str) -> bool:
    return re.fullmatch(rf"{re.escape(run.path.name)}(-[1-9][0-9]*)?", name) is not None


def _gone(base: Path, entry: dict[str, Any], run: RunFolder) -> RunError:
    shown = printable(str(base), 300)
    moved = base.is_dir() and base.stat().st_dev != entry["device"]
    return RunError(
        f"{printable(entry['name'], 200)}, which this run has mirrored to before, is no longer in {shown}"
        f"{', which is on another disk than it was then' if moved else ''}.",
        f"Mount the disk, or choose another folder. If you deleted it, delete {RECORD} in {printable(str(run.path), 300)} too.",
    )


def _is_marked(folder: Path, record: Record) -> bool:
    """Whether a folder was made for this run."""
    try:
        with parent_of(folder, MARKER) as handle, open_in(handle, MARKER) as file:
            return json_object(file.read(_LARGEST_BYTES)) == record.mark
    except OSError as error:
        if error.errno in _NOT_OURS:
            return False
        # A disk that does not answer now is no reason for a second copy of everything.
        raise


def _new(base: Path, record: Record) -> tuple[Path, dict[str, Any]]:
    base.mkdir(exist_ok=True)
    number = 1
    while True:
        target = base / (record.run.path.name if number == 1 else f"{record.run.path.name}-{number}")
        try:
            target.mkdir()
            break
        except FileExistsError:
            number += 1
    files: dict[str, Any] = {}
    try:
        write_whole(target / MARKER, json_text(record.mark), durable=True, creates=False)
        record.targets[str(base)] = {"name": target.name, "device": base.stat().st_dev, "files": files}
        record.write()
    except OSError:
        # Each try on a full disk would leave one more folder.
        with contextlib.suppress(OSError):
            (target / MARKER).unlink(missing_ok=True)
            target.rmdir()
        raise
    return target, files


@contextlib.contextmanager
def parent_of(root: Path, name: str, *, creates: bool = False) -> Iterator[int]:
    """The folder of a file below `root`, open; it and those above it are made if needed.

    Raises:
        OSError: one of them is a link or a file, or cannot be opened or made.
    """
    flags = os.O_RDONLY | os.O_DIRECTORY | _NO_LINK
    handle = os.open(root, flags)
    try:
        for part in PurePosixPath(name).parent.parts:
            if creates:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(part, dir_fd=handle)
            inner = os.open(part, flags, dir_fd=handle)
            os.close(handle)
            handle = inner
        yield handle
    finally:
        os.close(handle)


def open_in(folder: int, name: str) -> BufferedReader:
    """A regular file in an open folder, to read.

    Raises:
        OSError: it is something else, or cannot be opened.
    """
    return os.fdopen(_regular(folder, name, os.O_RDONLY), "rb")


def open_part(folder: int, name: str) -> BufferedRandom:
    """A regular file in an open folder, new or to be continued. It has no other name, which could be that of a file of the user.

    Raises:
        OSError: it is something else, or cannot be opened.
    """
    return os.fdopen(_regular(folder, name, os.O_RDWR | os.O_CREAT | os.O_APPEND), "ab+")


def _regular(folder: int, name: str, flags: int) -> int:
    handle = os.open(name, flags | _NO_LINK, 0o666, dir_fd=folder)
    found = os.fstat(handle)
    if not stat.S_ISREG(found.st_mode) or (found.st_nlink > 1 and flags & os.O_CREAT):
        os.close(handle)
        raise OSError(errno.EINVAL, "is a link, or not a regular file", name)
    return handle


def kind_in(folder: int, name: str) -> os.stat_result | None:
    """What has this name in an open folder; None if nothing has."""
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None

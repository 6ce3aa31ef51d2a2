"""Files and folders as one zip, made while it is read: nothing of it is written to the disk.

Nothing is compressed: images and weights hardly get smaller. Links and hidden files are left out.
"""

from __future__ import annotations

import io
import os
import stat
import time
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from trainer_core.errors import FilesError
from trainer_core.keeping import bounds, carrying, names, refusals
from trainer_core.keeping.bounds import Spot
from trainer_core.keeping.carrying import Going

MOST_FILES = 500_000
_READ_BYTES = 1 << 20
_EARLIEST = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class Plan:
    """What will be in a zip: each file as its name in the zip and its path; their size together; and how many were left out."""

    name: str
    files: tuple[tuple[str, Path], ...]
    size_bytes: int
    left_out: int = 0


def plan(spots: Sequence[Spot]) -> Plan:
    """What a zip of these files and folders contains. Folders keep their names.

    Raises:
        FilesError: one of them lies outside, there is no file in them, or they are too many.
    """
    found: list[tuple[str, Path]] = []
    total = left_out = 0
    for spot in spots:
        path = bounds.entered(spot)
        for name, file, about in _files(path, spot.path.name):
            if about is None or not stat.S_ISREG(about.st_mode):
                left_out += 1
                continue
            found.append((name, file))
            total += about.st_size
            if len(found) > MOST_FILES:
                raise FilesError(f"These are more than {MOST_FILES:,} files.", "Take a folder of them at a time.")
    if not found:
        raise FilesError("There is no file in it.", "Choose a file or a folder with files.")
    name = spots[0].path.name if len(spots) == 1 else spots[0].parent.name
    return Plan(f"{name}.zip", tuple(found), total, left_out)


def stream(what: Plan) -> Iterator[bytes]:
    """The bytes of the zip, as they are made.

    Raises:
        OSError: a file cannot be read.
    """
    sink = _Sink()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED, allowZip64=True) as packed:
        for name, path in what.files:
            info = zipfile.ZipInfo(name, max(_EARLIEST, time.localtime(path.stat().st_mtime)[:6]))
            info.external_attr = (stat.S_IFREG | 0o644) << 16
            with _opened(path) as file, packed.open(info, "w", force_zip64=True) as entry:
                while block := file.read(_READ_BYTES):
                    entry.write(block)
                    yield sink.take()
    yield sink.take()


def write(what: Plan, where: Spot, going: Going | None = None) -> Spot:
    """Writes the zip into a folder under a free name, and returns where it is.

    Raises:
        FilesError: the folder lies outside or cannot be changed, or the disk is too full.
        FilesStopped: it was stopped; nothing is left of it.
    """
    going = going or Going()
    folder = bounds.folder(where)
    carrying.check_room(folder, what.size_bytes)
    going.total = what.size_bytes
    scratch = carrying.scratch_in(folder)
    try:
        with scratch.open("xb") as file:
            for block in stream(what):
                file.write(block)
                going.add(len(block))
            file.flush()
            os.fsync(file.fileno())
        target = names.free(folder / what.name)
        carrying.put(scratch, target)
    except OSError as error:
        raise refusals.refusal(what.name, "written", error, folder) from error
    finally:
        scratch.unlink(missing_ok=True)
    return where.child(target.name)


def _files(path: Path, name: str) -> Iterator[tuple[str, Path, os.stat_result | None]]:
    """The files at a path, each with its name in the zip; without those that are hidden."""
    about = _about(path)
    if about is None or not stat.S_ISDIR(about.st_mode):
        yield name, path, about
        return
    for place, inner, files in os.walk(path):
        inner[:] = sorted(each for each in inner if not each.startswith("."))
        below = Path(place).relative_to(path)
        # A link to a folder is among the folders, and is not entered.
        for each in sorted((*files, *(each for each in inner if Path(place, each).is_symlink()))):
            if not each.startswith("."):
                file = Path(place, each)
                yield (Path(name) / below / each).as_posix(), file, _about(file)


def _about(path: Path) -> os.stat_result | None:
    try:
        return path.lstat()
    except OSError:
        return None


def _opened(path: Path) -> io.BufferedReader:
    """A file, if it is still a file and no link."""
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    return os.fdopen(handle, "rb")


class _Sink(io.RawIOBase):
    """Keeps what is written until it is taken; it cannot go back, so zipfile writes sizes after each file."""

    def __init__(self) -> None:
        super().__init__()
        self._parts: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: object, /) -> int:
        block = bytes(data)  # type: ignore[call-overload]
        self._parts.append(block)
        return len(block)

    def take(self) -> bytes:
        """What was written since the last time."""
        taken = b"".join(self._parts)
        self._parts.clear()
        return taken

"""Files of which only a part has arrived: their part files, and the records in Easel's home with which they are found again."""

from __future__ import annotations

import hashlib
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path

from trainer_core import places
from trainer_core.errors import DownloadError, FilesError
from trainer_core.files import open_own, write_whole
from trainer_core.keeping import bounds
from trainer_core.keeping.bounds import Spot
from trainer_core.models.downloads.part import Part
from trainer_core.models.downloads.remote import RemoteFile
from trainer_core.text import printable

LONGEST_RECORD_BYTES = 1 << 16


@dataclass(frozen=True)
class Unfinished:
    """A file of which a part is here: its key, where it was to go, how much is here, and when the last of it came (Unix time)."""

    key: str
    spot: Spot
    have: int
    size_bytes: int
    changed_s: float
    part: Path


def listed() -> list[Unfinished]:
    """The files of which only a part is here, those that changed last first."""
    found = [record(path.stem) for path in _folder().glob("*.json")] if _folder().is_dir() else []
    return sorted((one for one in found if one is not None), key=lambda one: -one.changed_s)


def discard(key: str) -> None:
    """Removes the part of an unfinished file.

    Raises:
        FilesError: it is being received now, or is not known.
    """
    found = record(key)
    if found is None:
        raise FilesError("This unfinished file is not there any more.", "")
    try:
        part = open_part(found.spot, key)
    except DownloadError as error:
        raise FilesError(f"{printable(found.spot.name, 200)} is being received now.", "Stop that first.") from error
    with part:
        part.discard()
    forget(key)


def open_part(spot: Spot, key: str) -> Part:
    """The part file of a file that arrives, in the folder where it will be; this process has it alone.

    Raises:
        FilesError: the folder lies outside, or may not be changed.
        DownloadError: another process or tab receives the file.
        OSError: it cannot be written.
    """
    return Part(bounds.make_folders(spot), RemoteFile(spot.name, key))


def key_of(spot: Spot, size_bytes: int) -> str:
    """The key of a file with this place and size."""
    text = "\0".join((os.path.realpath(spot.root.path), *spot.parts, str(size_bytes)))
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def remember(key: str, spot: Spot, size_bytes: int, part: Path) -> None:
    """Keeps a record of a file that began to arrive.

    Raises:
        OSError: it cannot be written.
    """
    row = {"root": spot.root.id, "parts": spot.parts, "size": size_bytes, "part": part.name, "began": time.time()}
    write_whole(_file(key), json.dumps(row) + "\n")


def forget(key: str) -> None:
    """Removes the record of a file that is complete or was discarded."""
    _file(key).unlink(missing_ok=True)


def record(key: str) -> Unfinished | None:
    """What is known of an unfinished file; None if it is gone."""
    try:
        if not key.isalnum():
            return None
        with open_own(_file(key)) as file:
            row = json.loads(file.read(LONGEST_RECORD_BYTES))
        spot = Spot(bounds.root(row["root"]), tuple(map(str, row["parts"])))
        bounds.inside(spot)
        name = str(row["part"])
        if not spot.parts or "/" in name or not name.startswith("."):
            return None
        part = spot.path.parent / name
        about = part.lstat()
        return Unfinished(key, spot, about.st_size, int(row["size"]), about.st_mtime, part)
    except (OSError, ValueError, KeyError, TypeError, RecursionError, FilesError):
        return None


def _folder() -> Path:
    return places.incoming() / "uploads"


def _file(key: str) -> Path:
    return _folder() / f"{key}.json"

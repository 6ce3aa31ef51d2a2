"""What an archive from anybody may contain, and the writer that counts what really comes out of it."""

from __future__ import annotations

import contextlib
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO

from trainer_core.curation import incoming_names
from trainer_core.datasets import images
from trainer_core.datasets.captions import LARGEST_CAPTION_BYTES
from trainer_core.errors import DatasetCancelled, DatasetError
from trainer_core.text import printable, size

IMAGES = frozenset({".avif", ".bmp", ".gif", ".heic", ".heif", ".jfif", ".jpe", ".jpeg", ".jpg", ".jxl", ".png", ".tif", ".tiff", ".webp"})  # fmt: skip
"""File extensions of images, in lower case."""
TEXTS = frozenset({".txt", ".caption", ".tags", ".cap"})
"""File extensions of captions, in lower case."""
TABLES = frozenset({".json", ".jsonl", ".csv", ".toml"})
READ_BYTES = 1 << 20
START_BYTES = 64
LEADS_OUT = "its name leads out of the folder"
TOO_LONG = "it is too long for a caption"
NEITHER = "it is neither an image nor a caption"

LARGEST_DOUBTFUL_BYTES = 64 << 20
"""A larger file with the name of an image comes in only if it begins like one: Easel would otherwise copy gigabytes that are none. A
smaller one comes in, and the check of the dataset names it."""

WentOn = Callable[[int, int], None]
"""Gets how much is done, and of how much."""


@dataclass(frozen=True)
class Limits:
    """What an archive may contain: entries, bytes of one file and of all, and how much a file may be larger than packed."""

    entries: int = 100_000
    file_bytes: int = 1 << 30
    total_bytes: int = 64 << 30
    ratio: int = 200


USUAL = Limits()


def doubt(path: PurePosixPath, length: int, start: bytes) -> str:
    """Why a file with this name, length in bytes and beginning does not come in; "" if it may."""
    ending = path.suffix.casefold()
    if ending in TEXTS and length > LARGEST_CAPTION_BYTES:
        return TOO_LONG
    if ending in IMAGES and length > LARGEST_DOUBTFUL_BYTES and not images.is_start_of_image(start):
        return f"it has {size(length)}, and does not begin like an image"
    return ""


@dataclass(frozen=True)
class Unpacked:
    """The files that were written, as (path inside the folder, name), and those that were left out, as (name, reason)."""

    files: tuple[tuple[str, PurePosixPath], ...]
    left_out: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Going:
    """How a long work tells how far it is, and hears that it shall stop."""

    went_on: WentOn = lambda _, __: None
    cancel: threading.Event | None = None

    def at(self, done: int, of: int) -> None:
        """Tells how much is done.

        Raises:
            DatasetCancelled: the work shall stop.
        """
        self.went_on(done, of)
        self.check()

    def check(self) -> None:
        """Nothing, or an end.

        Raises:
            DatasetCancelled: the work shall stop.
        """
        if self.cancel is not None and self.cancel.is_set():
            raise DatasetCancelled


ON = Going()


@dataclass
class Writer:
    """Writes the entries of an archive into a folder, under numbers; `kind` is "zip" or "tar"."""

    folder: Path
    limits: Limits
    kind: str
    going: Going
    total: int = 0
    taken: list[tuple[str, PurePosixPath]] = field(default_factory=list)
    seen: list[PurePosixPath] = field(default_factory=list)
    refused: list[tuple[PurePosixPath, str]] = field(default_factory=list)
    leading_out: list[tuple[str, str]] = field(default_factory=list)

    def path(self, name: str) -> PurePosixPath | None:
        """The path of an entry with this name; None for one that is not wanted."""
        path = incoming_names.plain(name)
        if path is None:
            self.leading_out.append((printable(name, 200), LEADS_OUT))
            return None
        if incoming_names.is_skipped(path):
            return None
        self.seen.append(path)
        return path

    def refuse(self, path: PurePosixPath, reason: str) -> None:
        """Leaves an entry out."""
        self.refused.append((path, reason))

    def write(self, path: PurePosixPath, stream: IO[bytes], packed_bytes: int | None = None) -> None:
        """Writes an entry; `packed_bytes` is its size in the archive, where it has one of its own.

        Raises:
            DatasetError: it is larger than allowed, or grows as only a file does that was made to fill a disk.
        """
        number, size = str(len(self.taken)), 0
        with (self.folder / number).open("xb") as file:
            while block := stream.read(READ_BYTES):
                self.going.check()
                size += len(block)
                is_bomb = packed_bytes is not None and size > 4 * READ_BYTES and size > self.limits.ratio * max(1, packed_bytes)  # fmt: skip
                if size > self.limits.file_bytes or is_bomb:
                    raise DatasetError(
                        f"{printable(path.name, 100)} in the {self.kind} is larger than an image can be, so it was not unpacked."
                    )
                self.count(len(block))
                file.write(block)
        self.taken.append((number, path))

    def count(self, size: int) -> None:
        """Counts bytes that came out.

        Raises:
            DatasetError: they are more than allowed.
        """
        self.total += size
        if self.total > self.limits.total_bytes:
            raise DatasetError(f"The {self.kind} contains more than {self.limits.total_bytes >> 30:,} GB.")

    def done(self) -> Unpacked:
        """What was written and left out. A folder around all files is left away from their names."""
        depth = incoming_names.around(self.seen)
        names = incoming_names.Names()
        files = tuple((number, names.of(PurePosixPath(*path.parts[depth:]))) for number, path in self.taken)
        left = [(printable(str(PurePosixPath(*path.parts[depth:])), 200), reason) for path, reason in self.refused]
        return Unpacked(files, (*self.leading_out, *left))


def refusal(path: PurePosixPath, size: int, *, is_file: bool) -> str:
    """Why an entry is left out; "" if it is not."""
    if not is_file:
        return "it is a link or a device, not a file"
    ending = path.suffix.casefold()
    if ending in TEXTS and size > LARGEST_CAPTION_BYTES:
        return TOO_LONG
    return "" if ending in IMAGES | TEXTS | TABLES else NEITHER


def check_room(kind: str, said_bytes: int, place: Path, limits: Limits) -> None:
    """Refuses an archive that says itself that it is too large.

    Raises:
        DatasetError: it exceeds the limit, or the free space.
    """
    if said_bytes > limits.total_bytes:
        raise DatasetError(
            f"The {kind} contains {said_bytes >> 30:,} GB; {limits.total_bytes >> 30:,} GB are the most."
        )
    with contextlib.suppress(OSError):
        if said_bytes > (free := shutil.disk_usage(_there(place)).free):
            raise DatasetError(
                f"The {kind} needs {said_bytes / (1 << 30):.1f} GB, and {free / (1 << 30):.1f} GB are free.",
                "Free some space.",
            )


def _there(folder: Path) -> Path:
    """The nearest folder above that exists."""
    return next((one for one in (folder, *folder.parents) if one.is_dir()), Path("/"))


@contextlib.contextmanager
def whole_or_gone(archive: Path, folder: Path, damaged: tuple[type[Exception], ...]) -> Iterator[None]:
    """A block that unpacks an archive into a folder: if it fails, the folder is removed, and the error is a sentence."""
    is_done = False
    try:
        yield
        is_done = True
    except damaged as error:
        raise DatasetError(
            f"{printable(archive.name, 100)} cannot be unpacked: {printable(str(error), 100)}.",
            "Unpack it with another program, and choose the folder.",
        ) from error
    except OSError as error:
        raise DatasetError(f"{printable(archive.name, 100)} cannot be unpacked: {error.strerror or error}.") from error
    finally:
        if not is_done:
            shutil.rmtree(folder, ignore_errors=True)

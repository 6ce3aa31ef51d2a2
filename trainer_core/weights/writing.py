"""Writes a safetensors file of tensors that are computed, or copied byte for byte. It appears under its name when it is complete."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import functools
import mmap
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from trainer_core.errors import WeightsError
from trainer_core.hardware import free_disk_bytes
from trainer_core.models.header import TensorInfo
from trainer_core.models.header.tensors import shown
from trainer_core.models.tensor_copy import CHUNK_BYTES, header_bytes, whole_piece
from trainer_core.weights.places import Place

DISK_FLOOR_BYTES = 1 << 30
"""The disk space that a new file must leave free, if it is not a small one."""
SMALL_FLOOR_BYTES = 50_000_000
"""What a small file must leave free beside as much as its own size."""
BLOCK = 4096
"""What the system writes past its cache begins at a multiple of this in the file, and has a multiple of it as its length."""
LEAST_DIRECT = 1 << 16
"""The fewest bytes for which it is worth it."""
DIRECT_BYTES = 4 << 20
if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from trainer_core.models.renaming import Piece

    Chunk = NDArray[np.generic] | bytes

Progress = Callable[[int, int, int, int], None]
"""What is told of the progress: tensors done and in all, bytes done and in all."""


@dataclass(frozen=True)
class Entry:
    """A tensor of the new file. `source` is where its bytes are, in one place or several, or what gives its numbers in this dtype."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    source: Place | Sequence[Place] | Callable[[], Iterable[Chunk]]

    @property
    def size(self) -> int:
        """Its size in the new file, in bytes."""
        return TensorInfo(self.dtype, self.shape).size_bytes


class Sink(Protocol):
    """Where the new file goes."""

    def write(self, data: memoryview) -> None:
        """Appends bytes."""

    def copy(self, place: Place, done: Callable[[int], None]) -> None:
        """Appends bytes of another file; `done` hears of each part, in bytes."""


Form = Callable[[Sink, Sequence[Entry], Mapping[str, str], Progress], None]
"""What writes the content of a file."""


@dataclass(frozen=True)
class _Direct:
    """A file that is opened for writing past the system's cache, in whole blocks, with a buffer in which blocks begin where they must."""

    file: int
    buffer: mmap.mmap

    def copied(self, source: int, start: int, left: int, at: int) -> int | None:
        """Copies whole blocks of another file to this place, and returns how many bytes; None if the device has larger blocks."""
        with memoryview(self.buffer)[: left - left % BLOCK] as view:
            count = os.preadv(source, [view], start)
            try:
                return os.pwrite(self.file, view[: count - count % BLOCK], at)
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise
                return None

    def close(self) -> None:
        """Closes the file."""
        os.close(self.file)
        self.buffer.close()


def _direct(path: Path, file: int) -> _Direct | None:
    """The file again, for writing past the cache; None where the system cannot do so."""
    with contextlib.suppress(OSError, AttributeError):
        found = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_DIRECT)
        if os.path.samestat(os.fstat(found), os.fstat(file)):
            return _Direct(found, mmap.mmap(-1, DIRECT_BYTES))
        os.close(found)
    return None


class File:
    """A file as a sink: written under another name, and locked, so that two jobs never write the same one."""

    def __init__(self, target: Path) -> None:
        """Opens the unfinished file; what an earlier job that was killed left there is overwritten.

        Raises:
            WeightsError: another job writes this file now.
            OSError: the folder cannot be written.
        """
        self.target, self.part = target, part_of(target)
        self.file = _locked(self.part)
        os.ftruncate(self.file, 0)
        self._direct = _direct(self.part, self.file)

    def write(self, data: memoryview) -> None:
        """Appends bytes."""
        while data:
            data = data[os.write(self.file, data) :]

    def copy(self, place: Place, done: Callable[[int], None]) -> None:
        """Appends bytes of another file, without bringing them into this process where the system can do so."""
        source = os.open(place.path, os.O_RDONLY)
        try:
            start, left = place.start, place.size
            while left:
                count = self._copied(source, start, left)
                if not count:
                    raise WeightsError(f"{shown(place.path)} is cut short.", "Download it again.")
                start, left = start + count, left - count
                done(count)
        finally:
            os.close(source)

    def _copied(self, source: int, start: int, left: int) -> int:
        """Copies some of the bytes, past the system's cache where it can be: that takes a third of the CPU time."""
        if self._direct is None or left < LEAST_DIRECT + BLOCK:
            return self._through_cache(source, start, min(left, CHUNK_BYTES))
        at = os.lseek(self.file, 0, os.SEEK_CUR)
        if before := -at % BLOCK:
            return self._through_cache(source, start, before)
        count = self._direct.copied(source, start, left, at)
        if count is None:
            self._direct = self._direct.close()
            return self._through_cache(source, start, min(left, CHUNK_BYTES))
        os.lseek(self.file, at + count, os.SEEK_SET)
        return count

    def _through_cache(self, source: int, start: int, size: int) -> int:
        with contextlib.suppress(OSError):
            # Not between every two file systems; the next call then says why it cannot be written.
            return os.copy_file_range(source, self.file, size, start)
        data = os.pread(source, size, start)
        self.write(memoryview(data))
        return len(data)

    def finish(self) -> None:
        """Gives the complete file its name; a file that has it already is not replaced.

        Raises:
            WeightsError: there is such a file.
        """
        os.fsync(self.file)
        try:
            os.link(self.part, self.target)
        except FileExistsError as error:
            raise WeightsError(f"{shown(self.target)} already exists.", "Choose another name.") from error
        except OSError:  # a file system without hard links
            if self.target.exists():
                raise WeightsError(f"{shown(self.target)} already exists.", "Choose another name.") from None
            self.part.rename(self.target)

    def replace(self) -> None:
        """Gives the complete file its name in place of the file that has it: a reader sees the old file or the new one."""
        os.fsync(self.file)
        self.part.rename(self.target)

    def close(self) -> None:
        """Removes the unfinished file."""
        # After `replace` the name is free, and may be that of another job's file by now.
        if _leads(self.part, self.file):
            self.part.unlink()
        os.close(self.file)
        if self._direct is not None:
            self._direct = self._direct.close()


def write(
    target: Path,
    entries: Sequence[Entry],
    metadata: Mapping[str, str],
    progress: Progress,
    check: Callable[[], None],
    form: Form | None = None,
) -> None:
    """Writes a new file. `check` is called before it gets its name, and raises if a source has changed meanwhile.

    `form` writes the content; None writes a safetensors file.

    Raises:
        WeightsError: it exists already, the disk is too full, or another job writes it.
        OSError: a file cannot be read or written.
    """
    if target.exists() or target.is_symlink():
        raise WeightsError(f"{shown(target)} already exists.", "Choose another name.")
    target.parent.mkdir(parents=True, exist_ok=True)
    sink = File(target)
    try:
        check_disk(target.parent, sum(entry.size for entry in entries))
        (form or write_to)(sink, entries, metadata, progress)
        check()
        sink.finish()
    finally:
        sink.close()


def copies(path: Path, pieces: Sequence[Piece]) -> list[Entry]:
    """The tensors of a new file that are ranges of the bytes of an old one."""
    return [
        Entry(piece.name, piece.dtype, piece.shape, functools.partial(whole_piece, path, piece))
        if piece.turned is not None or piece.content
        else Entry(piece.name, piece.dtype, piece.shape, Place(path, piece.start, piece.size))
        for piece in pieces
    ]


def unchanged(path: Path) -> Callable[[], None]:
    """A check that raises a WeightsError if a file has changed since now."""
    before = _stamp(path)

    def check() -> None:
        if _stamp(path) != before:
            raise WeightsError(f"{shown(path)} changed while it was copied.", "Try again when it is complete.")

    return check


def _stamp(path: Path) -> tuple[int, int, int]:
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns


def write_to(sink: Sink, entries: Sequence[Entry], metadata: Mapping[str, str], progress: Progress) -> None:
    """Writes the header and every tensor in the given order.

    Raises:
        WeightsError: a tensor has not the size that its shape says.
    """
    write_entries(sink, header_bytes(entries, metadata), entries, progress)


def write_entries(sink: Sink, start: bytes, entries: Sequence[Entry], progress: Progress) -> None:
    """Writes the start of a file, which is the length of its header and the header, and every tensor in the given order.

    Raises:
        WeightsError: a tensor has not the size that its shape says.
    """
    sink.write(memoryview(start))
    total, done, whole = sum(entry.size for entry in entries), 0, 0

    def told(count: int) -> None:
        nonlocal done
        done += count
        progress(whole, len(entries), done, total)

    for entry in entries:
        before = done
        if callable(entry.source):
            for data in as_bytes(entry.source()):
                sink.write(data)
                told(len(data))
        else:
            for place in places_of(entry.source):
                sink.copy(place, told)
        if done - before != entry.size:
            raise WeightsError(f"{shown(entry.name)} has {done - before} bytes, not {entry.size}.", "Report this.")
        whole += 1
    progress(whole, len(entries), done, total)


def part_of(target: Path) -> Path:
    """The unfinished file or folder for a new one."""
    return target.with_name(f".{target.name}.easel-part")


def discard_part(target: Path) -> None:
    """Removes the unfinished file that a job left which was killed; not that of a job that writes it now.

    Raises:
        OSError: it cannot be removed.
    """
    part = part_of(target)
    if part.is_file() and not part.is_symlink():
        with contextlib.suppress(WeightsError):
            file = _locked(part)
            part.unlink()
            os.close(file)


def check_disk(folder: Path, size: int, left: int = 0) -> None:
    """Checks that a file of this size, in bytes, fits into a folder. `left` is what an unfinished file takes that will be overwritten.

    Raises:
        WeightsError: it does not.
    """
    free, beside = free_disk_bytes(folder) + left, reserve_bytes(size)
    if free < size + beside:
        raise WeightsError(
            f"The new file needs {_in_words(size)} and {_in_words(beside)} beside it, but {shown(folder)} has {_in_words(free)} free.",
            "Free some space, or choose another folder.",
        )


def reserve_bytes(size: int) -> int:
    """The disk space in bytes that a new file of this size must leave free: for a small file less than for a large one."""
    return min(DISK_FLOOR_BYTES, size + SMALL_FLOOR_BYTES)


def _in_words(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


def places_of(source: Place | Sequence[Place]) -> Sequence[Place]:
    """The places of the bytes of a tensor."""
    return (source,) if isinstance(source, Place) else source


def as_bytes(chunks: Iterable[Chunk]) -> Iterator[memoryview]:
    """The bytes of numbers."""
    import numpy as np

    for chunk in chunks:
        yield (
            memoryview(chunk)
            if isinstance(chunk, bytes)
            else np.ascontiguousarray(chunk).reshape(-1).view(np.uint8).data
        )


def _locked(path: Path) -> int:
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            # A network drive may know no locks.
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                os.close(file)
                raise WeightsError(
                    f"Another job is writing {shown(path)}.", "Wait for it, or choose another name."
                ) from error
        if _leads(path, file):
            if os.fstat(file).st_nlink == 1:
                return file
            # A job was killed after it had given the complete file its name, and this is the other name.
            path.unlink()
        # Otherwise another job has just given it its name.
        os.close(file)


def _leads(path: Path, file: int) -> bool:
    """Whether the path still leads to the open file."""
    try:
        return os.path.samestat(path.lstat(), os.fstat(file))
    except FileNotFoundError:
        return False

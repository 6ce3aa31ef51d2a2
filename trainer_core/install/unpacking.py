"""Unpacks the source code of an engine from an archive that may come from anybody, within limits. Standard library only.

tarfile reads an extended header into memory whole, however large it says it is, and skips what is not wanted by unpacking it.
So it reads through `_Bounded`, which refuses large reads and counts all bytes. Source: Lib/tarfile.py.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import shutil
import tarfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

# What is pinned today has 5 MB, and 40 MB with the tokenizers that are optional.
MOST_FILE_BYTES = 128 << 20
MOST_BYTES = 512 << 20
MOST_FILES = 20_000
_LARGEST_READ_BYTES = 1 << 20
_OPENERS: Mapping[bytes, Callable[[Path], Any]] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ": lzma.open}
"""How each kind is opened, by its first bytes; a plain tar has none of them."""


class UnpackingError(Exception):
    """An archive is damaged, or exceeds a limit."""


def unpack(archive: Path, tree: Path, strip: int = 0) -> None:
    """Write the regular files of `archive` below `tree`; links and paths that lead outside are left out.

    Raises:
        UnpackingError: it is no archive, is damaged, or exceeds a limit.
    """
    try:
        with archive.open("rb") as file:
            first = file.read(8)
        opener = next((found for begin, found in _OPENERS.items() if first.startswith(begin)), _plain)
        with opener(archive) as stream:
            bounded = cast("IO[bytes]", _Bounded(stream))
            with tarfile.open(fileobj=bounded, mode="r:", errorlevel=2) as tar:
                _all(tar, tree, strip)
    except OSError as error:
        raise UnpackingError(error.strerror or str(error)) from error
    except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, ValueError, OverflowError) as error:
        raise UnpackingError(str(error)) from error


def _plain(archive: Path) -> IO[bytes]:
    return archive.open("rb")


def _all(tar: tarfile.TarFile, tree: Path, strip: int) -> None:
    for number, member in enumerate(tar):
        if number >= MOST_FILES:
            raise UnpackingError(f"it has more than {MOST_FILES:,} entries, which are the most")
        parts = PurePosixPath(member.name).parts[strip:]
        if not member.isreg() or not parts or ".." in parts or parts[0] == "/":
            continue
        if member.size > MOST_FILE_BYTES:
            raise UnpackingError(
                f"one file in it has {member.size >> 20:,} MB; {MOST_FILE_BYTES >> 20} MB are the most"
            )
        content = tar.extractfile(member)
        if content is not None:
            path = tree.joinpath(*parts)
            path.parent.mkdir(parents=True, exist_ok=True)
            with content, path.open("wb") as file:
                shutil.copyfileobj(content, file)


class _Bounded:
    """A stream whose reader cannot ask for much at once, nor for more in all than allowed."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def read(self, size: int = -1) -> bytes:
        """As of any file."""
        if not 0 <= size <= _LARGEST_READ_BYTES:
            raise UnpackingError("it has a header that is larger than any name can be")
        data = self._stream.read(size)
        self._check(self._stream.tell())
        return data

    def tell(self) -> int:
        """As of any file."""
        return self._stream.tell()

    def seek(self, to: int, whence: int = 0) -> int:
        """As of any file."""
        assert whence == 0
        self._check(to)
        return self._stream.seek(to)

    def _check(self, at: int) -> None:
        if at > MOST_BYTES:
            raise UnpackingError(f"it unpacks to more than {MOST_BYTES >> 20} MB, which are the most")

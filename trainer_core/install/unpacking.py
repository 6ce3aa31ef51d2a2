"""Reads archives of source code that may come from anybody, within limits. Standard library only."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import lzma
import re
import shutil
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import IO, Any

from trainer_core import bounded_tar

# What is pinned today has 5 MB, and 40 MB with the tokenizers that are optional.
MOST_FILE_BYTES = 128 << 20
MOST_BYTES = 512 << 20
MOST_FILES = 20_000
_OPENERS: Mapping[bytes, Callable[[Path], Any]] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ": lzma.open}
"""How each kind is opened, by its first bytes; a plain tar has none of them."""


class UnpackingError(Exception):
    """An archive is damaged, or exceeds a limit."""


def unpack(archive: Path, tree: Path, strip: int = 0) -> None:
    """Write the regular files of `archive` below `tree`; links and paths that lead outside are left out.

    Raises:
        UnpackingError: it is no archive, is damaged, or exceeds a limit.
    """
    with _said(), _unpacked(archive) as stream:
        _all(stream, tree, strip)


def read_one(archive: Path, name: re.Pattern[str], most_bytes: int) -> bytes:
    """The first file with such a name in a tar or zip; empty if there is none.

    Raises:
        UnpackingError: it is no archive, is damaged, or exceeds a limit.
    """
    with _said():
        if _beginning(archive).startswith(b"PK\x03\x04"):
            return _read_of_zip(archive, name, most_bytes)
        with _unpacked(archive) as stream:
            for tar, member in bounded_tar.entries(stream, MOST_BYTES, MOST_FILES):
                if bounded_tar.is_file(member) and name.fullmatch(member.name):
                    content = tar.extractfile(member)
                    assert content is not None
                    return _bounded(content, most_bytes)
    return b""


@contextlib.contextmanager
def _said() -> Iterator[None]:
    """What is wrong with an archive is an UnpackingError."""
    try:
        yield
    except OSError as error:
        raise UnpackingError(error.strerror or str(error)) from error
    except (*bounded_tar.DAMAGED, zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise UnpackingError(str(error)) from error


def _unpacked(archive: Path) -> Any:
    """A tar as a stream, whatever it is compressed with."""
    first = _beginning(archive)
    opener = next((found for begin, found in _OPENERS.items() if first.startswith(begin)), _plain)
    return opener(archive)


def _beginning(archive: Path) -> bytes:
    with archive.open("rb") as file:
        return file.read(8)


def _plain(archive: Path) -> IO[bytes]:
    return archive.open("rb")


def _read_of_zip(archive: Path, name: re.Pattern[str], most_bytes: int) -> bytes:
    with zipfile.ZipFile(archive) as found:
        entry = next((each for each in found.infolist() if name.fullmatch(each.filename)), None)
        if entry is None:
            return b""
        with found.open(entry) as content:
            return _bounded(content, most_bytes)


def _bounded(content: IO[bytes], most_bytes: int) -> bytes:
    data = content.read(most_bytes + 1)
    if len(data) > most_bytes:
        raise UnpackingError(f"one file in it has more than {most_bytes >> 20} MB, which are the most")
    return data


def _all(stream: Any, tree: Path, strip: int) -> None:
    for tar, member in bounded_tar.entries(stream, MOST_BYTES, MOST_FILES):
        parts = PurePosixPath(member.name).parts[strip:]
        if not bounded_tar.is_file(member) or not parts or ".." in parts or parts[0] == "/":
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

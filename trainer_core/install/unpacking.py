"""Unpacks the source code of an engine from an archive that may come from anybody, within limits. Standard library only."""

from __future__ import annotations

import bz2
import gzip
import lzma
import shutil
from collections.abc import Callable, Mapping
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
    try:
        with archive.open("rb") as file:
            first = file.read(8)
        opener = next((found for begin, found in _OPENERS.items() if first.startswith(begin)), _plain)
        with opener(archive) as stream:
            _all(stream, tree, strip)
    except OSError as error:
        raise UnpackingError(error.strerror or str(error)) from error
    except bounded_tar.DAMAGED as error:
        raise UnpackingError(str(error)) from error


def _plain(archive: Path) -> IO[bytes]:
    return archive.open("rb")


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

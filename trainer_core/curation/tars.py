"""Reads a tar, plain or compressed, that may come from anybody: in one pass, within limits, and only files.

tarfile reads a long name or an extended header into memory whole, however large it says it is, and skips over what is not
wanted by unpacking it. So it reads through `_Careful`, which refuses large reads and counts all bytes. Source: Lib/tarfile.py.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import struct
import tarfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any, cast

from trainer_core.curation.unpacking import READ_BYTES, Going, Limits, Unpacked, Writer, refusal, whole_or_gone
from trainer_core.errors import DatasetError
from trainer_core.files import open_regular
from trainer_core.text import printable

_OPENERS: Mapping[str, Callable[[IO[bytes]], Any]] = {
    ".tar": lambda file: file,
    ".tar.gz": lambda file: gzip.GzipFile(fileobj=file),
    ".tgz": lambda file: gzip.GzipFile(fileobj=file),
    ".tar.bz2": bz2.BZ2File,
    ".tbz2": bz2.BZ2File,
    ".tar.xz": lzma.LZMAFile,
    ".txz": lzma.LZMAFile,
}
"""How each kind is opened, by the end of its name."""
_DAMAGED = (
    tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile, ValueError, OverflowError, struct.error,
    IndexError, KeyError,
)  # fmt: skip
_LARGEST_READ_BYTES = 4 * READ_BYTES
_SMALL_BYTES = 64 * READ_BYTES


def has_name(name: str) -> bool:
    """Whether a file has the name of a tar that Easel can read."""
    return name.casefold().endswith(tuple(_OPENERS))


def unpack(archive: Path, folder: Path, limits: Limits, going: Going) -> Unpacked:
    """Unpacks a tar into `folder`, which must not exist. `going` gets how far the file was read, in bytes, and its size.

    Raises:
        DatasetError: it is no tar, is damaged, exceeds a limit, or the disk is full; the folder is removed then.
        DatasetCancelled: it was stopped; likewise.
    """
    opener = next(found for end, found in _OPENERS.items() if archive.name.casefold().endswith(end))
    size = archive.stat().st_size
    with whole_or_gone(archive, folder, _DAMAGED), open_regular(archive) as file:
        folder.mkdir(parents=True)
        writer = Writer(folder, limits, "tar", going)
        most = min(limits.total_bytes, max(_SMALL_BYTES, size * limits.ratio))
        careful = cast("IO[bytes]", _Careful(opener(file), most))
        with tarfile.open(fileobj=careful, mode="r:", errorlevel=2) as found:
            for number, entry in enumerate(found):
                if number >= limits.entries:
                    raise DatasetError(f"The tar has more than {limits.entries:,} entries, which are the most.")
                if not entry.isdir():
                    _one(found, entry, writer)
                # tarfile keeps every entry for a second look, which there is not.
                found.members.clear()  # pyright: ignore[reportAttributeAccessIssue] - not in typeshed
                going.at(min(file.tell(), size), size)
    return writer.done()


def _one(found: tarfile.TarFile, entry: tarfile.TarInfo, writer: Writer) -> None:
    if (path := writer.path(entry.name.encode("utf-8", "replace").decode())) is None:
        return
    if reason := refusal(path, entry.size, is_file=entry.isreg() and not entry.issparse()):
        writer.refuse(path, reason)
        return
    stream = found.extractfile(entry)
    if stream is not None:
        with stream:
            writer.write(path, stream)


class _Careful:
    """A stream whose reader cannot ask for much at once, nor for more in all than allowed."""

    def __init__(self, stream: Any, most_bytes: int) -> None:
        self._stream, self._most_bytes = stream, most_bytes

    def read(self, size: int = -1) -> bytes:
        """As of any file.

        Raises:
            DatasetError: it is asked for too much.
        """
        if not 0 <= size <= _LARGEST_READ_BYTES:
            raise DatasetError("The tar has a header that is larger than any name can be, so it was not unpacked.")
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
        if at > self._most_bytes:
            raise DatasetError(
                f"The tar unpacks to more than {printable(f'{self._most_bytes / (1 << 30):,.1f}', 20)} GB, which is too much for its size, or in all."
            )

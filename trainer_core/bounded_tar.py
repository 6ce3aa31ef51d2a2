"""Reads a tar that may come from anybody, in one pass and within limits. Standard library only.

tarfile reads a long name or an extended header into memory whole, however large it says it is, and skips over what is not
wanted by unpacking it. So it reads through `_Bounded`, which refuses large reads and counts all bytes. Source: Lib/tarfile.py.
"""

from __future__ import annotations

import gzip
import lzma
import struct
import tarfile
import zlib
from collections.abc import Iterator
from typing import IO, Any, cast

LARGEST_READ_BYTES = 1 << 20
DAMAGED = (
    tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile, ValueError, OverflowError, struct.error,
    IndexError, KeyError,
)  # fmt: skip
"""What reading a tar can raise besides OSError: it is damaged, or exceeds a limit."""


class TarLimitError(ValueError):
    """A tar exceeds a limit."""


def entries(stream: Any, most_bytes: int, most_entries: int) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]:
    """Each entry of an unpacked tar, with the archive that gives its content before the next one is asked for.

    Raises:
        TarLimitError: it has more entries, unpacks to more bytes, or has a larger header than allowed.
    """
    bounded = cast("IO[bytes]", _Bounded(stream, most_bytes))
    try:
        with tarfile.open(fileobj=bounded, mode="r:", errorlevel=2) as found:
            for number, entry in enumerate(found):
                if number >= most_entries:
                    raise TarLimitError(f"it has more than {most_entries:,} entries, which are the most")
                yield found, entry
                # tarfile keeps every entry for a second look, which there is not.
                found.members.clear()  # pyright: ignore[reportAttributeAccessIssue] - not in typeshed
    except RecursionError as error:
        # tarfile calls itself for each header that describes the next one.
        raise TarLimitError("it has too many headers for one entry") from error


def is_file(entry: tarfile.TarInfo) -> bool:
    """Whether an entry is a file with all its bytes in the archive: one with holes unpacks to as many zeros as it says."""
    return entry.isreg() and not entry.issparse()


class _Bounded:
    """A stream whose reader cannot ask for much at once, nor for more in all than allowed."""

    def __init__(self, stream: Any, most_bytes: int) -> None:
        self._stream, self._most_bytes = stream, most_bytes

    def read(self, size: int = -1) -> bytes:
        """As of any file."""
        if not 0 <= size <= LARGEST_READ_BYTES:
            raise TarLimitError("it has a header that is larger than any name can be")
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
            raise TarLimitError(
                f"it unpacks to more than {self._most_bytes >> 20:,} MB, which is too much for its size, or in all"
            )

"""Reads a stream forwards in small steps, for formats that do not state the length of their header."""

from __future__ import annotations

import struct
from typing import BinaryIO

from trainer_core.errors import HeaderError

FIRST_STEP_BYTES = 64 * 1024
LONGEST_STEP_BYTES = 4 * 1024 * 1024


class Cursor:
    """A position in a stream of `size_bytes`. Each read fetches twice as much as the one before.

    `name` is the file's name in a form that is safe to show; `start` holds the first bytes, which are already read.
    """

    def __init__(self, name: str, file: BinaryIO, start: bytes, size_bytes: int) -> None:
        self.name = name
        self._file = file
        self._size_bytes = size_bytes
        self._data = start
        self._data_start = 0
        self._at = 0
        self._step_bytes = FIRST_STEP_BYTES

    @property
    def position(self) -> int:
        """How many bytes are before the current position."""
        return self._data_start + self._at

    def take(self, count: int) -> bytes:
        """The next `count` bytes.

        Raises:
            HeaderError: the stream has fewer bytes left.
        """
        end = self._at + count
        if end > len(self._data):
            self._fetch(count)
            end = count
        piece = self._data[self._at : end]
        self._at = end
        return piece

    def skip(self, count: int) -> None:
        """Skips `count` bytes without fetching those that are not in memory.

        Raises:
            HeaderError: the stream has fewer bytes left.
        """
        if self._at + count <= len(self._data):
            self._at += count
            return
        self._data_start = self._within(count)
        self._data, self._at = b"", 0

    def u32(self) -> int:
        """The next four bytes as a little-endian number."""
        return int.from_bytes(self.take(4), "little")

    def u64(self) -> int:
        """The next eight bytes as a little-endian number."""
        return int.from_bytes(self.take(8), "little")

    def f64(self) -> float:
        """The next eight bytes as a big-endian float, as pickles write it."""
        return struct.unpack(">d", self.take(8))[0]

    def line(self, limit: int) -> bytes:
        """The bytes before the next line break. The line break is skipped.

        Raises:
            HeaderError: there is no line break within `limit` bytes.
        """
        while (end := self._data.find(b"\n", self._at, self._at + limit)) < 0:
            there = len(self._data) - self._at
            if there >= limit:
                raise HeaderError(f"{self.name} is damaged: a name in it does not end.", "Download it again.")
            self._fetch(there + 1)
        piece = self._data[self._at : end]
        self._at = end + 1
        return piece

    def _within(self, count: int) -> int:
        """The position at which the next `count` bytes end."""
        end = self.position + count
        if end > self._size_bytes:
            raise self._cut_short()
        return end

    def _fetch(self, count: int) -> None:
        """Loads the next `count` bytes to the start of the buffer."""
        self._within(count)
        rest = self._data[self._at :]
        wanted = max(count - len(rest), min(self._step_bytes, self._size_bytes - self.position - len(rest)))
        self._step_bytes = min(2 * self._step_bytes, LONGEST_STEP_BYTES)
        self._file.seek(self.position + len(rest))
        self._data_start += self._at
        self._data, self._at = rest + self._file.read(wanted), 0
        if len(self._data) < count:
            raise self._cut_short()

    def _cut_short(self) -> HeaderError:
        return HeaderError(f"{self.name} is cut short: it ends inside its header.", "Download it again.")

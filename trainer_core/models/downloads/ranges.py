"""Reads a remote file like a local one: only the requested byte ranges are transferred."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import ExitStack
from types import TracebackType

from trainer_core.errors import DownloadError
from trainer_core.models.downloads.http import BRIEF, Answer, Asked, Patience, get, keep_trying
from trainer_core.models.downloads.web import refuse_page, total_of_range
from trainer_core.text import printable

FIRST_BYTES = 64 * 1024
"""The smallest range that is requested: most headers fit into it, and a request costs more than the bytes."""
LONGEST_START_BYTES = 128 * 1024 * 1024
"""How far a file is read when the server sends it only from its start."""


class RemoteStream(io.RawIOBase):
    """A seekable stream over a remote file. `received_bytes` counts the transferred bytes; `size_bytes` is the file's size.

    Raises:
        DownloadError: when created, and from `read`: the server refuses the file, or the connection fails.
    """

    def __init__(self, asked: Asked, patience: Patience = BRIEF) -> None:
        super().__init__()
        self.received_bytes = 0
        self.size_bytes = 0
        self._asked = asked
        self._patience = patience
        self._position = 0
        self._start = 0
        self._buffer = b""
        # For a server that does not support ranges: the open response, and the rest of its body.
        self._whole = ExitStack()
        self._rest: Iterator[bytes] | None = None
        self._ask(0, FIRST_BYTES)

    def read(self, size: int = -1) -> bytes:
        """The next bytes, `size` of them unless the file ends."""
        wanted = max(0, self.size_bytes - self._position)
        if size >= 0:
            wanted = min(wanted, size)
        if not wanted:
            return b""
        if not self._has(self._position, wanted):
            self._ask(self._position, max(wanted, FIRST_BYTES))
        begin = self._position - self._start
        data = self._buffer[begin : begin + wanted]
        self._position += len(data)
        return data

    def readinto(self, target: memoryview) -> int:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Fills a buffer; what io.BufferedReader and zipfile call."""
        data = self.read(len(target))
        target[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Moves to a position and returns it; nothing is transferred."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size_bytes}[whence]
        self._position = max(0, base + offset)
        return self._position

    def tell(self) -> int:
        """The current position."""
        return self._position

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def close(self) -> None:
        """Ends a transfer that is still open."""
        self._whole.close()
        super().close()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _has(self, start: int, count: int) -> bool:
        return self._start <= start and start + count <= self._start + len(self._buffer)

    def _ask(self, start: int, count: int) -> None:
        if self._rest is None:
            keep_trying(lambda: self._fetch(start, count), self._patience)
        if self._rest is not None:
            self._read_on(start + count)

    def _fetch(self, start: int, count: int) -> None:
        """Receives one range. If the server sends the whole file instead, the response stays open and is read from its start."""
        with ExitStack() as stack:
            sent = {"Range": f"bytes={start}-{start + count - 1}"}
            answer = stack.enter_context(get(self._asked, sent, self._patience))
            refuse_page(answer, self._asked.what)
            if answer.status == 200:
                self.size_bytes = answer.length_bytes or 0
                if not self.size_bytes:
                    raise _whole_file(self._asked.what, "does not give its size")
                self._start, self._buffer, self._rest = 0, b"", answer.chunks()
                self._whole = stack.pop_all()
                return
            self._take(answer, start)

    def _take(self, answer: Answer, start: int) -> None:
        said = answer.header("content-range")
        total = total_of_range(said)
        if answer.status != 206 or total is None or not said.replace("bytes", "").strip().startswith(f"{start}-"):
            raise _whole_file(self._asked.what, "does not send the requested part")
        if self.size_bytes and total != self.size_bytes:
            message = f"{printable(self._asked.what, 200)} changed while it was being read."
            raise DownloadError(message, "Try again.", "content")
        self.size_bytes = total
        data = bytearray()
        for chunk in answer.chunks():
            data += chunk
            self.received_bytes += len(chunk)
        self._start, self._buffer = start, bytes(data)

    def _read_on(self, end: int) -> None:
        """Receives more of a whole file, up to `end`."""
        end = min(end, self.size_bytes)
        if end > LONGEST_START_BYTES:
            raise _whole_file(self._asked.what, "sends it only from its start")
        data = bytearray(self._buffer)
        for chunk in self._rest or ():
            data += chunk
            self.received_bytes += len(chunk)
            if len(data) >= end:
                break
        self._buffer = bytes(data)


def _whole_file(what: str, reason: str) -> DownloadError:
    message = f"Easel cannot identify {printable(what, 200)} without downloading the whole file: its server {reason}."
    return DownloadError(message, "Download it, then check it here.", "whole")

"""A file at an address, read as if it lay here: only the ranges that are asked for travel."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import ExitStack
from types import TracebackType

from trainer_core.downloads.http import BRIEF, Answer, Asked, Patience, get, keep_trying
from trainer_core.downloads.web import refuse_page, total_of_range
from trainer_core.errors import DownloadError
from trainer_core.text import printable

FIRST_BYTES = 64 * 1024
"""How much is asked for at least: most headers fit, and a request costs more than the bytes."""
LONGEST_START_BYTES = 128 * 1024 * 1024
"""How far into a file is read where a server only sends it from its beginning."""


class RemoteStream(io.RawIOBase):
    """A seekable stream over a file at an address. `received_bytes` counts what travelled, `size_bytes` is the file's.

    Raises:
        DownloadError: as it is made, and from `read`: the file is refused, or the connection fails.
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
        # Of a server that knows no ranges: the open answer, and what of it has been received.
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
        """Moves to a position and returns it; nothing travels."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size_bytes}[whence]
        self._position = max(0, base + offset)
        return self._position

    def tell(self) -> int:
        """The position."""
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
        """Receives one range; a server that sends the whole file instead is kept open, to be read from its beginning."""
        with ExitStack() as stack:
            sent = {"Range": f"bytes={start}-{start + count - 1}"}
            answer = stack.enter_context(get(self._asked, sent, self._patience))
            refuse_page(answer, self._asked.what)
            if answer.status == 200:
                self.size_bytes = answer.length_bytes or 0
                if not self.size_bytes:
                    raise _whole_file(self._asked.what, "does not say how large it is")
                self._start, self._buffer, self._rest = 0, b"", answer.chunks()
                self._whole = stack.pop_all()
                return
            self._take(answer, start)

    def _take(self, answer: Answer, start: int) -> None:
        said = answer.header("content-range")
        total = total_of_range(said)
        if answer.status != 206 or total is None or not said.replace("bytes", "").strip().startswith(f"{start}-"):
            raise _whole_file(self._asked.what, "does not send the part that was asked for")
        if self.size_bytes and total != self.size_bytes:
            message = f"{printable(self._asked.what, 200)} has changed while it was read."
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
            raise _whole_file(self._asked.what, "sends it from its beginning only")
        data = bytearray(self._buffer)
        for chunk in self._rest or ():
            data += chunk
            self.received_bytes += len(chunk)
            if len(data) >= end:
                break
        self._buffer = bytes(data)


def _whole_file(what: str, reason: str) -> DownloadError:
    message = f"What {printable(what, 200)} is cannot be told without fetching the whole file: its server {reason}."
    return DownloadError(message, "Download it, then look at it here.", "whole")

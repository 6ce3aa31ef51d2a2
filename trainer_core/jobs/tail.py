"""Reads a growing log: its lines for a parser, and its end as a terminal would show it. All logs are read here."""

from __future__ import annotations

import codecs
import re
from collections import deque
from collections.abc import Iterable
from pathlib import Path

from trainer_core.jobs.hosts.host import Host
from trainer_core.jobs.hosts.local import LOCAL
from trainer_core.text import printable, without_escapes

VIEW_BYTES = 64 << 10
VIEW_ROWS = 300
LONGEST_ROW = 600
_ENDS = re.compile(r"([\r\n])")
_CHUNK_BYTES = 1 << 20
_LINE_LIMIT = 1 << 16
_PADDING = re.compile(r"(?<=\S) {24,}(?=[^\s|])")
"""Spaces that move a file name to the right edge of a terminal of 300 columns; not those in a progress bar, before "|"."""


class LogTail:
    """Reads what was added to a file since the last call. A negative `offset` starts that many bytes before the end."""

    def __init__(self, path: Path, host: Host = LOCAL, offset: int = 0) -> None:
        self._path, self._host, self._offset = path, host, offset
        self._decode = codecs.getincrementaldecoder("utf-8")(errors="replace").decode
        self.pending = ""
        """The incomplete last line: a progress bar, or the beginning of a text."""
        self.handled = max(0, offset)
        """The offset after the last complete line that was read: a reader that starts there misses nothing."""

    @property
    def reached(self) -> int:
        """The offset up to which the file was read; the line there may be incomplete."""
        return max(0, self._offset)

    def lines(self) -> list[str]:
        """The lines that were completed since the last call, without empty ones; at most about a megabyte.

        A progress bar is redrawn after a carriage return, so a carriage return ends a line, too.
        """
        return [text for text, _ in self.pieces() if text]

    def pieces(self) -> list[tuple[str, str]]:
        """The lines as in `lines`, each with the character that ended it; includes empty ones."""
        added, self._offset = self._host.read(self._path, self._offset, _CHUNK_BYTES)
        if not added:
            return []
        if (end := max(added.rfind(b"\n"), added.rfind(b"\r"))) >= 0:
            self.handled = self._offset - len(added) + end + 1
        *whole, self.pending = _ENDS.split(self.pending + self._decode(added))
        found = list(zip(whole[::2], whole[1::2], strict=True))
        if len(self.pending) > _LINE_LIMIT:
            # No program writes such a long line on purpose, and it must not fill the memory.
            found.append((self.pending, "\n"))
            self.pending, self.handled = "", self._offset
        return found


class LogView:
    """The end of a log as rows of a terminal; `open` is the row that is not complete yet."""

    def __init__(self, path: Path, host: Host = LOCAL) -> None:
        self.rows: list[str] = []
        self.open = ""
        self._tail = LogTail(path, host, -VIEW_BYTES)
        self._row = ""

    def read(self) -> list[str]:
        """The rows that were completed since the last call, at most `VIEW_ROWS`."""
        found: list[str] = []
        while pieces := self._tail.pieces():
            found = [*found, *self._completed(pieces)][-VIEW_ROWS:]
        self.open = shown(self._tail.pending or self._row)
        self.rows = (self.rows + found)[-VIEW_ROWS:]
        return found

    def _completed(self, pieces: Iterable[tuple[str, str]]) -> list[str]:
        """The completed rows. A line feed ends a row; text after a carriage return replaces the text before it."""
        found = []
        for text, end in pieces:
            self._row = text or self._row
            if end == "\n":
                found.append(shown(self._row))
                self._row = ""
        return found


def shown(row: str) -> str:
    """A log line that is safe to show: of limited length, without colours or the padding of a wide terminal."""
    return printable(_PADDING.sub("  ", without_escapes(row)).rstrip(), LONGEST_ROW, keep="\t")


def last_lines(path: Path, limit_bytes: int = 2 << 20, host: Host = LOCAL) -> list[str]:
    """The lines in the last `limit_bytes` of a log; none if it cannot be read."""
    content, _ = host.read(path, -limit_bytes, limit_bytes)
    return split(content)


def is_cut(path: Path, host: Host = LOCAL) -> bool:
    """Whether a log ends in the middle of a line, as on a full disk."""
    content, _ = host.read(path, -1, 1)
    return bool(content) and content not in (b"\n", b"\r")


def split(content: bytes) -> list[str]:
    """The lines in a part of a log, without empty ones; a progress bar has one for each time it was drawn."""
    return [line for line in re.split(r"[\r\n]+", content.decode("utf-8", "replace")) if line.strip()]


def search(path: Path, wanted: str, most: int = 200, host: Host = LOCAL) -> tuple[list[tuple[int, str]], int, bool]:
    """The last `most` lines of a log that contain a text, with their numbers; how many lines there are; whether more contain it.

    Capital and small letters are the same. A log of any length is read piece by piece.
    """
    tail, folded = LogTail(path, host), wanted.casefold()
    hits: deque[tuple[int, str]] = deque(maxlen=most)
    number = found = 0
    row = ""

    def look(text: str) -> None:
        nonlocal number, found
        number += 1
        if folded in text.casefold():
            found += 1
            hits.append((number, shown(text)))

    while pieces := tail.pieces():
        for text, end in pieces:
            # As a terminal shows it: text after a carriage return replaces the text before it.
            row = text or row
            if end == "\n":
                look(row)
                row = ""
    if last := tail.pending or row:
        look(last)
    return list(hits), number, found > most

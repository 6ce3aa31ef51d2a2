"""A growing log, read as lines. A progress bar is redrawn after a carriage return, so that ends a line as well."""

from __future__ import annotations

import codecs
import re
from pathlib import Path

_ENDS = re.compile(r"[\r\n]+")
_CHUNK_BYTES = 1 << 20
_LINE_LIMIT = 1 << 16


class LogTail:
    """Reads what was added to a file since the last look."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        self._decode = codecs.getincrementaldecoder("utf-8")(errors="replace").decode
        self.pending = ""
        """The beginning of a line that has no end yet: a bar that is being shown, or half a sentence."""

    def lines(self) -> list[str]:
        """The lines that were finished since the last call, without empty ones; at most about a megabyte of them."""
        added = self._file.read(_CHUNK_BYTES)
        if not added:
            return []
        *whole, self.pending = _ENDS.split(self.pending + self._decode(added))
        if len(self.pending) > _LINE_LIMIT:
            # No engine writes such a line on purpose, and it must not fill the memory.
            whole.append(self.pending)
            self.pending = ""
        return [line for line in whole if line]

    def close(self) -> None:
        """Lets go of the file."""
        self._file.close()


def last_lines(path: Path, limit_bytes: int = 2 << 20) -> list[str]:
    """The last lines of a log, of at most so many bytes of it; none when it cannot be read."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, 2) - limit_bytes))
            return [line for line in _ENDS.split(file.read().decode("utf-8", "replace")) if line.strip()]
    except OSError:
        return []

"""The SHA-256 of files of this machine that were sent before, so that a model of some GiB is read once."""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
from pathlib import Path
from typing import Any

from trainer_core import places
from trainer_core.files import open_regular, write_whole

FILE = "sent-hashes.json"
LEAST_BYTES = 1 << 20
"""Smaller files are read each time."""
MOST = 2000
_LARGEST_BYTES = 4 << 20


class KnownHashes:
    """The hashes of large files by path. An entry counts while size, times and inode are those of the file."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._path = places.cache() / FILE
        self._known: dict[str, Any] = {}
        with contextlib.suppress(OSError, ValueError, RecursionError), open_regular(self._path) as file:
            found = json.loads(file.read(_LARGEST_BYTES))
            self._known = found if isinstance(found, dict) else {}
        self._is_changed = False

    def of(self, path: Path) -> tuple[str, int]:
        """The SHA-256 and the size in bytes of a file.

        Raises:
            OSError: it cannot be read, or is no regular file.
        """
        with open_regular(path) as file:
            seen = path.stat()
            mark = [seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns, seen.st_ino]
            before = self._known.get(str(path))
            if isinstance(before, list) and before[:4] == mark and len(before) == 5:
                return str(before[4]), seen.st_size
            digest, length = hashlib.sha256(), 0
            while read := file.read(LEAST_BYTES):
                digest.update(read)
                length += len(read)
        found = digest.hexdigest()
        if length >= LEAST_BYTES:
            with self._lock:
                self._known.pop(str(path), None)
                self._known[str(path)] = [*mark, found]
                self._is_changed = True
        return found, length

    def keep(self) -> None:
        """Writes down what was computed; without space for it, it is computed again."""
        if self._is_changed:
            newest = dict(list(self._known.items())[-MOST:])
            with contextlib.suppress(OSError):
                write_whole(self._path, json.dumps(newest) + "\n", personal=True)

"""The part file of an unfinished download: a hidden file in the target folder, and a note about the file it belongs to."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from trainer_core.errors import DownloadCancelled, DownloadError
from trainer_core.models.downloads.remote import RemoteFile
from trainer_core.text import printable

_READ_BYTES = 4 * 1024 * 1024


class Part:
    """A part file that this process holds exclusively until it is closed.

    Its name contains a hash of the file it belongs to, so that parts of two files are never mixed. Its note, a second
    file, stores what the server sent about the file (ETag, date, size). It does not store the address, because addresses
    can contain signatures.
    """

    def __init__(self, folder: Path, file: RemoteFile) -> None:
        """Opens or creates the part file of `file` in `folder`.

        Raises:
            DownloadError: another process is downloading it.
            OSError: it cannot be written.
        """
        key = hashlib.sha256((file.sha256 or file.url).encode()).hexdigest()[:12]
        name = file.name.rpartition("/")[2]
        self.path = folder / f".{name}.{key}.part"
        self._note = folder / f".{name}.{key}.part.json"
        self._name = name
        self._wants_hash = bool(file.sha256)
        self._hash = hashlib.sha256()
        self._hashed_bytes = 0
        self.was_continued = False
        folder.mkdir(parents=True, exist_ok=True)
        self._file = self._opened()
        self.size_bytes = self._file.seek(0, os.SEEK_END)
        self.said = self._read_note() if self.size_bytes else {}
        if self.size_bytes and not self.said:
            self.restart({})

    def _opened(self) -> Any:
        """The part file, locked. The system releases the lock when the process ends, even when it is killed."""
        while True:
            file = self.path.open("a+b", buffering=0)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.close()
                message = f"{printable(self._name, 200)} is already being downloaded by another notebook or terminal."
                raise DownloadError(message, "Wait for it, or stop it there.", "taken") from None
            except OSError:
                # A file system without locks, such as some network file systems.
                return file
            # The previous holder may have finished the download and renamed the file in the meantime.
            if self.path.exists() and os.path.samestat(self.path.stat(), os.fstat(file.fileno())):
                return file
            file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def restart(self, said: dict[str, str]) -> None:
        """Empties the part file; `said` is what the server sent about the file that starts to arrive."""
        self._file.truncate(0)
        self.size_bytes = self._hashed_bytes = 0
        self._hash = hashlib.sha256()
        self.was_continued = False
        self.said = said
        if said:
            scratch = self._note.with_suffix(".tmp")
            scratch.write_text(json.dumps(said))
            scratch.replace(self._note)

    def write(self, data: bytes) -> None:
        """Appends received data."""
        rest = memoryview(data)
        while rest:
            rest = rest[self._file.write(rest) :]
        self.size_bytes += len(data)
        if self._wants_hash and self._hashed_bytes == self.size_bytes - len(data):
            self._hash.update(data)
            self._hashed_bytes = self.size_bytes

    def sha256(self, cancel: threading.Event | None, report: Callable[[int], None]) -> str:
        """The SHA-256 of the whole part file. Data from an earlier process is read again."""
        if self._hashed_bytes != self.size_bytes:
            self._hash = hash_of(self.path, cancel, report)
            self._hashed_bytes = self.size_bytes
        return self._hash.hexdigest()

    def discard(self) -> None:
        """Deletes the part file and its note."""
        self._note.unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)

    def finish(self, target: Path, *, replaces: bool = False) -> None:
        """Renames the part file to its final name; a file of that name is overwritten only if it `replaces` it.

        Raises:
            FileExistsError: a file of that name exists.
        """
        os.fsync(self._file.fileno())
        if replaces:
            self.path.replace(target)
            self.discard()
            return
        try:
            os.link(self.path, target)
        except FileExistsError:
            raise
        except OSError:
            # A file system without hard links: create the name first, so that an existing file is never replaced.
            os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
            self.path.replace(target)
        self.discard()

    def _read_note(self) -> dict[str, str]:
        try:
            value = json.loads(self._note.read_text())
        except (OSError, ValueError, RecursionError):
            return {}
        return value if isinstance(value, dict) and all(isinstance(text, str) for text in value.values()) else {}


def hash_of(path: Path, cancel: threading.Event | None, report: Callable[[int], None]) -> Any:
    """The SHA-256 of a file; `report` is called with the bytes read so far.

    Raises:
        DownloadCancelled: `cancel` was set.
    """
    found, done = hashlib.sha256(), 0
    with path.open("rb") as file:
        while data := file.read(_READ_BYTES):
            found.update(data)
            done += len(data)
            report(done)
            if cancel and cancel.is_set():
                raise DownloadCancelled
    return found

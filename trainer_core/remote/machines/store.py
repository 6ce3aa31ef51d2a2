"""The files that were sent to this machine, each by the SHA-256 of its content, so that none is sent twice.

remote-files/<sha256>          a complete file, whose content was compared with its name; it is never changed
remote-files/parts/<sha256>    what has arrived of one so far
remote-inputs/<32 digits>/     a folder of a run's images or models: hard links to these files under their own names
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from trainer_core import places
from trainer_core.errors import JobError
from trainer_core.files import open_regular
from trainer_core.remote.machines.names import check_name, check_sha256, check_size

FILES, INPUTS, PARTS = "remote-files", "remote-inputs", "parts"
_READ_BYTES = 1 << 20


@dataclass(frozen=True)
class Store:
    """The files below `home`, the folder of Easel on this machine."""

    home: Path

    @classmethod
    def own(cls) -> Store:
        """That of this Easel."""
        return cls(places.home())

    @property
    def folder(self) -> Path:
        """The folder of the complete files."""
        return self.home / FILES

    def free_bytes(self) -> int:
        """The free disk space."""
        return shutil.disk_usage(self._made(self.folder)).free

    def there(self, files: Mapping[str, int]) -> dict[str, int]:
        """How many bytes of each file are here, by SHA-256: its size only for a complete one, -1 for an empty one that is not here.

        `files` are sizes.
        """
        return {sha256: self._there(check_sha256(sha256), check_size(size)) for sha256, size in files.items()}

    def add(self, sha256: str, size: int, offset: int, piece: bytes) -> int:
        """Adds a piece of a file and returns how many bytes are here now. A piece from another place is left out.

        Raises:
            JobError: the file is complete now and has another content, which was removed.
            OSError: it cannot be written; what was here before stays.
        """
        target = self.folder / check_sha256(sha256)
        if self._is_whole(target, size):
            return size
        with self._part(sha256) as part:
            if self._is_whole(target, size):
                return size
            there = part.seek(0, os.SEEK_END)
            if offset == there and there + len(piece) <= size:
                try:
                    _write(part, piece)
                except OSError:
                    part.truncate(there)
                    raise
                there += len(piece)
            if there >= size:
                self._finish(part, target, size)
        return there

    def add_several(self, files: Sequence[tuple[str, int]], content: bytes) -> None:
        """Adds small files, whose contents follow each other.

        Raises:
            JobError: one has another content.
            OSError: one cannot be written.
        """
        start = 0
        for sha256, size in files:
            piece = content[start : start + check_size(size)]
            start += size
            target = self.folder / check_sha256(sha256)
            if self._is_whole(target, size):
                continue
            with self._part(sha256) as part:
                if not self._is_whole(target, size):
                    part.truncate(0)
                    _write(part, piece)
                    self._finish(part, target, size)

    def take(self, path: Path, sha256: str, size: int) -> None:
        """Moves a file of this machine here.

        Raises:
            JobError: it has another content, and was removed.
            OSError: it cannot be moved.
        """
        self._made(self.folder / PARTS)
        path.rename(self.folder / PARTS / check_sha256(sha256))
        with self._part(sha256) as part:
            self._finish(part, self.folder / sha256, size)

    def arrange(self, tree: Mapping[str, str]) -> Path:
        """A folder with these files: their SHA-256 by name. The same tree is always the same folder.

        Raises:
            JobError: a name leads out of the folder, or a file is not here.
            OSError: it cannot be written.
        """
        names = {check_name(name): check_sha256(sha256) for name, sha256 in tree.items()}
        key = hashlib.sha256(json.dumps(sorted(names.items())).encode()).hexdigest()[:32]
        made = self.home / INPUTS / key
        if made.is_dir():
            return made
        scratch = self._made(made.parent) / f".{key}.{os.getpid()}"
        shutil.rmtree(scratch, ignore_errors=True)
        try:
            for name, sha256 in names.items():
                self._link(self.folder / sha256, scratch / name)
            scratch.mkdir(exist_ok=True)
            self._put(scratch, made)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        return made

    def _put(self, scratch: Path, made: Path) -> None:
        try:
            scratch.rename(made)
        except OSError:
            # Another program made the same one meanwhile.
            if not made.is_dir():
                raise

    def _link(self, source: Path, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        if not source.is_file():
            raise JobError(f"The file for {target.name} has not arrived.", "Start it again.")
        try:
            target.hardlink_to(source)
        except FileExistsError as error:
            raise JobError(f"Two files would be {target.name} on this machine.", "Rename one of them.") from error
        except OSError:
            # Some file systems have no hard links.
            target.symlink_to(source)

    def _there(self, sha256: str, size: int) -> int:
        if self._is_whole(self.folder / sha256, size):
            return size
        try:
            found = (self.folder / PARTS / sha256).stat().st_size
        except OSError:
            found = 0
        # A complete part that was not checked yet is checked with its last byte.
        return min(found, size - 1)

    def _is_whole(self, path: Path, size: int) -> bool:
        return path.is_file() and path.stat().st_size == size

    @contextmanager
    def _part(self, sha256: str) -> Iterator[IO[bytes]]:
        """The part of a file, open and locked, so that two senders do not mix their pieces."""
        path = self._made(self.folder / PARTS) / sha256
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        with os.fdopen(handle, "r+b", buffering=0) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield file

    def _finish(self, part: IO[bytes], target: Path, size: int) -> None:
        """Gives a complete part its name.

        Raises:
            JobError: its content is another one.
        """
        path = self.folder / PARTS / target.name
        with open_regular(path) as file:
            found = hashlib.sha256()
            while read := file.read(_READ_BYTES):
                found.update(read)
            length = file.tell()
        if length != size or found.hexdigest() != target.name:
            path.unlink(missing_ok=True)
            raise JobError("A file arrived with another content than it had, and was removed.", "Start it again.")
        os.fsync(part.fileno())
        path.chmod(0o444)
        path.rename(target)

    def _made(self, folder: Path) -> Path:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder


def _write(file: IO[bytes], content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[file.write(rest) :]

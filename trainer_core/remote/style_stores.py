"""Where the files of styles are: in a folder of this machine or in a bucket. A file is written only if nobody else has meanwhile."""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from trainer_core import places
from trainer_core.errors import RemoteError
from trainer_core.files import open_own, write_whole
from trainer_core.remote.storage.bucket import Bucket
from trainer_core.remote.storage.objects import folders
from trainer_core.remote.storage.uploading import put_bytes
from trainer_core.text import printable

MOST_BYTES = 16 << 20
"""The largest file of a style that is read or written."""


PROBE = ".easel-conditions"
NO_TAG = '"00000000000000000000000000000000"'
"""An ETag that no object has."""


class Store(Protocol):
    """Files by their paths with "/". A tag stands for what a file contained when it was read."""

    def folders(self, path: str) -> list[str]:
        """The names of the folders in a folder; none if it does not exist."""
        ...

    def read(self, path: str) -> tuple[bytes, str] | None:
        """The content and the tag of a file; None if there is none.

        Raises:
            RemoteError: it cannot be read.
        """
        ...

    def write(self, path: str, data: bytes, tag: str | None) -> None:
        """Writes a file that still has the tag, or that does still not exist if the tag is None.

        Raises:
            RemoteError: of the kind "changed", somebody else wrote it; of another kind, it cannot be written.
        """
        ...


class LocalStore:
    """The files below a folder of this machine. Programs that do not lock the folder can still write between check and change."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def folders(self, path: str) -> list[str]:
        """The names of the folders in a folder; links are left out."""
        try:
            return [entry.name for entry in os.scandir(self._root / path) if entry.is_dir(follow_symlinks=False)]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise _unread(self._root / path, error) from error

    def read(self, path: str) -> tuple[bytes, str] | None:
        """The content of a file and its SHA-256."""
        file = self._inside(path)
        try:
            with open_own(file) as opened:
                data = opened.read(MOST_BYTES + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _unread(file, error) from error
        if len(data) > MOST_BYTES:
            raise RemoteError(f"{printable(str(file), 300)} is larger than {MOST_BYTES} bytes.", "", "size")
        return data, hashlib.sha256(data).hexdigest()

    def write(self, path: str, data: bytes, tag: str | None) -> None:
        """Writes a file under a lock of its folder."""
        file = self._inside(path)
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            with _locked(file.parent):
                found = self.read(path)
                if (found[1] if found else None) != tag:
                    message = f"{printable(str(file), 300)} was changed by another program meanwhile."
                    raise RemoteError(message, "Start it again.", "changed")
                write_whole(file, data, durable=True)
        except OSError as error:
            message = f"{printable(str(file), 300)} cannot be written: {error.strerror or error}."
            raise RemoteError(message, "Check its permissions and the free disk space.", "disk") from error

    def _inside(self, path: str) -> Path:
        file = self._root / path
        if not places.real(file.parent).is_relative_to(places.real(self._root)):
            raise RemoteError(f"{printable(str(file), 300)} leads out of the folder.", "", "content")
        return file


class BucketStore:
    """The files below a prefix of a bucket, "" or one that ends in "/".

    Before the first change a small object, `.easel-conditions`, shows whether the storage keeps to conditions: some ignore them
    without an error.
    """

    def __init__(self, bucket: Bucket, prefix: str = "") -> None:
        self._bucket = bucket
        self._prefix = prefix
        self._is_safe = False

    def folders(self, path: str) -> list[str]:
        """The names of the folders in a folder."""
        start = f"{self._prefix}{path}/"
        return [each.removeprefix(start).removesuffix("/") for each in folders(self._bucket, start)]

    def read(self, path: str) -> tuple[bytes, str] | None:
        """The content of an object and its ETag."""
        key = self._prefix + path

        def once() -> tuple[bytes, str]:
            answer = self._bucket.once("get_object", key)
            data = answer["Body"].read(MOST_BYTES + 1)
            if len(data) > MOST_BYTES:
                raise RemoteError(f"{self._bucket.uri(key)} is larger than {MOST_BYTES} bytes.", "", "size")
            return data, answer["ETag"]

        try:
            return self._bucket.attempt("get_object", key, once)
        except RemoteError as error:
            if getattr(error, "code", "") == "NoSuchKey":
                return None
            raise

    def write(self, path: str, data: bytes, tag: str | None) -> None:
        """Writes an object with the condition that its ETag is the same, or that there is none.

        A storage that knows no conditions refuses this: without them, what another writer has added could be lost.
        """
        key = self._prefix + path
        self._check_conditions()
        try:
            put_bytes(self._bucket, key, data, {"IfMatch": tag} if tag else {"IfNoneMatch": "*"})
        except RemoteError as error:
            # An earlier attempt arrived and only its answer was lost; then nobody else has written meanwhile.
            if error.kind != "changed" or (found := self.read(path)) is None or found[0] != data:
                raise

    def _check_conditions(self) -> None:
        """Checks once that the storage refuses what it is asked to refuse."""
        if self._is_safe:
            return
        # The first one may create the object.
        self._refuses({"IfNoneMatch": "*"})
        if not (self._refuses({"IfNoneMatch": "*"}) and self._refuses({"IfMatch": NO_TAG})):
            message = f"{self._bucket.service} ignores the conditions of a request: what others write at the same time could be lost."
            raise RemoteError(
                f"{message} Nothing was changed.",
                "Keep the files of styles in a folder, or in another bucket.",
                "content",
            )
        self._is_safe = True

    def _refuses(self, conditions: dict[str, str]) -> bool:
        try:
            put_bytes(self._bucket, self._prefix + PROBE, b"{}", conditions)
        except RemoteError as error:
            if error.kind != "changed":
                raise
            return True
        return False


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keeps other writers of Easel out of a folder; the system ends this with the process."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _unread(path: Path, error: OSError) -> RemoteError:
    return RemoteError(
        f"{printable(str(path), 300)} cannot be read: {error.strerror or error}.", "Check its permissions.", "content"
    )

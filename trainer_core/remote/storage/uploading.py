"""Uploads one file: whole or not at all, with its SHA-256, and never over another object unless the user wants that."""

from __future__ import annotations

import hashlib
import mimetypes
import os
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from trainer_core.errors import RemoteError
from trainer_core.files import open_regular
from trainer_core.remote import addresses
from trainer_core.remote.storage import multipart
from trainer_core.remote.storage.bucket import Bucket
from trainer_core.remote.storage.objects import SHA256, Stored, look, md5_header
from trainer_core.remote.storage.refusals import NOT_OFFERED, StorageError
from trainer_core.remote.storage.work import Tally, Work
from trainer_core.text import printable

_READ_BYTES = 4 << 20
TYPES = {
    ".txt": "text/plain; charset=utf-8",
    ".caption": "text/plain; charset=utf-8",
    ".safetensors": "application/octet-stream",
}


@dataclass(frozen=True)
class Uploaded:
    """What became of an upload. `was_there`: the object had this content before, so nothing was sent."""

    uri: str
    size_bytes: int
    sha256: str
    was_there: bool = False


def upload(bucket: Bucket, path: Path, key: str, *, replaces: bool = False, tally: Tally | None = None) -> Uploaded:
    """Uploads a file; a large one in pieces, which are kept for the next time if it is stopped.

    An object with the same content is left as it is. One with another content is replaced only if the upload `replaces` it,
    and only if nobody changes it meanwhile.

    Raises:
        RemoteError: the storage refuses it, the connection fails, there is another object, or the file changes meanwhile.
        RemoteStopped: the user stopped it.
        OSError: the file cannot be read.
    """
    addresses.check_key(key)
    with open_regular(path) as file:
        before = os.fstat(file.fileno())
        tally = tally or Tally(bucket.work, before.st_size, "uploading")
        single = bucket.work.single_bytes
        data = file.read(single + 1)
        if len(data) <= single:
            sha256 = hashlib.sha256(data).hexdigest()
        else:
            data, sha256 = None, _hashed(file, data, bucket.work)
        conditions = _conditions(bucket, path, key, sha256, before.st_size, replaces=replaces)
        if conditions is None:
            tally.add(before.st_size)
            return Uploaded(bucket.uri(key), before.st_size, sha256, was_there=True)
        about = {"Metadata": {SHA256: sha256}, "ContentType": _type(path)}
        if data is not None:
            _put(bucket, key, data, about, conditions)
            tally.add(len(data))
            return Uploaded(bucket.uri(key), len(data), sha256)
        _send_pieces(bucket, file, before, key, sha256, about, conditions, tally)
    return Uploaded(bucket.uri(key), before.st_size, sha256)


def is_same(found: Stored, path: Path, size_bytes: int, sha256: str = "") -> bool:
    """Whether an object has the content of a file, as far as the storage can prove it; without proof it has not.

    Raises:
        OSError: the file cannot be read.
    """
    if found.size_bytes != size_bytes:
        return False
    if found.proof.kind == "sha256" and sha256:
        return found.proof.value == sha256
    return found.proof.fits(path)


def put_bytes(bucket: Bucket, key: str, data: bytes, conditions: dict[str, str]) -> None:
    """Writes a small object if the conditions hold; a storage that does not know them refuses it.

    Raises:
        RemoteError: of the kind "changed", a condition does not hold; of another kind, as `Bucket.ask`.
    """
    about = {"Metadata": {SHA256: hashlib.sha256(data).hexdigest()}, "ContentType": "application/json"}
    bucket.ask("put_object", key, Body=data, ContentMD5=md5_header(data), **about, **conditions)


def _conditions(
    bucket: Bucket, path: Path, key: str, sha256: str, size_bytes: int, *, replaces: bool
) -> dict[str, str] | None:
    """Under which conditions the storage may accept the object; None if it has this content already."""
    try:
        found = look(bucket, key)
    except RemoteError as error:
        # A key that may only write cannot ask; the storage then decides by the condition.
        if error.kind != "rights":
            raise
        return {} if replaces else {"IfNoneMatch": "*"}
    if found is None:
        return {"IfNoneMatch": "*"}
    if is_same(found, path, size_bytes, sha256):
        return None
    if not replaces:
        raise taken(bucket, key)
    return {"IfMatch": found.etag}


def taken(bucket: Bucket, key: str) -> RemoteError:
    """The error for an object that would be replaced."""
    message = f"There is another object at {printable(bucket.uri(key), 300)}. It was not changed."
    return RemoteError(message, "Choose another address, or replace it.", "taken")


def _put(bucket: Bucket, key: str, data: bytes, about: dict[str, Any], conditions: dict[str, str]) -> None:
    sent = {"Body": data, "ContentMD5": md5_header(data), **about}
    try:
        bucket.ask("put_object", key, **sent, **conditions)
    except StorageError as error:
        if error.code in NOT_OFFERED and conditions:
            # Whether there is another object was asked a moment ago.
            bucket.ask("put_object", key, **sent)
            return
        _settle(bucket, key, about, conditions, error)


def _send_pieces(
    bucket: Bucket,
    file: IO[bytes],
    before: os.stat_result,
    key: str,
    sha256: str,
    about: dict[str, Any],
    conditions: dict[str, str],
    tally: Tally,
) -> None:
    try:
        multipart.send(bucket, file, before, key, sha256, about, conditions, tally)
    except StorageError as error:
        _settle(bucket, key, about, conditions, error)


def _settle(bucket: Bucket, key: str, about: dict[str, Any], conditions: dict[str, str], error: StorageError) -> None:
    """Decides about a refused upload: an earlier attempt may have arrived, and only its answer was lost.

    Raises:
        RemoteError: it did not arrive.
    """
    if error.kind in {"changed", "gone"} and _is_there(bucket, key, about):
        return
    if error.kind == "changed" and "IfNoneMatch" in conditions:
        raise taken(bucket, key) from error
    raise error


def _is_there(bucket: Bucket, key: str, about: dict[str, Any]) -> bool:
    try:
        found = look(bucket, key)
    except RemoteError as error:
        # A key that may only write cannot ask.
        if error.kind != "rights":
            raise
        return False
    return found is not None and found.proof.value == about["Metadata"][SHA256]


def _hashed(file: IO[bytes], start: bytes, work: Work) -> str:
    """The SHA-256 of an open file, whose start has been read already."""
    found, data = hashlib.sha256(), start
    while data:
        work.check()
        found.update(data)
        data = file.read(_READ_BYTES)
    return found.hexdigest()


def _type(path: Path) -> str:
    return TYPES.get(path.suffix.casefold()) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"

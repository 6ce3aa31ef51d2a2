"""Uploads a large file in pieces, several at once. What has arrived is kept by the storage and used the next time.

A note in Easel's home has the id of the unfinished upload, by bucket, key and SHA-256 of the file: the pieces of another
upload, or of an older version of the file, are never used.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import IO, Any

from trainer_core import places
from trainer_core.errors import RemoteError
from trainer_core.files import open_own, write_whole
from trainer_core.remote.storage.bucket import Bucket
from trainer_core.remote.storage.objects import md5_header
from trainer_core.remote.storage.refusals import NOT_OFFERED, StorageError
from trainer_core.remote.storage.work import PIECES_AT_ONCE, Tally, each
from trainer_core.text import printable

MOST_PIECES = 10_000
"""Source: AWS, "Multipart upload limits"."""
_MIB = 1 << 20
_LONGEST_NOTE_BYTES = 1 << 16


def send(
    bucket: Bucket,
    file: IO[bytes],
    before: os.stat_result,
    key: str,
    sha256: str,
    about: dict[str, Any],
    conditions: dict[str, str],
    tally: Tally,
) -> None:
    """Uploads an open file in pieces and puts them together if the conditions hold; `before` is how it was when it was hashed.

    Raises:
        RemoteError: the storage refuses it, the connection fails, or the file changes meanwhile.
        RemoteStopped: the user stopped it; the pieces stay for the next time.
    """
    piece = piece_bytes(before.st_size, bucket.work.piece_bytes)
    note = _note(bucket, key, sha256, piece)
    upload_id, arrived = _unfinished(bucket, key, note)
    if not upload_id:
        upload_id = bucket.ask("create_multipart_upload", key, **about)["UploadId"]
        write_whole(note, json.dumps({"upload": upload_id}), personal=True)

    def one(number: int) -> dict[str, Any]:
        bucket.work.check()
        data = os.pread(file.fileno(), piece, (number - 1) * piece)
        md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
        etag = arrived.get(number, "")
        if etag.strip('"') != md5:
            sent = {"PartNumber": number, "UploadId": upload_id, "Body": data, "ContentMD5": md5_header(data)}
            etag = bucket.ask("upload_part", key, **sent)["ETag"]
        tally.add(len(data))
        return {"ETag": etag, "PartNumber": number}

    try:
        parts = each(one, range(1, -(-before.st_size // piece) + 1), PIECES_AT_ONCE)
        _check_unchanged(bucket, file, before, key)
        _complete(bucket, key, upload_id, parts, conditions)
    except RemoteError as error:
        # Of these nothing can be used the next time.
        if error.kind in {"changed", "gone", "content"}:
            _forget(bucket, key, upload_id, note)
        raise
    note.unlink(missing_ok=True)


def piece_bytes(size_bytes: int, least_bytes: int) -> int:
    """The size of the pieces of a file in bytes: all have the same, and there are at most 10,000."""
    return max(
        least_bytes,
        -(-size_bytes // MOST_PIECES // _MIB) * _MIB + _MIB if size_bytes > MOST_PIECES * least_bytes else 0,
    )


def _complete(
    bucket: Bucket, key: str, upload_id: str, parts: list[dict[str, Any]], conditions: dict[str, str]
) -> None:
    sent = {"UploadId": upload_id, "MultipartUpload": {"Parts": parts}}
    try:
        bucket.ask("complete_multipart_upload", key, **sent, **conditions)
    except StorageError as error:
        if error.code not in NOT_OFFERED or not conditions:
            raise
        # Whether there is another object was asked before the upload.
        bucket.ask("complete_multipart_upload", key, **sent)


def _check_unchanged(bucket: Bucket, file: IO[bytes], before: os.stat_result, key: str) -> None:
    """Checks that the file is the one whose SHA-256 is stored with the object."""
    now = os.fstat(file.fileno())
    if (now.st_size, now.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
        message = (
            f"The file was changed while it was uploaded to {printable(bucket.uri(key), 300)}. Nothing was stored."
        )
        raise RemoteError(message, "Start it again.", "content")


def _forget(bucket: Bucket, key: str, upload_id: str, note: Path) -> None:
    """Ends an upload, so that the storage does not keep its pieces."""
    note.unlink(missing_ok=True)
    try:
        bucket.once("abort_multipart_upload", key, UploadId=upload_id)
    except _refusals():
        # It is gone already, or the key has no right to end it.
        return


def _refusals() -> tuple[type[Exception], ...]:
    from botocore.exceptions import BotoCoreError, ClientError

    return BotoCoreError, ClientError


def _note(bucket: Bucket, key: str, sha256: str, piece: int) -> Path:
    name = "\n".join((bucket.endpoint, bucket.name, key, sha256, str(piece)))
    return places.home() / "remote" / "uploads" / f"{hashlib.sha256(name.encode()).hexdigest()[:32]}.json"


def _unfinished(bucket: Bucket, key: str, note: Path) -> tuple[str, dict[int, str]]:
    """The id of the unfinished upload in a note, and the ETags of its pieces by their numbers; "" if there is none."""
    try:
        with open_own(note) as file:
            upload_id = json.loads(file.read(_LONGEST_NOTE_BYTES))["upload"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return "", {}
    if not isinstance(upload_id, str) or not upload_id:
        return "", {}
    found: dict[int, str] = {}
    marker: dict[str, int] = {}
    try:
        while True:
            page = bucket.ask("list_parts", key, UploadId=upload_id, **marker)
            found |= {int(part["PartNumber"]): part["ETag"] for part in page.get("Parts", ())}
            following = int(page.get("NextPartNumberMarker") or 0)
            if not page.get("IsTruncated") or not marker.get("PartNumberMarker", 0) < following <= MOST_PIECES:
                return upload_id, found
            marker = {"PartNumberMarker": following}
    except RemoteError as error:
        # The storage has removed it, or the key has no right to ask: everything is sent again.
        if error.kind not in {"gone", "missing", "rights"}:
            raise
        return "", {}

"""Downloads one object: in pieces, several at once, continued where it stopped, and checked before it gets its name."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer_core.errors import DownloadError, RemoteError
from trainer_core.models.downloads.part import Part
from trainer_core.models.downloads.remote import RemoteFile
from trainer_core.models.downloads.transfer import check_disk
from trainer_core.remote.storage.bucket import Bucket
from trainer_core.remote.storage.objects import Proof, Stored, look
from trainer_core.remote.storage.work import PIECES_AT_ONCE, Tally, in_order
from trainer_core.text import printable

_CHUNK_BYTES = 1 << 18


@dataclass(frozen=True)
class Downloaded:
    """What became of a download. `was_there`: the file had this content before, so nothing was transferred."""

    path: Path
    size_bytes: int
    proof: Proof
    was_there: bool = False


def download(
    bucket: Bucket, key: str, target: Path, *, replaces: bool = False, tally: Tally | None = None
) -> Downloaded:
    """Downloads an object to a file. A part that has arrived is kept, and used the next time if the object is the same.

    Raises:
        RemoteError: there is no such object, the storage refuses it, the connection fails, or what arrived is not the object.
        RemoteStopped: the user stopped it.
        OSError: the file cannot be written.
    """
    found = look(bucket, key)
    if found is None:
        # Says that the bucket does not exist, if that is the reason.
        bucket.ask("list_objects_v2", Prefix=key, MaxKeys=1)
        raise RemoteError(
            f"There is no object {printable(bucket.uri(key), 300)}.",
            "Check the address: upper and lower case differ.",
            "missing",
        )
    tally = tally or Tally(bucket.work, found.size_bytes, "downloading")
    if os.path.lexists(target):
        if target.is_file() and target.stat().st_size == found.size_bytes and found.proof.fits(target):
            tally.add(found.size_bytes)
            return Downloaded(target, found.size_bytes, found.proof, was_there=True)
        if not replaces or not target.is_file():
            message = f"{printable(str(target), 300)} is there already, with another content. It was not changed."
            raise RemoteError(message, "Choose another name, or replace it.", "taken")
    with explained(target):
        return _fetch(bucket, found, target, tally, replaces=replaces)


@contextmanager
def explained(target: Path) -> Iterator[None]:
    """Says what a full disk and a part file of another process mean."""
    try:
        yield
    except DownloadError as error:
        raise RemoteError(error.message, error.hint, error.kind) from error
    except FileExistsError as error:
        message = f"{printable(str(target), 300)} was created by another program meanwhile. It was not changed."
        raise RemoteError(message, "Choose another name, or replace it.", "taken") from error
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
            raise
        message = f"The disk is full: {printable(str(target), 300)} is not complete."
        raise RemoteError(
            message, "Free some space and start it again; it continues where it stopped.", "disk"
        ) from error


def _fetch(bucket: Bucket, found: Stored, target: Path, tally: Tally, *, replaces: bool) -> Downloaded:
    sha256 = found.proof.value if found.proof.kind == "sha256" else ""
    where = f"{bucket.endpoint} {bucket.uri(found.key)}"
    file = RemoteFile(target.name, where, found.size_bytes, sha256)
    said = {"validator": found.etag, "size": str(found.size_bytes)}
    with Part(target.parent, file) as part:
        was_continued = part.size_bytes > 0 and part.said == said and part.size_bytes <= found.size_bytes
        if not was_continued:
            part.restart(said)
        check_disk(target.parent, found.size_bytes - part.size_bytes, bucket.work.disk_floor_bytes, target.name)
        tally.add(part.size_bytes)
        _receive(bucket, found, part, tally)
        if not _is_right(found, part) and was_continued:
            # What was there from an earlier time may have been damaged.
            tally.add(-part.size_bytes)
            part.restart(said)
            _receive(bucket, found, part, tally)
        if not _is_right(found, part):
            part.discard()
            message = (
                f"What arrived is not {printable(bucket.uri(found.key), 300)}: its {found.proof.kind.upper()} differs."
            )
            raise RemoteError(message, "Start it again; if it happens again, upload it again.", "content")
        part.finish(target, replaces=replaces)
    return Downloaded(target, found.size_bytes, found.proof)


def _is_right(found: Stored, part: Part) -> bool:
    return part.size_bytes == found.size_bytes and (found.proof.kind == "size" or found.proof.fits(part.path))


def _receive(bucket: Bucket, found: Stored, part: Part, tally: Tally) -> None:
    """Fills the part file with what is missing. If the object is changed meanwhile, the part file is emptied."""
    step = bucket.work.piece_bytes
    starts = range(part.size_bytes, found.size_bytes, step)
    try:
        for data in in_order(lambda start: _piece(bucket, found, start, tally), starts, PIECES_AT_ONCE):
            part.write(data)
    except RemoteError as error:
        if error.kind in {"changed", "content"}:
            part.discard()
        if error.kind == "changed":
            message = f"{printable(bucket.uri(found.key), 300)} was changed while it was downloaded."
            raise RemoteError(message, "Start it again, to download what is there now.", "changed") from error
        raise


def _piece(bucket: Bucket, found: Stored, start: int, tally: Tally) -> bytes:
    """The bytes of one piece. After a cut only what is missing of it is asked for."""
    end = min(start + bucket.work.piece_bytes, found.size_bytes)
    data = bytearray()

    def once() -> None:
        begin = start + len(data)
        ranged = {} if (begin, end) == (0, found.size_bytes) else {"Range": f"bytes={begin}-{end - 1}"}
        answer = bucket.once("get_object", found.key, IfMatch=found.etag, **ranged)
        _check(bucket, found, answer, begin, end)
        for chunk in answer["Body"].iter_chunks(_CHUNK_BYTES):
            bucket.work.check()
            data.extend(chunk)
            tally.add(len(chunk))
        if start + len(data) < end:
            raise RemoteError(f"The connection to {bucket.service} was cut.", "Start it again to continue.", "broken")
        if start + len(data) > end:
            raise RemoteError(f"{bucket.service} sends more than was asked for.", "", "content")

    bucket.attempt("get_object", found.key, once, lambda: len(data))
    return bytes(data)


def _check(bucket: Bucket, found: Stored, answer: dict[str, Any], begin: int, end: int) -> None:
    """Checks that an answer is the asked part of the same object."""
    if answer.get("ETag", found.etag) != found.etag:
        raise RemoteError(
            f"{printable(bucket.uri(found.key), 300)} was changed meanwhile.", "Start it again.", "changed"
        )
    said = str(answer.get("ContentRange") or "")
    is_part = said == f"bytes {begin}-{end - 1}/{found.size_bytes}"
    is_whole = not said and (begin, end) == (0, found.size_bytes)
    if not (is_part or is_whole):
        raise RemoteError(
            f"{bucket.service} sends another part of {printable(bucket.uri(found.key), 200)} than was asked for.",
            "",
            "content",
        )

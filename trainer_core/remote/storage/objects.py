"""The objects of a bucket: lists of them, what is known of one, and what proves that a copy of it is complete."""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from trainer_core.errors import RemoteError
from trainer_core.files import open_regular
from trainer_core.remote.storage.bucket import Bucket
from trainer_core.text import printable

SHA256 = "sha256"
"""The name under which Easel stores the SHA-256 of a file with its object, in hexadecimal digits."""
MOST_PAGES = 10_000
"""Of 1,000 objects each: a list with more does not end. Source: the interface of S3, ListObjectsV2."""
_READ_BYTES = 4 << 20
_WITHOUT_REASON = frozenset({"400", "403"})
"""What a storage answers to HEAD: such an answer has no text, and so no code."""
_HEX64, _HEX32 = re.compile(r"[0-9a-f]{64}"), re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class Item:
    """An object in a list; `etag` changes whenever it is changed."""

    key: str
    size_bytes: int
    etag: str
    modified: dt.datetime | None = None


@dataclass(frozen=True)
class Proof:
    """What the storage says about the content of an object: a hash, and where it is from. "size" is no hash, only a length."""

    kind: Literal["sha256", "md5", "size"]
    value: str = ""

    @property
    def words(self) -> str:
        """What this proves, for the user."""
        return {
            "sha256": "checked by SHA-256",
            "md5": "checked by MD5, which finds damage but no forgery",
            "size": "only its size could be checked: the storage has no hash of it",
        }[self.kind]

    def fits(self, path: Path, tell: Callable[[int], None] = lambda _: None) -> bool:
        """Whether a file has this hash; for "size", which proves nothing, False.

        Raises:
            OSError: it cannot be read.
        """
        return self.kind != "size" and hash_of(path, self.kind, tell) == self.value


@dataclass(frozen=True)
class Stored:
    """What is known of an object that exists."""

    key: str
    size_bytes: int
    etag: str
    proof: Proof


def items(bucket: Bucket, prefix: str = "") -> Iterator[Item]:
    """The objects whose keys begin with a prefix, in their order; more of them are asked for as they are read.

    Raises:
        RemoteError: the storage refuses it, or sends a list that does not end.
    """
    for page in _pages(bucket, Prefix=prefix):
        for found in page.get("Contents", ()):
            yield Item(found["Key"], int(found["Size"]), found.get("ETag", ""), found.get("LastModified"))


def folders(bucket: Bucket, prefix: str) -> list[str]:
    """The folders whose keys begin with a prefix, without what is in them, each with "/" at its end.

    Raises:
        RemoteError: as `items`.
    """
    pages = _pages(bucket, Prefix=prefix, Delimiter="/")
    return [each["Prefix"] for page in pages for each in page.get("CommonPrefixes", ())]


def _pages(bucket: Bucket, **asked: str) -> Iterator[Mapping[str, Any]]:
    seen: set[str] = set()
    more: dict[str, str] = {}
    while len(seen) < MOST_PAGES:
        page = bucket.ask("list_objects_v2", **asked, **more)
        yield page
        token = page.get("NextContinuationToken", "")
        if not page.get("IsTruncated") or not token:
            return
        if token in seen:
            break
        seen.add(token)
        more = {"ContinuationToken": token}
    where = printable(bucket.uri(asked["Prefix"]), 200)
    raise RemoteError(f"{bucket.service} sends a list of {where} that does not end.", "", "content")


def look(bucket: Bucket, key: str) -> Stored | None:
    """What is known of an object; None if there is none.

    Raises:
        RemoteError: the storage refuses it.
    """
    try:
        found = bucket.ask("head_object", key, ChecksumMode="ENABLED")
    except RemoteError as error:
        if error.kind == "missing":
            return None
        if getattr(error, "code", "") in _WITHOUT_REASON:
            # The same refusal, with its reason: the key, the clock, or a right that is missing.
            bucket.ask("get_object", key, Range="bytes=0-0")["Body"].close()
        raise
    return Stored(key, int(found["ContentLength"]), found.get("ETag", ""), proof_of(found))


def proof_of(answer: dict[str, Any]) -> Proof:
    """What an answer proves about the content of its object.

    The ETag is an MD5 only for an object that was sent in one piece and is not encrypted with a key of its own. Source: AWS,
    "Checking object integrity".
    """
    stored = str((answer.get("Metadata") or {}).get(SHA256, "")).lower()
    if _HEX64.fullmatch(stored):
        return Proof("sha256", stored)
    checksum = str(answer.get("ChecksumSHA256") or "")
    if checksum and answer.get("ChecksumType", "FULL_OBJECT") == "FULL_OBJECT" and "-" not in checksum:
        try:
            return Proof("sha256", base64.b64decode(checksum, validate=True).hex())
        except binascii.Error:
            pass
    etag = str(answer.get("ETag") or "").strip('"').lower()
    is_encrypted = "kms" in str(answer.get("ServerSideEncryption") or "") or answer.get("SSECustomerAlgorithm")
    return Proof("md5", etag) if _HEX32.fullmatch(etag) and not is_encrypted else Proof("size")


def hash_of(path: Path, kind: str, tell: Callable[[int], None] = lambda _: None) -> str:
    """The hash of a file in hexadecimal digits; `tell` is called with the bytes of each piece that was read.

    Raises:
        OSError: it cannot be read.
    """
    found = hashlib.new(kind, usedforsecurity=kind != "md5")
    with open_regular(path) as file:
        while data := file.read(_READ_BYTES):
            found.update(data)
            tell(len(data))
    return found.hexdigest()


def md5_header(data: bytes) -> str:
    """The MD5 of data as S3 wants it in the header Content-MD5: a storage refuses what arrives with another one."""
    return base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()

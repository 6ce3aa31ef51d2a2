"""A folder as a list of its files in a bucket: each file is an object named after its SHA-256, so that none is sent or stored twice.

<start><SHA-256 of the file>/<its name>                  a file of any folder
<start><SHA-256 of the list>/<name of the folder>.folder.json     the list: paths in the folder, hashes and sizes

Who has the key of a list can check everything: the list by its key, and the files by the list.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from trainer_core import places
from trainer_core.errors import RemoteError
from trainer_core.files import from_table
from trainer_core.remote import addresses, strict_json
from trainer_core.remote.machines.known_hashes import KnownHashes
from trainer_core.remote.storage.bucket import Bucket
from trainer_core.remote.storage.downloading import download
from trainer_core.remote.storage.folders import local_names
from trainer_core.remote.storage.objects import hash_of, look
from trainer_core.remote.storage.uploading import put_bytes, upload
from trainer_core.remote.storage.work import FILES_AT_ONCE, Tally, each
from trainer_core.remote.style_stores import BucketStore
from trainer_core.text import printable

ENDING = ".folder.json"
MOST_FILES = 10_000
_HASH = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Listed:
    """A file of a folder: its path there with "/", the SHA-256 of its content, and its size in bytes."""

    path: str
    sha256: str
    size: int

    def key(self, start: str) -> str:
        """The key of its object."""
        return f"{start}{self.sha256}/{self.path.rpartition('/')[2]}"


@dataclass(frozen=True)
class FolderList:
    """The files of a folder with this name, in the order of their paths."""

    name: str
    files: tuple[Listed, ...]

    @classmethod
    def of(cls, folder: Path) -> FolderList:
        """What is in a folder of this machine, without hidden files. Hashes of large files that were read before are known.

        Raises:
            RemoteError: it is empty, or a file or a folder in it cannot be sent.
            OSError: a file cannot be read.
        """
        names = sorted(_names(folder))
        if not names or len(names) > MOST_FILES:
            message = f"{printable(str(folder), 300)} has {len(names):,} files."
            raise RemoteError(message, f"A model has 1 to {MOST_FILES:,} files: name its own folder.", "content")
        top = folder.absolute().name
        addresses.check_key(top)
        local_names([f"{top}/{name}" for name in names], f"{top}/")
        known = KnownHashes()
        hashes = each(lambda name: known.of(folder / name), names, FILES_AT_ONCE)
        known.keep()
        return cls(top, tuple(Listed(name, *found) for name, found in zip(names, hashes, strict=True)))

    @cached_property
    def data(self) -> bytes:
        """The list as it is stored. Equal folders have equal lists."""
        rows = [asdict(one) for one in self.files]
        return json.dumps({"version": 1, "files": rows}, sort_keys=True).encode() + b"\n"

    def key(self, start: str) -> str:
        """The key of the list."""
        return f"{start}{hashlib.sha256(self.data).hexdigest()}/{self.name}{ENDING}"

    @property
    def size_bytes(self) -> int:
        """Of all files."""
        return sum(one.size for one in self.files)

    def lacking(self, bucket: Bucket, start: str) -> tuple[Listed, ...]:
        """The files that the bucket does not have, each content once.

        Raises:
            RemoteError: the storage refuses the question.
        """

        def is_there(one: Listed) -> bool:
            bucket.work.check()
            found = look(bucket, one.key(start))
            return found is not None and found.size_bytes == one.size

        distinct = list({one.key(start): one for one in self.files}.values())
        there = each(is_there, distinct, FILES_AT_ONCE)
        return tuple(one for one, is_known in zip(distinct, there, strict=True) if not is_known)

    def is_listed(self, bucket: Bucket, start: str) -> bool:
        """Whether the bucket has the list.

        Raises:
            RemoteError: the storage refuses the question.
        """
        return look(bucket, self.key(start)) is not None

    def upload(self, bucket: Bucket, folder: Path, start: str) -> None:
        """Uploads what the bucket lacks, and the list when all files are there; what was cut goes on.

        Raises:
            RemoteError: the storage refuses it, the connection fails, or a file was changed meanwhile.
            RemoteStopped: the user stopped it.
            OSError: a file cannot be read.
        """
        lacking = self.lacking(bucket, start)
        tally = Tally(bucket.work, sum(one.size for one in lacking), "uploading")

        def send(one: Listed) -> None:
            bucket.work.check()
            sent = upload(bucket, folder / one.path, one.key(start), replaces=True, tally=tally)
            if sent.sha256 != one.sha256:
                path = printable(str(folder / one.path), 300)
                raise RemoteError(f"{path} was changed while it was sent.", "Start it again.", "content")

        small = [one for one in lacking if one.size <= bucket.work.single_bytes]
        each(send, small, FILES_AT_ONCE)
        # Large ones are sent in several pieces at once each.
        for one in lacking:
            if one.size > bucket.work.single_bytes:
                send(one)
        put_bytes(bucket, self.key(start), self.data, {})


def is_list(key: str) -> bool:
    """Whether a key is that of a list."""
    return key.endswith(ENDING) and key.count("/") > 0


def fetch(bucket: Bucket, key: str, target: Path) -> Path:
    """Downloads the folder of a list into a folder of this machine; every file is compared with the list. List and keys are untrusted.

    Raises:
        RemoteError: the list is none, or leads out of its folder; a file is missing or another one; the storage refuses it.
        RemoteStopped: the user stopped it.
        OSError: a file cannot be written.
    """
    start, found = _read(bucket, key)
    paths = _paths(found)
    top = target / found.name
    for one in found.files:
        _made_inside(top, one.path)
    tally = Tally(bucket.work, found.size_bytes, "downloading")

    def get(one: Listed) -> None:
        bucket.work.check()
        got = download(bucket, one.key(start), top / one.path, replaces=True, tally=tally)
        known = got.proof.value if got.proof.kind == "sha256" else hash_of(got.path, "sha256")
        if known != one.sha256 or got.size_bytes != one.size:
            got.path.unlink()
            uri = printable(bucket.uri(one.key(start)), 300)
            raise RemoteError(
                f"{uri} is not the file that the list of {found.name} names.", "Upload it again.", "content"
            )

    small = [one for one in found.files if one.size <= bucket.work.single_bytes]
    each(get, small, FILES_AT_ONCE)
    for one in found.files:
        if one.size > bucket.work.single_bytes:
            get(one)
    _without_others(top, paths)
    return top


def _names(folder: Path) -> Iterator[str]:
    """The paths of the files in a folder. Links to files are followed: a cache of the Hub consists of them."""
    for where, inside, names in os.walk(folder):
        inside[:] = sorted(name for name in inside if not name.startswith("."))
        if linked := next((name for name in inside if Path(where, name).is_symlink()), None):
            path = printable(str(Path(where, linked)), 300)
            raise RemoteError(f"{path} is a link to a folder, which is not sent.", "Copy the folder first.", "content")
        for name in names:
            file = Path(where, name)
            if not name.startswith(".") and file.is_file():
                yield file.relative_to(folder).as_posix()


def _read(bucket: Bucket, key: str) -> tuple[str, FolderList]:
    """The start of the keys, and the list."""
    addresses.check_key(key)
    rest, _, file = key.rpartition("/")
    above, _, digest = rest.rpartition("/")
    shown = printable(bucket.uri(key), 300)
    read = BucketStore(bucket).read(key)
    if read is None:
        raise RemoteError(f"There is no object {shown}.", "Upload the folder again.", "missing")
    data = read[0]
    if hashlib.sha256(data).hexdigest() != digest:
        raise RemoteError(f"{shown} is damaged: its SHA-256 is not that in its address.", "Upload it again.", "content")
    try:
        table = strict_json.loads(data)
        rows = table["files"] if isinstance(table, dict) and table.get("version") == 1 else None
        if not isinstance(rows, list) or not 0 < len(rows) <= MOST_FILES:
            raise ValueError("it has no files")
        files = tuple(_row(row) for row in rows)
    except (ValueError, KeyError, RemoteError) as error:
        message = f"{shown} is no list of the files of a folder: {printable(str(error), 100)}."
        raise RemoteError(message, "Upload the folder again, with this version of Easel.", "content") from None
    return f"{above}/" if above else "", FolderList(file.removesuffix(ENDING), files)


def _row(row: Any) -> Listed:
    found = from_table(Listed, row, "a row", RemoteError)
    if not _HASH.fullmatch(found.sha256) or found.size < 0:
        raise ValueError("a file of it has no path, SHA-256 and size")
    return found


def _paths(found: FolderList) -> set[str]:
    """The paths of a list, which are inside of its folder.

    Raises:
        RemoteError: one is not, or two cannot be on one disk.
    """
    top = f"{found.name}/"
    paths = [one.path for one in found.files]
    if local_names([top + path for path in paths], top) != paths:
        raise RemoteError(f"The list of {printable(found.name, 100)} has paths that lead out of it.", "", "content")
    return set(paths)


def _made_inside(top: Path, path: str) -> None:
    """Makes the folder for a file. No link leads out: a request before this one may have been anything."""
    folder = (top / path).parent
    folder.mkdir(parents=True, exist_ok=True)
    if not places.real(folder).is_relative_to(places.real(top.parent)):
        raise RemoteError(f"{printable(str(folder), 300)} is a link that leads out of its folder.", "", "content")


def _without_others(top: Path, paths: set[str]) -> None:
    """Removes files that are not in the list: a loader would take some of them for parts of the model."""
    for where, _, names in os.walk(top):
        for name in names:
            file = Path(where, name)
            if file.relative_to(top).as_posix() not in paths:
                file.unlink()

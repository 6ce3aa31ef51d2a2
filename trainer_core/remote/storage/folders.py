"""Many files at once: a folder of a bucket to the disk, and files to a bucket. What is there already is not sent again."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from trainer_core import places
from trainer_core.errors import RemoteError
from trainer_core.remote import addresses
from trainer_core.remote.storage.bucket import Bucket
from trainer_core.remote.storage.downloading import Downloaded, download
from trainer_core.remote.storage.objects import Item, hash_of, items, look
from trainer_core.remote.storage.uploading import Uploaded, is_same, upload
from trainer_core.remote.storage.work import FILES_AT_ONCE, Tally, each
from trainer_core.text import amount, printable

LONGEST_NAME_BYTES = 255
SHOWN = 3


@dataclass(frozen=True)
class Sent:
    """A file of this machine and the key that it gets."""

    path: Path
    key: str


@dataclass(frozen=True)
class Planned:
    """What an upload of many files would do: `unchanged` are there already, `changed` would be replaced, `others` are left alone."""

    new: tuple[Sent, ...]
    changed: tuple[Sent, ...]
    unchanged: tuple[Sent, ...]
    others: int
    size_bytes: int
    """Of the new and the changed files."""


def planned(bucket: Bucket, files: Sequence[Sent], prefix: str) -> Planned:
    """What an upload of files would do; `prefix` is the folder that all of them go to.

    Raises:
        RemoteError: the storage refuses it, or two files would get the same key.
        OSError: a file cannot be read.
    """
    for file in files:
        addresses.check_key(file.key)
    if twice := [key for key, count in Counter(file.key for file in files).items() if count > 1]:
        raise RemoteError(
            f"Two files would get the address {printable(bucket.uri(twice[0]), 300)}.", "Rename one of them.", "taken"
        )
    there = {item.key: item for item in items(bucket, prefix)}

    def state(file: Sent) -> Literal["new", "changed", "unchanged"]:
        bucket.work.check()
        item = there.get(file.key)
        if item is None:
            return "new"
        return "unchanged" if _is_there(bucket, file, item) else "changed"

    states = each(state, files, FILES_AT_ONCE)
    of = {
        name: tuple(file for file, found in zip(files, states, strict=True) if found == name)
        for name in ("new", "changed", "unchanged")
    }
    size = sum(file.path.stat().st_size for file in (*of["new"], *of["changed"]))
    keys = {file.key for file in files}
    return Planned(of["new"], of["changed"], of["unchanged"], len(there.keys() - keys), size)


def upload_all(bucket: Bucket, plan: Planned, *, replaces: bool = False) -> list[Uploaded]:
    """Uploads what is new and, if it `replaces` them, what is changed. If it is stopped, the next plan has only the rest.

    Raises:
        RemoteError: there are other objects, the storage refuses it, or the connection fails.
        RemoteStopped: the user stopped it.
        OSError: a file cannot be read.
    """
    if plan.changed and not replaces:
        shown = ", ".join(printable(file.key, 100) for file in plan.changed[:SHOWN])
        more = ", …" if len(plan.changed) > SHOWN else ""
        message = f"{amount(len(plan.changed), 'object')} with another content would be replaced: {shown}{more}. Nothing was sent."
        raise RemoteError(message, "Choose another folder, or replace them.", "taken")
    tally = Tally(bucket.work, plan.size_bytes, "uploading")

    def one(file: Sent) -> Uploaded:
        bucket.work.check()
        return upload(bucket, file.path, file.key, replaces=replaces, tally=tally)

    files = (*plan.new, *plan.changed)
    # Large ones are sent in several pieces at once each.
    small = [file for file in files if file.path.stat().st_size <= bucket.work.single_bytes]
    large = [file for file in files if file not in set(small)]
    return each(one, small, FILES_AT_ONCE) + [one(file) for file in large]


def download_all(bucket: Bucket, prefix: str, folder: Path, *, replaces: bool = False) -> list[Downloaded]:
    """Downloads every object below a folder of a bucket into a folder of this machine.

    Raises:
        RemoteError: nothing is there, a key cannot become a path, there is another file, the storage refuses it, or the
            connection fails.
        RemoteStopped: the user stopped it.
        OSError: a file cannot be written.
    """
    found = [item for item in items(bucket, prefix) if not item.key.endswith("/")]
    if not found:
        raise RemoteError(
            f"There is no object below {printable(bucket.uri(prefix), 300)}.",
            "Check the address: upper and lower case differ.",
            "missing",
        )
    names = local_names([item.key for item in found], prefix)
    targets = {item.key: folder / name for item, name in zip(found, names, strict=True)}
    folder.mkdir(parents=True, exist_ok=True)
    for target in targets.values():
        _check_inside(folder, target)
    tally = Tally(bucket.work, sum(item.size_bytes for item in found), "downloading")

    def one(item: Item) -> Downloaded:
        bucket.work.check()
        return download(bucket, item.key, targets[item.key], replaces=replaces, tally=tally)

    small = [item for item in found if item.size_bytes <= bucket.work.single_bytes]
    large = [item for item in found if item.size_bytes > bucket.work.single_bytes]
    return each(one, small, FILES_AT_ONCE) + [one(item) for item in large]


def local_names(keys: Sequence[str], prefix: str) -> list[str]:
    """The paths inside of a folder that objects get, by their keys without the prefix. The keys are untrusted.

    Raises:
        RemoteError: a key cannot become a path, or two cannot be on one disk.
    """
    names = []
    for key in keys:
        addresses.check_key(key)
        name = key.removeprefix(prefix).lstrip("/") or key.rpartition("/")[2]
        if any(len(part.encode()) > LONGEST_NAME_BYTES for part in name.split("/")):
            raise RemoteError(f"{printable(key, 300)} cannot be a file here: its name is too long.", "", "content")
        names.append(name)
    # Some disks do not tell upper and lower case apart: there the second file would replace the first.
    plain = Counter(name.casefold() for name in names)
    parents = {
        "/".join(parts[:depth])
        for parts in (name.casefold().split("/") for name in names)
        for depth in range(1, len(parts))
    }
    for name in names:
        if plain[name.casefold()] > 1 or name.casefold() in parents:
            message = f"{printable(name, 300)} cannot be a file here: another object differs only in upper and lower case, or is below it."
            raise RemoteError(message, "Download the objects one by one.", "taken")
    return names


def below(prefix: str, names: Iterable[str]) -> list[str]:
    """The keys of files with these paths in a folder of a bucket."""
    start = prefix if not prefix or prefix.endswith("/") else f"{prefix}/"
    return [start + name for name in names]


def _is_there(bucket: Bucket, file: Sent, item: Item) -> bool:
    """Whether an object of a list has the content of a file; only if the list does not prove it, the storage is asked."""
    size = file.path.stat().st_size
    if size != item.size_bytes:
        return False
    if hash_of(file.path, "md5") == item.etag.strip('"').lower():
        return True
    found = look(bucket, file.key)
    if found is None or found.proof.kind != "sha256":
        return False
    return is_same(found, file.path, size, hash_of(file.path, "sha256"))


def _check_inside(folder: Path, target: Path) -> None:
    """Checks that no link leads a file out of the folder."""
    parent = target.parent
    while not os.path.lexists(parent):
        parent = parent.parent
    if not places.real(parent).is_relative_to(places.real(folder)):
        message = f"{printable(str(parent), 300)} is a link that leads out of the folder. Nothing was downloaded."
        raise RemoteError(message, "Remove the link, or choose another folder.", "content")

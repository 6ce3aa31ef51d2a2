"""Finds where the folders of styles are: in a folder of this machine or in a bucket. Not: what is in them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from trainer_core import places
from trainer_core.errors import RemoteError, wrong_use
from trainer_core.remote import addresses, credentials, storage
from trainer_core.remote.credentials import Settings
from trainer_core.remote.storage.bucket import endpoint_of
from trainer_core.remote.style_stores import BucketStore, LocalStore
from trainer_core.remote.styles import ROOT, SelectionSet, Styles
from trainer_core.text import printable

BUCKET_NAME = "S3_USER_BUCKET"


@dataclass(frozen=True)
class StylePlace:
    """Where styles are. `address` finds them again: a folder as an absolute path, or s3://bucket/folder/."""

    address: str
    styles: Styles


def opened(where: str = "", values: Settings | None = None, work: storage.Work | None = None) -> StylePlace:
    """The styles in a folder or at an address. Without either: in the working folder if it has some, else in S3_USER_BUCKET.

    Raises:
        RemoteError: there is neither, or the address or the keys cannot be used.
    """
    values = values or credentials.settings()
    if not where:
        if (Path.cwd() / ROOT).is_dir():
            where = str(Path.cwd())
        elif name := values.text(BUCKET_NAME):
            where = f"s3://{name}"
        else:
            message = f"There is no folder {ROOT} here, and no bucket is set."
            hint = f"Name the place with --at, or set {BUCKET_NAME}. {credentials.where_to_set(BUCKET_NAME)}"
            raise RemoteError(message, hint, "setting")
    if "://" not in where:
        folder = places.typed(where).absolute()
        if not folder.is_dir():
            message = f"There is no folder {printable(str(folder), 300)}."
            raise wrong_use(RemoteError(message, f"Name the folder that contains {ROOT}.", "missing"))
        return StylePlace(str(folder), Styles(LocalStore(folder)))
    endpoint = endpoint_of(values)
    address = addresses.parse(where, [endpoint] if endpoint else [])
    prefix = address.key if not address.key or address.key.endswith("/") else f"{address.key}/"
    bucket = storage.connect(address, values, work)
    return StylePlace(f"s3://{address.bucket}/{prefix}", Styles(BucketStore(bucket, prefix)))


def selection_set(styles: Styles, style_id: str, wanted: str) -> SelectionSet:
    """The selection set of a style with this name, or with this number as its id.

    Raises:
        RemoteError: there is none, or the file cannot be read.
    """
    sets = styles.sets(style_id)
    for found in sets:
        if found.name == wanted:
            return found
    for found in sets:
        if str(found.id) == wanted:
            return found
    known = ", ".join(f"{printable(each.name, 60)} ({each.id})" for each in sets[:20])
    hint = f"It has: {known}." if sets else "Create one in the program that keeps the styles."
    message = f"The style {printable(style_id, 80)} has no selection set {printable(wanted, 80)!r}."
    raise wrong_use(RemoteError(message, hint, "missing"))

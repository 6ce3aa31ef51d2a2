"""Brings the images and captions of a request into a folder of its own."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from trainer_core.errors import RemoteError
from trainer_core.files import write_whole
from trainer_core.plan.prompts import has_trigger
from trainer_core.remote import addresses
from trainer_core.remote.addresses import Address
from trainer_core.remote.credentials import Settings
from trainer_core.remote.storage import Bucket, Work, connect, download, folders
from trainer_core.remote.storage.work import FILES_AT_ONCE, each
from trainer_core.remote.training.inputs import CAPTION
from trainer_core.remote.worker.asked import check_bucket

NOTHING = "No files were downloaded from S3"
"""The words of the document "LoRA Training System"."""


def bring(uris: Sequence[str], folder: Path, values: Settings, cancel: threading.Event) -> None:
    """Downloads objects into a folder, under their own names, which differ from each other.

    Raises:
        RemoteError: an object does not exist or is refused, or the connection fails.
        RemoteStopped: the request was cancelled.
    """
    work, known = Work(cancel), {}
    for uri in uris:
        address = addresses.parse(uri)
        check_bucket(address.bucket, values)
        known.setdefault(address.bucket, None)
    buckets: dict[str, Bucket] = {name: connect(Address(name), values, work) for name in known}
    folder.mkdir(parents=True)

    def one(uri: str) -> None:
        address = addresses.parse(uri)
        download(buckets[address.bucket], address.key, folder / PurePosixPath(address.key).name)

    try:
        each(one, uris, FILES_AT_ONCE)
    except RemoteError as error:
        if error.kind == "stopped":
            raise
        raise RemoteError(f"{NOTHING}: {error.message}", error.hint, error.kind) from error


def bring_folder(address: Address, folder: Path, values: Settings, cancel: threading.Event) -> None:
    """Downloads everything below a folder of a bucket.

    Raises:
        RemoteError, RemoteStopped: as `bring`.
    """
    check_bucket(address.bucket, values)
    folders.download_all(connect(address, values, Work(cancel)), address.key, folder)


def name_subject(folder: Path, token: str) -> int:
    """Writes the trigger token before each caption that does not have it; returns how many captions were changed.

    ComfyUI-FluxTrainer writes it before every caption, so that it is there twice where it was there before.
    """
    changed = 0
    for path in sorted(folder.glob(f"*{CAPTION}")) if token else ():
        text = path.read_text(encoding="utf-8", errors="surrogateescape").strip()
        if not has_trigger(text, token):
            write_whole(path, f"{token} {text}\n".encode("utf-8", "surrogateescape"))
            changed += 1
    return changed

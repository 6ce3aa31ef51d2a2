"""Brings the images of a selection set, with their captions, from the bucket into a folder of Easel's datasets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from trainer_core import places
from trainer_core.errors import RemoteError
from trainer_core.files import write_whole
from trainer_core.remote import addresses, storage
from trainer_core.remote.credentials import Settings
from trainer_core.remote.styles import SelectionSet, checked_id, uris
from trainer_core.text import plain_letters, printable

BUCKET_NAME = "S3_USER_BUCKET"


def folder_of(style_id: str, found: SelectionSet) -> Path:
    """The folder into which the images of a selection set are brought."""
    name = "".join(letter if letter.isalnum() else "-" for letter in plain_letters(found.name).lower()).strip("-")
    return places.home() / "datasets" / f"style-{checked_id(style_id)}-{found.id}-{name[:40] or 'set'}"


def bring(style_id: str, found: SelectionSet, values: Settings, say: Callable[[str], None] = lambda _: None) -> Path:
    """The folder with the images of a selection set. What is there already is not fetched again; an image may have no caption.

    Raises:
        RemoteError: an image is missing, two have one name, or the bucket or the keys cannot be used.
        OSError: a file cannot be written.
    """
    name = values.text(BUCKET_NAME)
    if not name and not all("://" in image for image in found.images):
        raise RemoteError("The bucket of the images is not set.", f"Set {BUCKET_NAME} under Accounts.", "setting")
    folder, taken = folder_of(style_id, found), dict[str, str]()
    folder.mkdir(parents=True, exist_ok=True)
    listed = uris(name.partition("/")[0] or "none", style_id, found)
    for number, (image, caption) in enumerate(zip(listed[::2], listed[1::2], strict=True), 1):
        address = addresses.parse(image)
        file = address.key.rpartition("/")[2]
        if taken.setdefault(file.lower(), image) != image:
            message = f"Two images of the selection set are called {printable(file, 120)}."
            raise RemoteError(message, "Give them different names.", "taken")
        bucket = storage.connect(address, values)
        storage.download(bucket, address.key, folder / file, replaces=True)
        key = addresses.parse(caption).key
        if storage.look(bucket, key) is not None:
            storage.download(bucket, key, folder / key.rpartition("/")[2], replaces=True)
        say(f"{number:,} of {len(listed) // 2:,} images are here.")
    write_whole(folder / ".easel-style", f"{style_id}\n{found.id}\n")
    return folder

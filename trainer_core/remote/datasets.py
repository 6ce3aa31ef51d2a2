"""Uploads the images and captions of a dataset, or of one of its selections, to a bucket."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from trainer_core import places
from trainer_core.curation import gathering, selections
from trainer_core.errors import RemoteError
from trainer_core.remote import addresses
from trainer_core.remote.storage.bucket import Bucket
from trainer_core.remote.storage.folders import Planned, Sent, below, planned, upload_all
from trainer_core.text import amount, printable

LEADS_OUT = "it is a link that leads out of the dataset"


@dataclass(frozen=True)
class Contents:
    """What of a dataset is uploaded: the files by their paths in it, images before captions.

    `left_out` are (name, reason); `notes` are sentences for the user.
    """

    images: tuple[str, ...]
    captions: tuple[str, ...]
    left_out: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class DatasetUploaded:
    """What became of it. `uris` are the addresses of all images and captions, as a request for a training names them."""

    uris: tuple[str, ...]
    contents: Contents
    sent: int
    replaced: int
    unchanged: int


def contents(root: Path, selection: str = "", ending: str = ".txt") -> Contents:
    """The images of a dataset, or of one of its selections, and their captions.

    Raises:
        DatasetError: the folder cannot be listed, or has no such selection.
        RemoteError: there is no image.
    """
    names = gathering.images(root)
    notes: list[str] = []
    if selection:
        kept = selections.read(root)
        chosen = set(kept.images(selection))
        if gone := kept.missing(selection):
            notes.append(
                f"{amount(len(gone), 'image')} of the selection {'is' if len(gone) == 1 else 'are'} not in the dataset any more."
            )
        names = [name for name in names if name in chosen]
    left: list[tuple[str, str]] = []
    images = [name for name in names if _fits(root, name, left)]
    if not images:
        raise RemoteError("There is no image to upload.", "Choose another folder or selection.", "content")
    of = set(images)
    found = [
        one.path for one in gathering.caption_files(root, ending) if one.image in of and (root / one.path).is_file()
    ]
    captions = [name for name in dict.fromkeys(found) if _fits(root, name, left)]
    if missing := len(images) - len(captions):
        notes.append(f"{amount(missing, 'image')} {'has' if missing == 1 else 'have'} no caption of its own.")
    if twice := [name for name, count in Counter(name.rpartition("/")[2] for name in images).items() if count > 1]:
        notes.append(
            f"{amount(len(twice), 'name')} of images, such as {printable(twice[0], 80)}, {'is' if len(twice) == 1 else 'are'} in several "
            "folders: a container that puts all images into one folder cannot train them."
        )
    return Contents(tuple(images), tuple(captions), tuple(left), tuple(notes))


def plan(bucket: Bucket, root: Path, prefix: str, found: Contents) -> Planned:
    """What the upload into a folder of a bucket would do.

    Raises:
        RemoteError: the storage refuses it.
        OSError: a file cannot be read.
    """
    names = [*found.images, *found.captions]
    files = [Sent(root / name, key) for name, key in zip(names, below(prefix, names), strict=True)]
    return planned(bucket, files, prefix if not prefix or prefix.endswith("/") else f"{prefix}/")


def upload(bucket: Bucket, root: Path, prefix: str, found: Contents, *, replaces: bool = False) -> DatasetUploaded:
    """Uploads what is not in the folder of the bucket yet. The files go as they are, with all that images tell.

    Raises:
        RemoteError: other objects would be replaced, the storage refuses it, or the connection fails.
        RemoteStopped: the user stopped it.
        OSError: a file cannot be read.
    """
    what = plan(bucket, root, prefix, found)
    upload_all(bucket, what, replaces=replaces)
    uris = tuple(bucket.uri(key) for key in below(prefix, [*found.images, *found.captions]))
    return DatasetUploaded(uris, found, len(what.new), len(what.changed), len(what.unchanged))


def _fits(root: Path, name: str, left: list[tuple[str, str]]) -> bool:
    """Whether a file can be uploaded; the reason is added to `left` if not."""
    if not places.real(root / name).is_relative_to(places.real(root)):
        left.append((printable(name, 200), LEADS_OUT))
        return False
    try:
        addresses.check_key(name)
    except RemoteError as error:
        left.append((printable(name, 200), error.message))
        return False
    return True

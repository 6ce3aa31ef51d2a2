"""How a model that a plan names becomes something that a RunPod worker has.

runpod-volume:NAME          a file or folder of the network volume of the endpoint; the worker looks whether it is there
hf:owner/name/file          a file of the Hub, which the worker downloads; the Hub is asked whether it is there
s3://bucket/key             an object that the worker downloads; the bucket is asked whether it is there
a file of this machine      uploaded once, by its SHA-256, with `easel remote runpod bring`, which says its size and asks
a folder of this machine    the same for each of its files, and for a list of them (`remote.model_folders`)
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from trainer_core.errors import DownloadError, JobError, RemoteError
from trainer_core.models import downloads
from trainer_core.plan.elsewhere import HUB as HUB_NAME
from trainer_core.plan.elsewhere import VOLUME
from trainer_core.remote import addresses, storage
from trainer_core.remote.model_folders import FolderList
from trainer_core.remote.runpod.bucket_run import MODELS
from trainer_core.remote.storage import Bucket
from trainer_core.remote.storage.objects import hash_of
from trainer_core.text import amount, printable, size

HUB = "huggingface"
WAYS = (
    f"Name it as the worker has it: {VOLUME}NAME for a file on the network volume of the endpoint, hf:owner/name/file.safetensors for a "
    "file of the Hub, or s3://bucket/key."
)


@dataclass(frozen=True)
class Place:
    """Where a worker has a model. `file` is set if it is a file or folder of this machine, which may have to be uploaded.

    `key` is that of the object, for a folder that of its list; `start` is what all keys of models begin with.
    """

    there: str
    file: Path | None = None
    key: str = ""
    start: str = ""
    listed: FolderList | None = None


def checked_name(text: str) -> str:
    """The path of a file or folder below a network volume, from `runpod-volume:NAME`.

    Raises:
        JobError: it leads out of the volume, or cannot be a path.
    """
    name = text.removeprefix(VOLUME).strip()
    path = PurePosixPath(name)
    is_path = bool(path.parts) and not path.is_absolute() and ".." not in path.parts and "\\" not in name
    if not is_path or printable(name, len(name)) != name or "//" in name or ":" in name:
        message = f"{printable(text, 200)} names no file of a network volume."
        raise JobError(
            message, f"Write {VOLUME} and the path below the volume, such as {VOLUME}models/flux1-dev.safetensors."
        )
    return str(path)


def place_of(text: str, bucket: Bucket, root: str) -> Place:
    """Where a worker has the model that a plan names by this text; a file or folder of this machine may not be there yet.

    Raises:
        JobError: the text names nothing that a worker could have.
        RemoteError: an object of a bucket does not exist, or the storage refuses the question.
        OSError: a file cannot be read.
    """
    if text.startswith(VOLUME):
        return Place(checked_name(text))
    if text.startswith(HUB_NAME):
        return Place(_of_hub(text))
    if "://" in text:
        return Place(_object(text, bucket))
    path = Path(text)
    if path.is_file():
        key = f"{root}{MODELS}{hash_of(path, 'sha256')}/{path.name}"
        addresses.check_key(key)
        return Place(bucket.uri(key), path, key)
    if path.is_dir():
        listed, start = FolderList.of(path), f"{root}{MODELS}"
        key = listed.key(start)
        addresses.check_key(key)
        return Place(bucket.uri(key), path, key, start, listed)
    raise JobError(f"There is no model {printable(text, 300)}.", WAYS)


def is_missing(place: Place, bucket: Bucket) -> bool:
    """Whether a model of this machine is not complete in the bucket.

    Raises:
        RemoteError: the storage refuses the question.
        OSError: the file cannot be read.
    """
    if place.listed is not None:
        return not place.listed.is_listed(bucket, place.start) or bool(place.listed.lacking(bucket, place.start))
    if place.file is None:
        return False
    found = storage.look(bucket, place.key)
    return found is None or found.size_bytes != place.file.stat().st_size


def size_to_send(place: Place, bucket: Bucket) -> int:
    """How many bytes of a model that is missing the bucket lacks.

    Raises:
        RemoteError: the storage refuses the question.
    """
    if place.listed is not None:
        return sum(one.size for one in place.listed.lacking(bucket, place.start))
    return place.file.stat().st_size if place.file is not None else 0


def shown(place: Place) -> str:
    """The file of this machine with its size, or the folder with the number of its files."""
    file = place.file or Path()
    if place.listed is not None:
        return (
            f"{printable(str(file), 300)} ({amount(len(place.listed.files), 'file')}, {size(place.listed.size_bytes)})"
        )
    return f"{printable(str(file), 300)} ({size(file.stat().st_size)})"


def refusal(place: Place) -> JobError:
    """The error for a model that nobody has agreed to upload."""
    file = printable(str(place.file), 300)
    hint = f"Upload it once: easel remote runpod bring {file}, or start the run with --send-models. Or: {WAYS}"
    return JobError(f"The worker does not have {shown(place)}.", hint)


def upload(place: Place, bucket: Bucket) -> None:
    """Uploads a model; what is there already is not sent again, and what was cut goes on.

    Raises:
        RemoteError: the storage refuses it, or the connection fails.
        RemoteStopped: the user stopped it.
        OSError: the file cannot be read.
    """
    assert place.file is not None
    if place.listed is not None:
        place.listed.upload(bucket, place.file, place.start)
    else:
        storage.upload(bucket, place.file, place.key)


def _of_hub(text: str) -> str:
    """The link of a file of the Hub. Only if the Hub can be asked now, it is asked whether there is such a file.

    Raises:
        JobError: there is none, or it names no single file.
    """
    try:
        link = downloads.parse(text)
        if link is None or link.site != HUB or not link.path:
            raise JobError(f"{printable(downloads.shown(text), 200)} names no file of the Hub.", WAYS)
        downloads.resolve(link)
    except DownloadError as error:
        # The worker has a token of its own, and asks again.
        if error.kind not in {"missing", "link", "choice"}:
            return text
        raise JobError(error.message, error.hint) from error
    return text


def _object(text: str, bucket: Bucket) -> str:
    """The address of an object of a bucket that exists."""
    address = addresses.parse(addresses.to_s3(text, [bucket.endpoint] if bucket.endpoint else []))
    there = bucket if address.bucket == bucket.name else None
    if there is None:
        # The worker downloads with keys of its own; whether they may read another bucket cannot be asked from here.
        message = f"{printable(address.uri, 300)} is in another bucket than the storage of the run, s3://{bucket.name}."
        raise RemoteError(message, "Copy it there, or put it on the network volume of the endpoint.", "address")
    if storage.look(bucket, address.key) is None:
        message = f"There is no object {printable(address.uri, 300)}."
        raise RemoteError(message, "Check the address: upper and lower case differ.", "missing")
    return address.uri

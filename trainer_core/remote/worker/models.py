"""Brings the models of a request: from the folder of models that is mounted, from the Hub, or from a bucket; checked by what they are.

A model is named by its path in the folder `EASEL_WORKER_MODELS` (also below ComfyUI's names for folders), by a link to the Hub such
as hf:owner/name/file.safetensors, or by an address such as s3://bucket/key: a file, a folder, or the list of a folder
(`remote.model_folders`). What is fetched stays in Easel's folder of models, in a
folder named after its source, for the next request; nothing of it is changed by a training.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from trainer_core import places
from trainer_core.errors import DetectionError, DownloadError, HeaderError, RemoteError
from trainer_core.models import detection, downloads, header
from trainer_core.plan import fields
from trainer_core.remote import addresses, model_folders
from trainer_core.remote.addresses import Address
from trainer_core.remote.credentials import Settings
from trainer_core.remote.storage import Work, connect, download, folders
from trainer_core.remote.worker.asked import check_bucket, endpoints
from trainer_core.text import printable

FOLDER = "EASEL_WORKER_MODELS"
# Source: ComfyUI, folder_paths.py, folder_names_and_paths.
KINDS = ("", "diffusion_models", "unet", "checkpoints", "vae", "text_encoders", "clip")
SUBFOLDERS = tuple(f"{above}{kind}" for above in ("", "models/", "ComfyUI/models/") for kind in KINDS)
"""Where a model is looked for below the folder of models, which may be a whole network volume."""
ROLES: Mapping[str, tuple[str, ...]] = {"model.path": ("checkpoint", "diffusion_model"), "model.vae": ("vae",)}
"""What the file of a setting must be; a companion file that is not named here must be a text encoder."""
HUB = "huggingface"
FETCHED = "fetched"
"""The folder in Easel's folder of models for what requests have fetched."""


def bring(text: str, path: str, values: Settings, cancel: threading.Event) -> Path:
    """Where the model that a request names for a setting is on this machine.

    Raises:
        RemoteError: it cannot be found or fetched, may not be used, or is something else; the message names the setting.
        RemoteStopped: the request was cancelled.
    """
    try:
        found = _found(text, values, cancel)
    except DownloadError as error:
        raise RemoteError(f"{path}: {error.message}", error.hint, _kind(error)) from error
    _check(found, text, path)
    return found


def _found(text: str, values: Settings, cancel: threading.Event) -> Path:
    if text.startswith("s3://") or _is_s3(text, values):
        return _from_bucket(addresses.parse(text, endpoints(values)), values, cancel)
    if (link := downloads.parse(text)) is not None:
        if link.site != HUB:
            message = f"{_shown(text)} leads to neither the Hub nor a bucket."
            raise RemoteError(message, "Put the model into a bucket, or on the network volume.", "address")
        # The folder is that of this link alone, so that no file of another source has its place.
        folder = places.models() / FETCHED / f"hub-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
        return downloads.download(link, folder, cancel=cancel)
    return _in_folder(text, values)


def _is_s3(text: str, values: Settings) -> bool:
    """Whether a web address is one of a bucket."""
    if not text.startswith("https://"):
        return False
    try:
        addresses.parse(text, endpoints(values))
    except RemoteError:
        return False
    return True


def _in_folder(text: str, values: Settings) -> Path:
    """A model in the folder of models; the name is untrusted."""
    root = Path(values.text(FOLDER) or places.models()).absolute()
    name = PurePosixPath(text.replace("\\", "/"))
    if name.is_absolute():
        if not Path(name).is_relative_to(root):
            raise RemoteError(
                f"{_shown(text)} is not in the folder of models of this worker.",
                f"Name it by its path in {FOLDER}.",
                "rights",
            )
        name = PurePosixPath(Path(name).relative_to(root))
    if ".." in name.parts or not name.parts or "\0" in text:
        raise RemoteError(f"{_shown(text)} is no name of a model.", f"Name it by its path in {FOLDER}.", "address")
    for sub in SUBFOLDERS:
        path = root / sub / name
        if os.path.lexists(path) and path.exists():
            return path
    raise RemoteError(
        f"There is no model {_shown(text)} on this worker.",
        f"Put it on the network volume that {FOLDER} names.",
        "missing",
    )


def _from_bucket(address: Address, values: Settings, cancel: threading.Event) -> Path:
    check_bucket(address.bucket, values)
    bucket = connect(address, values, Work(cancel))
    target = places.models() / FETCHED / "s3" / address.bucket / hashlib.sha256(address.key.encode()).hexdigest()[:16]
    if model_folders.is_list(address.key):
        return model_folders.fetch(bucket, address.key, target)
    if address.is_folder:
        folders.download_all(bucket, address.key, target, replaces=True)
        return target
    target.mkdir(parents=True, exist_ok=True)
    return download(bucket, address.key, target / PurePosixPath(address.key).name, replaces=True).path


def _check(found: Path, text: str, path: str) -> None:
    """Checks that a file is what its setting needs, by its header."""
    try:
        role = detection.detect(header.read(found)).role
    except (HeaderError, DetectionError) as error:
        raise RemoteError(
            f"{path}: {_shown(text)} is no model that Easel knows. {error.message}", error.hint, "content"
        ) from error
    parts = {setting.path for setting in fields.parts()}
    wanted = ROLES.get(path, ("text_encoder",) if path in parts else ())
    if wanted and role not in wanted:
        words = " or ".join(each.replace("_", " ") for each in wanted)
        raise RemoteError(
            f"{path}: {_shown(text)} is not a {words}, but a {role.replace('_', ' ')}.", "Name another file.", "content"
        )


def _kind(error: DownloadError) -> str:
    return error.kind if error.kind in {"busy", "server", "offline", "broken", "disk", "missing"} else "content"


def _shown(text: str) -> str:
    return printable(downloads.shown(text), 200)

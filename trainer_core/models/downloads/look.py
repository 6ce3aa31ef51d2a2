"""Finds the files that a link leads to, and reads the header of the model without downloading it."""

from __future__ import annotations

import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, cast

from trainer_core.errors import DownloadError
from trainer_core.models import header
from trainer_core.models.downloads import civitai, huggingface, web
from trainer_core.models.downloads.http import BRIEF, Patience, get_bytes
from trainer_core.models.downloads.links import Link, is_model_name
from trainer_core.models.downloads.ranges import RemoteStream
from trainer_core.models.downloads.remote import Remote, RemoteFile

_AT_ONCE = 8


def resolve(
    link: Link, *, variant: str = "", patience: Patience = BRIEF, cancel: threading.Event | None = None
) -> Remote:
    """The files that a link leads to, with their sizes and hashes where the site gives them.

    `variant` ("fp16") chooses among the weights of a diffusers folder.

    Raises:
        DownloadError: there is nothing to fetch, or access is refused; the message says what to do.
    """
    if link.site == "huggingface":
        return huggingface.resolve(link, patience, cancel, variant)
    if link.site == "civitai":
        return civitai.resolve(link, patience, cancel)
    return web.resolve(link, patience, cancel)


def read_header(link: Link | Remote, *, patience: Patience = BRIEF) -> header.Header:
    """The header of the model that a link leads to. Only the header is transferred.

    Raises:
        DownloadError: access is refused, or the server only sends whole files.
        HeaderError: it is not a model, or it is damaged.
    """
    remote = resolve(link, patience=patience) if isinstance(link, Link) else link
    if remote.is_folder:
        return _read_folder(remote, patience)
    with RemoteStream(remote.asked(remote.files[0]), patience) as stream:
        return header.read_stream(remote.name, cast("BinaryIO", stream), stream.size_bytes)


def _read_folder(remote: Remote, patience: Patience) -> header.Header:
    """The header of a folder, read from a temporary copy with its small files and only the headers of its weights.

    The missing data of each weight file is a hole, which takes no disk space, so the copy is read like any other folder.
    """
    with tempfile.TemporaryDirectory(prefix="easel-") as scratch:
        folder = Path(scratch, remote.name)
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            tasks = [pool.submit(_sketch, remote, file, folder / file.name, patience) for file in remote.files]
            for task in tasks:
                task.result()
        found = header.read(folder)
        inside = tuple(Path(remote.name) / file.relative_to(folder) for file in found.files)
        return replace(found, path=Path(remote.name), files=inside)


def _sketch(remote: Remote, file: RemoteFile, target: Path, patience: Patience) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if not is_model_name(file.name):
        if target.name.endswith(".json") and not target.name.startswith("tokenizer") and target.name != "vocab.json":
            target.write_bytes(get_bytes(remote.asked(file), patience))
        return
    if not file.name.endswith(".safetensors"):
        message = f"Easel cannot identify {remote.name} without downloading all of it: its weights are pickles."
        raise DownloadError(message, "Download it, then check it here.", "whole")
    with RemoteStream(remote.asked(file), patience) as stream, target.open("wb") as sketch:
        length = int.from_bytes(stream.read(8), "little")
        stream.seek(0)
        sketch.write(stream.read(8 + min(length, header.LONGEST_HEADER_BYTES)))
        sketch.truncate(stream.size_bytes)

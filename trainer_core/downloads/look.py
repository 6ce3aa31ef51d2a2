"""What a link leads to, and what that model is, without fetching it."""

from __future__ import annotations

import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, cast

from trainer_core import header
from trainer_core.downloads import civitai, huggingface, web
from trainer_core.downloads.http import BRIEF, Patience, get_bytes
from trainer_core.downloads.links import Link, is_model_name
from trainer_core.downloads.ranges import RemoteStream
from trainer_core.downloads.remote import Remote, RemoteFile
from trainer_core.errors import DownloadError

_AT_ONCE = 8


def resolve(
    link: Link, *, variant: str = "", patience: Patience = BRIEF, cancel: threading.Event | None = None
) -> Remote:
    """The files that a link means, with their sizes and hashes where the site knows them.

    `variant` ("fp16") chooses among the weights of a diffusers folder.

    Raises:
        DownloadError: there is nothing to fetch, or it is not given out; the message says what to do.
    """
    if link.site == "huggingface":
        return huggingface.resolve(link, patience, cancel, variant)
    if link.site == "civitai":
        return civitai.resolve(link, patience, cancel)
    return web.resolve(link, patience, cancel)


def read_header(link: Link | Remote, *, patience: Patience = BRIEF) -> header.Header:
    """The header of the model behind a link, of which only the header travels.

    Raises:
        DownloadError: it is not given out, or its server only sends whole files.
        HeaderError: it is no model, or it is damaged.
    """
    remote = resolve(link, patience=patience) if isinstance(link, Link) else link
    if remote.is_folder:
        return _read_folder(remote, patience)
    with RemoteStream(remote.asked(remote.files[0]), patience) as stream:
        return header.read_stream(remote.name, cast("BinaryIO", stream), stream.size_bytes)


def _read_folder(remote: Remote, patience: Patience) -> header.Header:
    """The header of a folder: its small files, and of its weights the headers, put where the weights would lie.

    What is missing of a file is left out as a hole, which takes no space, so that the folder is read as any other.
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
        message = f"What {remote.name} is cannot be told without fetching it whole: its weights are pickles."
        raise DownloadError(message, "Download it, then look at it here.", "whole")
    with RemoteStream(remote.asked(file), patience) as stream, target.open("wb") as sketch:
        length = int.from_bytes(stream.read(8), "little")
        stream.seek(0)
        sketch.write(stream.read(8 + min(length, header.LONGEST_HEADER_BYTES)))
        sketch.truncate(stream.size_bytes)

"""Downloads a model from a link into a folder: complete, checked and under its own name, or not at all."""

from __future__ import annotations

import errno
import hashlib
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath
from threading import Event

from trainer_core import places
from trainer_core.errors import DetectionError, DownloadError, HeaderError
from trainer_core.models import header
from trainer_core.models.detection import Detection, detect
from trainer_core.models.downloads.http import BRIEF, PATIENT, Patience
from trainer_core.models.downloads.links import Link, is_model_name
from trainer_core.models.downloads.look import read_header, resolve
from trainer_core.models.downloads.part import Part, hash_of
from trainer_core.models.downloads.progress import Meter, Progress
from trainer_core.models.downloads.ranges import RemoteStream
from trainer_core.models.downloads.remote import Remote, RemoteFile
from trainer_core.models.downloads.transfer import DISK_FLOOR_BYTES, Options, Transfer, check_disk
from trainer_core.text import printable

# Source: folder_paths.py of ComfyUI, folder_names_and_paths.
_FOLDERS = {
    "checkpoint": "checkpoints",
    "diffusion_model": "diffusion_models",
    "lora": "loras",
    "vae": "vae",
    "text_encoder": "text_encoders",
    "controlnet": "controlnet",
    "embedding": "embeddings",
}
_ENDINGS = {"safetensors": ".safetensors", "gguf": ".gguf", "pickle": ".ckpt"}
_SAMPLE_BYTES = 64 * 1024


def folder_for(found: Detection) -> str:
    """ComfyUI's name of the folder for models of this role; "unsorted" for an unknown role."""
    if found.format == "diffusers":
        return "diffusers"
    return _FOLDERS.get(found.role, "unsorted")


def download(
    link: Link | Remote,
    folder: Path | None = None,
    *,
    progress: Callable[[Progress], None] | None = None,
    cancel: Event | None = None,
    variant: str = "",
    patience: Patience = PATIENT,
    disk_floor_bytes: int = DISK_FLOOR_BYTES,
) -> Path:
    """The path of the downloaded file or folder. It goes into `folder`, by default the one for its role in Easel's models.

    It gets its name when it is complete and has been read as a model. A model that is already there is not fetched again;
    a different one with the same name is kept, and the new one gets a number. After a failure or a stop, the received
    data stays in a hidden part file, and the next call continues from there.

    Raises:
        DownloadError: the download fails, or the result is not the model; `kind` and the message say why.
    """
    options = Options(patience, disk_floor_bytes, cancel)
    # The user waits for the first response, so Easel gives up sooner than during a transfer.
    brief = replace(patience, attempts=min(patience.attempts, BRIEF.attempts))
    remote = resolve(link, variant=variant, patience=brief, cancel=cancel) if isinstance(link, Link) else link
    try:
        target = (folder or _default_folder(remote, brief)) / remote.name
        meter = Meter(progress, remote.size_bytes)
        path = (_fetch_folder if remote.is_folder else _fetch_file)(remote, target, options, meter)
    except OSError as error:
        raise _not_written(error, folder or places.models()) from error
    meter.finish()
    return path


def _default_folder(remote: Remote, patience: Patience) -> Path:
    """The folder for the model's role, which follows from its header on the server."""
    try:
        return places.models() / folder_for(detect(read_header(remote, patience=patience)))
    except DetectionError:
        return places.models() / "unsorted"
    except HeaderError as error:
        raise _no_model(error) from error
    except DownloadError as error:
        if error.kind != "whole":
            raise
        return places.models() / "unsorted"


def _fetch_file(remote: Remote, target: Path, options: Options, meter: Meter) -> Path:
    file = remote.files[0]
    for path in _names(target):
        if not path.exists():
            break
        if _is_same(path, remote, file, options, meter):
            return path
    with Part(target.parent, file) as part:
        Transfer(remote.asked(file), file, part, options, meter.at).run()
        ending = _checked(part, file)
        return _placed(part, target.with_name(target.name + ending))


def _placed(part: Part, target: Path) -> Path:
    """Renames a complete part file to its name, or to the next free name."""
    for path in _names(target):
        try:
            part.finish(path)
        except FileExistsError:
            continue
        return path
    raise AssertionError


def _names(target: Path) -> Iterator[Path]:
    """The path itself, then the same with -2, -3 and so on."""
    yield target
    number = 2
    ending = "" if target.is_dir() else target.suffix
    while True:
        yield target.with_name(f"{target.name.removesuffix(ending)}-{number}{ending}")
        number += 1


def _checked(part: Part, file: RemoteFile) -> str:
    """The extension that the file's name lacks, after a check that the part file is a model.

    Raises:
        DownloadError: it is not a model, or it is damaged; it is deleted.
    """
    try:
        with part.path.open("rb") as stream:
            found = header.read_stream(file.name, stream, part.size_bytes)
    except HeaderError as error:
        part.discard()
        raise _no_model(error) from error
    return "" if is_model_name(file.name) else _ENDINGS.get(found.format, "")


def _no_model(error: HeaderError) -> DownloadError:
    return DownloadError(error.message, error.hint, "content")


def _is_same(path: Path, remote: Remote, file: RemoteFile, options: Options, meter: Meter) -> bool:
    """Whether an existing file is the one to fetch: by its hash, or else by its size and samples of its content."""
    size = path.stat().st_size if path.is_file() else -1
    if size <= 0 or (file.is_size_exact and file.size_bytes not in {None, size}):
        return False
    if file.sha256:
        return hash_of(path, options.cancel, lambda done: meter.at(done, "checking")).hexdigest() == file.sha256
    try:
        with RemoteStream(remote.asked(file)) as there, path.open("rb") as here:
            return there.size_bytes == size and all(
                here.seek(at) == there.seek(at) and here.read(_SAMPLE_BYTES) == there.read(_SAMPLE_BYTES)
                for at in (0, size // 2, max(0, size - _SAMPLE_BYTES))
            )
    except DownloadError as error:
        if error.kind != "whole":
            raise
        return False


def _fetch_folder(remote: Remote, target: Path, options: Options, meter: Meter) -> Path:
    """Fetches the files of a folder into a hidden folder next to the target, which is renamed when all files are there."""
    for path in _names(target):
        if not path.exists():
            break
        if path.is_dir() and _holds_all(path, remote, options, meter):
            return path
    key = hashlib.sha256("".join(sorted(file.sha256 or file.url for file in remote.files)).encode()).hexdigest()[:12]
    scratch = target.with_name(f".{target.name}.{key}.part")
    scratch.mkdir(parents=True, exist_ok=True)
    # The lock of the folder: an empty part file that is never renamed.
    with Part(scratch, RemoteFile("folder", key)) as lock:
        meter.before_bytes = 0
        here = [file for file in remote.files if _arrived(scratch / file.name, file)]
        missing = sum(file.size_bytes or 0 for file in remote.files if file not in here)
        check_disk(scratch, missing, options.disk_floor_bytes, printable(remote.name, 200))
        for file in remote.files:
            if file not in here:
                _fetch_inner(remote, file, scratch, options, meter)
            meter.before_bytes += (scratch / file.name).stat().st_size
        try:
            header.read(scratch)
        except HeaderError as error:
            shutil.rmtree(scratch, ignore_errors=True)
            message = error.message.replace(scratch.name, printable(remote.name, 200))
            raise DownloadError(message, error.hint, "content") from error
        lock.discard()
        return _renamed(scratch, target)


def _fetch_inner(remote: Remote, file: RemoteFile, scratch: Path, options: Options, meter: Meter) -> None:
    inner = scratch / PurePosixPath(file.name)
    with Part(inner.parent, file) as part:
        Transfer(remote.asked(file), file, part, options, meter.at).run()
        if is_model_name(file.name):
            _checked(part, file)
        part.finish(inner)


def _arrived(path: Path, file: RemoteFile) -> bool:
    """Whether an earlier call has fetched a file; it got its name only after it was checked."""
    return path.is_file() and path.stat().st_size == file.size_bytes


def _holds_all(path: Path, remote: Remote, options: Options, meter: Meter) -> bool:
    """Whether an existing folder contains every file, each with its hash."""
    if not all(_arrived(path / file.name, file) for file in remote.files):
        return False
    meter.before_bytes = 0
    for file in remote.files:
        found = hash_of(path / file.name, options.cancel, lambda done: meter.at(done, "checking"))
        if file.sha256 and found.hexdigest() != file.sha256:
            return False
        meter.before_bytes += file.size_bytes or 0
    return True


def _renamed(scratch: Path, target: Path) -> Path:
    for path in _names(target):
        if path.exists():
            continue
        try:
            # A rename never replaces a file or a folder that is not empty.
            scratch.rename(path)
        except OSError as error:
            if error.errno not in {errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR}:
                raise
            continue
        return path
    raise AssertionError


def _not_written(error: OSError, folder: Path) -> DownloadError:
    where = printable(str(folder), 300)
    if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
        return DownloadError(
            f"The disk is full: {where}.", "Free some space or choose another folder, then start again.", "disk"
        )
    cause = printable(error.strerror or "it cannot be used", 200)
    return DownloadError(f"{where} cannot be written: {cause}.", "Choose another folder.", "disk")

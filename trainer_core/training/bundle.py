"""A zip file with what is needed to find out why a job failed, without secrets and private names; for a question or a report."""

from __future__ import annotations

import getpass
import io
import json
import os
import socket
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from trainer_core import __version__, places
from trainer_core.errors import EaselError, JobError
from trainer_core.files import open_own, open_regular, read_toml
from trainer_core.jobs.folder import JobFolder
from trainer_core.jobs.job import Job
from trainer_core.jobs.outcome import Diagnosis
from trainer_core.text import without_escapes
from trainer_core.training.redaction import CAPTIONS, KINDS, Private, Redactor, named_texts

FIRST_BYTES, LAST_BYTES = 64 << 10, 256 << 10
"""How much of the beginning and of the end of a log is kept."""
EVENTS_BYTES = 64 << 10
DATA_FILES = ("versions.json", "hardware.json", "result.json", "spec.json")
LOGS = {"engine.log": "log.txt", "runner.log": "supervisor.txt"}
_CAPTION_FILES = (".txt", ".caption")
_IMAGE_FILES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif", ".jxl", ".heic")
_CAPTION_BYTES = 64 << 10
_MOST_IMAGES = 20_000
_README = """\
This file is about the job {name}, made by Easel {version}.

READ IT BEFORE YOU SHARE IT. Easel replaced what it knows to be private; it cannot know everything.

Replaced:
{counts}

{captions}
Left in: the names of models, the settings, the versions of packages, the kind of GPU.
What is not in it: images, caption files, models and checkpoints.

Files:
{files}
"""


def write(job: Job, target: Path, found: Diagnosis | None = None, *, with_captions: bool = False) -> dict[str, int]:
    """Writes the bundle of a job, readable only by this account, and returns how often what was replaced.

    `found` is the diagnosis of the job, `with_captions` keeps captions and prompts.

    Raises:
        JobError: a file with this name exists, or it cannot be written.
    """
    files, counts = contents(job, found, with_captions=with_captions)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as bundle:
        for name, text in files.items():
            bundle.writestr(name, text.encode("utf-8", "backslashreplace"))
    _write_new(target, buffer.getvalue())
    return counts


def save_report(job: Job, found: Diagnosis | None = None) -> Path:
    """The path of a new bundle of a job in the folder of reports, without captions and prompts.

    Raises:
        JobError: it cannot be written.
    """
    folder = places.reports()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise JobError(f"{folder} cannot be made: {error.strerror or error}.", "Check the free disk space.") from error
    target = folder / f"{job.name}.zip"
    number = 1
    while target.exists():
        number += 1
        target = folder / f"{job.name}-{number}.zip"
    write(job, target, found)
    return target


def contents(
    job: Job, found: Diagnosis | None = None, *, with_captions: bool = False
) -> tuple[dict[str, str], dict[str, int]]:
    """The files of the bundle of a job, by name, README.txt first; and how often what was replaced."""
    folder = job.folder
    data = {name: each for name in DATA_FILES if (each := folder.read(name)) is not None}
    plan = _plan(folder)
    if plan is not None:
        data["plan.json"] = plan
    if found is not None:
        data["diagnosis.json"] = {"id": found.id, "cause": found.cause, "line": found.line, "advice": found.advice}
    texts = {new: _log(folder.path / old) for old, new in LOGS.items()}
    events = _events(folder.events)
    redactor = Redactor(_private(folder, data), with_captions=with_captions)
    for text in (*texts.values(), *map(json.dumps, data.values()), *map(json.dumps, events)):
        redactor.learn(text)
    files = {name: redactor.text(text) for name, text in texts.items() if text}
    files |= {name: json.dumps(redactor.data(each), indent=2, ensure_ascii=False) + "\n" for name, each in data.items()}
    if events:
        files["events.jsonl"] = "".join(json.dumps(redactor.data(each), ensure_ascii=False) + "\n" for each in events)
    name = redactor.text(job.name)
    counts = {kind: redactor.counts[kind] for kind in KINDS}
    return {"README.txt": _readme(name, counts, sorted(files), with_captions=with_captions), **files}, counts


def _readme(name: str, counts: dict[str, int], files: list[str], *, with_captions: bool) -> str:
    rows = "\n".join(f"  {kind}: {count}" for kind, count in counts.items() if kind != CAPTIONS or not with_captions)
    captions = "Captions and prompts were KEPT, because that was asked for.\n" if with_captions else ""
    return _README.format(
        name=name, version=__version__, counts=rows, captions=captions, files="\n".join(f"  {each}" for each in files)
    )


def _write_new(target: Path, content: bytes) -> None:
    """Writes a file that must not exist yet: complete or not at all, and only for its owner."""
    scratch = target.with_name(f".easel-{os.getpid()}-{os.urandom(4).hex()}.part")
    try:
        handle = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        # A link, because a rename would replace a file that appeared in the meantime.
        os.link(scratch, target)
    except FileExistsError as error:
        raise JobError(f"{target} exists already.", "Choose another name.") from error
    except OSError as error:
        raise JobError(f"{target} cannot be written: {error.strerror or error}.", "Choose another folder.") from error
    finally:
        scratch.unlink(missing_ok=True)


def _plan(folder: JobFolder) -> dict[str, Any] | None:
    if not (folder.path / "plan.toml").is_file():
        return None
    try:
        return read_toml(folder.path / "plan.toml", JobError, bad_bytes="backslashreplace", is_own=True)
    except EaselError:
        return None


def _log(path: Path) -> str:
    """The beginning and the end of a log as text; "" if there is none."""
    try:
        with open_own(path) as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(0)
            if size <= FIRST_BYTES + LAST_BYTES:
                return _as_text(file.read())
            first = file.read(FIRST_BYTES)
            file.seek(size - LAST_BYTES)
            last = file.read(LAST_BYTES)
    except OSError:
        return ""
    # Cut at lines: a half of a secret would not be found.
    left_out = size - FIRST_BYTES - LAST_BYTES
    before, after = _as_text(first.rpartition(b"\n")[0]), _as_text(last.partition(b"\n")[2])
    return f"{before}\n[... {left_out} bytes are left out ...]\n{after}"


def _as_text(content: bytes) -> str:
    """A part of a log without colours; of a progress bar only the last state of each line."""
    lines = without_escapes(content.decode("utf-8", "replace")).replace("\0", "").replace("\r\n", "\n").split("\n")
    return "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in lines)


def _events(path: Path) -> list[dict[str, Any]]:
    """The last events."""
    from trainer_core.events import read_lines

    try:
        with open_own(path) as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - EVENTS_BYTES))
            content = file.read(EVENTS_BYTES)
    except OSError:
        return []
    return read_lines(content if size <= EVENTS_BYTES else content.partition(b"\n")[2])


def _private(folder: JobFolder, data: dict[str, Any]) -> Private:
    """What is known to be private about this machine, this account and the dataset of a job."""
    found = Private(homes={str(Path.home())}, users=set(_accounts()), hosts=set(_hosts()))
    found.texts |= {text for each in data.values() for text in named_texts(each)}
    plan = data.get("plan.json") or {}
    dataset = plan.get("dataset")
    trigger = str(dataset.get("trigger", "")) if isinstance(dataset, dict) else ""
    found.texts |= {text.replace("{trigger}", trigger) for text in set(found.texts)}
    folders = [folder.path / "dataset", folder.path / "class_images", *folder.path.glob("subset_*")]
    named = _dataset_folders(dataset) if isinstance(dataset, dict) else ()
    folders += [places.typed(each) for each in named if isinstance(each, str) and each]
    for images in folders:
        for path in _files(images):
            if path.suffix.lower() in _IMAGE_FILES:
                found.images.add(path.name)
            elif path.suffix.lower() in _CAPTION_FILES:
                found.texts |= set(_caption(path))
    return found


def _dataset_folders(dataset: dict[str, Any]) -> Iterator[Any]:
    """The image folders that a plan names."""
    yield from (dataset.get("path"), dataset.get("class_path"))
    subsets = dataset.get("subsets")
    yield from (each.get("path") for each in subsets if isinstance(each, dict)) if isinstance(subsets, list) else ()


def _files(folder: Path) -> Iterator[Path]:
    try:
        for number, path in enumerate(folder.rglob("*")):
            if number >= _MOST_IMAGES:
                return
            yield path
    except OSError:
        return


def _caption(path: Path) -> Iterator[str]:
    try:
        with open_regular(path) as file:
            text = file.read(_CAPTION_BYTES).decode("utf-8", "replace")
    except OSError:
        return
    yield from (line.strip() for line in text.splitlines() if line.strip())


def _accounts() -> Iterator[str]:
    yield from (os.environ[name] for name in ("USER", "LOGNAME", "USERNAME", "SUDO_USER") if os.environ.get(name))
    try:
        yield getpass.getuser()
    except (OSError, KeyError, ImportError):
        return


def _hosts() -> Iterator[str]:
    name = socket.gethostname()
    yield name
    yield name.partition(".")[0]

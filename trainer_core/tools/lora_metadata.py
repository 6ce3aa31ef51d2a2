"""The tool that edits the metadata of a LoRA or another safetensors file, and the kind of job that runs it. The weights are copied.

`python -m trainer_core.tools.lora_metadata` is the program of such a job: see `making`. By default it writes a new file. In place,
the new file takes the name of the old one when it is complete, and the old header stays in the folder of the job, from which
`undone` makes the old file again, byte for byte.
"""

from __future__ import annotations

import base64
import dataclasses
import io
import json
import os
import struct
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trainer_core import places
from trainer_core.errors import HeaderError, WeightsError
from trainer_core.files import write_whole
from trainer_core.jobs import own_program
from trainer_core.jobs.folder import JobFolder
from trainer_core.jobs.job import Job, list_jobs
from trainer_core.models import header, tensor_copy
from trainer_core.models.header import LONGEST_HEADER_BYTES, Header
from trainer_core.models.header.tensors import shown
from trainer_core.models.renaming import Piece
from trainer_core.tools import making, metadata_edits, weights_job
from trainer_core.tools.metadata_edits import Change
from trainer_core.tools.outlook import Outlook

KIND, TITLE = "lora-metadata", "Editing metadata"
ENDING = "edited"
BEFORE = "before.json"
"""In the folder of a job that edits in place: the path of the file, and its header as it was."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of an edit.

    `values` are set, `remove` are keys; `thumbnail` is an image; `scrub` removes personal entries first, except `keep`. `target` is the
    new file ("": next to the old one). `in_place`: the new file takes the place of the old one. `undo` is the folder of a job
    that edited the file in place: its header becomes again what it was.
    """

    file: str
    values: Mapping[str, str] = field(default_factory=dict)
    remove: tuple[str, ...] = ()
    thumbnail: str = ""
    scrub: bool = False
    keep: tuple[str, ...] = ()
    target: str = ""
    in_place: bool = False
    undo: str = ""


@dataclass(frozen=True)
class Edit:
    """An edit that is ready: the header of the file, its metadata after the edit, its new start (length and header), and what changes."""

    header: Header
    metadata: Mapping[str, str]
    start: bytes
    changes: tuple[Change, ...]


def preview(settings: Settings) -> Edit:
    """What an edit would do.

    Raises:
        HeaderError: the file cannot be read.
        WeightsError: it is no safetensors file, or the edit is not possible.
        RenamingError: `keep` names something that does not exist.
    """
    found = header.read_file(making.source(settings.file))
    if found.format != "safetensors":
        raise WeightsError(f"{shown(found.path)} is not a safetensors file.", "Convert it to safetensors first.")
    if settings.undo:
        return _undone(found, settings)
    metadata, changes = metadata_edits.edited(
        found.metadata,
        values=settings.values,
        remove=settings.remove,
        thumbnail=settings.thumbnail,
        scrubs=settings.scrub,
        keep=settings.keep,
    )
    if not changes:
        raise WeightsError(
            f"Nothing of the metadata of {shown(found.path)} would change.", "Set, remove or scrub something."
        )
    start = tensor_copy.header_bytes(_pieces(found), metadata)
    if len(start) - 8 > LONGEST_HEADER_BYTES:
        raise WeightsError("The header would be longer than a safetensors file may have.", "Use a shorter text.")
    return Edit(found, metadata, start, changes)


def outlook(settings: Settings) -> Outlook:
    """What an edit would make.

    Raises:
        EaselError: as `preview`, or the new file cannot have this name.
    """
    edit = preview(settings)
    size = sum(info.size_bytes for info in edit.header.tensors.values())
    notes = (*metadata_edits.notes(settings.values, edit.metadata), *_place_notes(settings, edit.header.path))
    found = Outlook(
        target=target(settings),
        size_bytes=len(edit.start) + size,
        memory_bytes=3 * len(edit.start),
        tensors=len(edit.header.tensors),
        changed=0,
        notes=notes,
        seconds=None,
    )
    making.check_room(found)
    return found


def target(settings: Settings) -> Path:
    """The path of the new file, which in place is that of the old one.

    Raises:
        WeightsError: it exists already, or the old one cannot be replaced.
    """
    path = making.source(settings.file)
    if not (settings.in_place or settings.undo):
        return weights_job.target(settings, ENDING)
    if settings.target:
        raise WeightsError("An edit in place has no other target.", "Leave out the target, or edit a copy.")
    if path.is_symlink():
        # Such as the cache of the Hub, where a file's name is the hash of its content.
        raise WeightsError(f"{shown(path)} is a link to a file elsewhere.", "Write a copy instead of editing in place.")
    return path


def start(settings: Settings) -> Job:
    """The job that edits a file, started now.

    Raises:
        EaselError: as `outlook`.
        JobError: the job cannot be started.
    """
    planned = outlook(settings)
    # The program runs in the folder of its job.
    absolute = dataclasses.replace(
        settings,
        file=str(making.source(settings.file)),
        target="" if settings.in_place or settings.undo else str(planned.target),
        thumbnail=str(places.typed(settings.thumbnail).absolute()) if settings.thumbnail else "",
        undo=str(places.typed(settings.undo).absolute()) if settings.undo else "",
    )
    return own_program.started(KIND, __name__, absolute)


def run(settings: Settings, report: Callable[[str], None]) -> Path:
    """Writes the file and returns its path. In place, the header as it was goes into the current folder first.

    Raises:
        EaselError: as `outlook`, or the disk is too full.
        OSError: a file cannot be read or written.
    """
    from trainer_core.weights import writing

    report("Reading")
    edit, path = preview(settings), target(settings)
    replaces = settings.in_place or bool(settings.undo)
    entries = writing.copies(edit.header.path, _pieces(edit.header))
    path.parent.mkdir(parents=True, exist_ok=True)
    report("Copying")
    check, sink = writing.unchanged(edit.header.path), writing.File(path)
    try:
        writing.check_disk(path.parent, len(edit.start) + sum(entry.size for entry in entries))
        writing.write_entries(sink, edit.start, entries, making.Meter(report, "Copied"))
        check()
        if replaces:
            _keep(edit.header.path)
            os.fchmod(sink.file, edit.header.path.stat().st_mode & 0o7777)
            sink.replace()
        else:
            sink.finish()
    finally:
        sink.close()
    return path


def undo_of(file: str) -> str:
    """The folder of the last job that edited a file in place.

    Raises:
        WeightsError: there is none.
    """
    path = str(making.source(file))
    for job in list_jobs(places.jobs()):
        kept = job.folder.read(BEFORE)
        if kept is not None and kept.get("path") == path:
            return str(job.folder.path)
    raise WeightsError(
        f"No edit in place of {shown(path)} is recorded.", "An edit that wrote a copy left the file as it was."
    )


def _pieces(found: Header) -> list[Piece]:
    return tensor_copy.whole(found.tensors)


def _place_notes(settings: Settings, path: Path) -> Sequence[str]:
    if not (settings.in_place or settings.undo):
        return ()
    notes = ["The file gets another SHA-256, by which programs and sites recognise it; the hash of its tensors stays."]
    if path.stat().st_nlink > 1:
        notes.append("The file has a second name (a hard link). Under that name it keeps the old metadata.")
    return notes


def _keep(path: Path) -> None:
    """Writes the header of a file into the folder of this job, so that the edit can be undone."""
    with path.open("rb") as file:
        first = file.read(8)
        start = first + file.read(struct.unpack("<Q", first)[0])
    write_whole(Path(BEFORE), json.dumps({"path": str(path), "header": base64.b64encode(start).decode()}) + "\n")


def _undone(found: Header, settings: Settings) -> Edit:
    """The edit that gives a file the header that it had before a job.

    Raises:
        WeightsError: the job kept none for this file, or the file has other tensors now.
    """
    kept = JobFolder(places.typed(settings.undo)).read(BEFORE)
    if kept is None or kept.get("path") != str(found.path):
        raise WeightsError(f"That job did not edit {shown(found.path)} in place.", "Choose another job.")
    data_bytes = sum(info.size_bytes for info in found.tensors.values())
    try:
        start = base64.b64decode(str(kept.get("header")), validate=True)
        before = header.read_stream(BEFORE, io.BytesIO(start), len(start) + data_bytes)
    except (HeaderError, ValueError) as error:
        raise WeightsError(
            "The old header does not fit this file: it has other tensors, or what was kept is damaged.",
            "Its metadata cannot be restored.",
        ) from error
    if [_form(piece) for piece in _pieces(before)] != [_form(piece) for piece in _pieces(found)]:
        raise WeightsError(
            f"{shown(found.path)} has other tensors than before that edit.", "Its metadata cannot be restored."
        )
    changes = tuple(metadata_edits.changes(found.metadata, before.metadata))
    return Edit(found, before.metadata, start, changes)


def _form(piece: Piece) -> tuple[object, ...]:
    return piece.name, piece.dtype, piece.shape, piece.size


kind = making.WeightsTool(KIND, TITLE, Settings, start)


def work(settings: Settings, report: Callable[[str], None]) -> Mapping[str, Any]:
    """Edits the file; returns its path."""
    return {"path": str(run(settings, report))}


if __name__ == "__main__":
    sys.exit(making.program(Settings, work))

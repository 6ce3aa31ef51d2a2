"""The tool that writes a copy of a model file with other tensor names, and the kind of job that runs it.

`python -m trainer_core.tools.rename` is the program of such a job. It reads `settings.json` in the current folder, and writes
`made.json` or `failure.json` there.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from trainer_core import catalog, places
from trainer_core.errors import RenamingError
from trainer_core.jobs import own_program
from trainer_core.jobs.job import Job
from trainer_core.models import detection, header, renaming, tensor_copy
from trainer_core.models.detection import Detection, parts
from trainer_core.models.downloads.fetch import folder_for
from trainer_core.models.families import load_families
from trainer_core.models.header import Header
from trainer_core.models.header.tensors import shown
from trainer_core.models.renaming import Form, Piece
from trainer_core.tools import making
from trainer_core.weights import writing

KIND = "rename"
FROM = "easel.renamed_from"
"""The metadata key for the file from which a copy was made."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of a renaming.

    `kind` is an id of catalog/parts.toml, or a family for its denoiser; "" means the kind that the header shows. Other parts of
    the file are not copied. `layout` and `prefix` are those of the new names. `folder` is the folder of the copy; for `start`
    "" means the folder for its role in Easel's models folder.
    """

    file: str
    layout: str
    kind: str = ""
    prefix: str = ""
    folder: str = ""


def start(settings: Settings) -> Job:
    """The job that renames a file, started now.

    Raises:
        RenamingError, HeaderError: the file cannot be renamed in this way.
        JobError: the job cannot be started.
    """
    kind, _, _ = made(settings)
    chosen = places.typed(settings.folder) if settings.folder else places.models() / folder_for(_role(kind))
    # The program runs in the folder of its job.
    absolute = dataclasses.replace(
        settings, kind=kind, file=str(places.typed(settings.file).absolute()), folder=str(chosen.absolute())
    )
    return own_program.started(KIND, __name__, absolute)


def made(settings: Settings) -> tuple[str, list[Piece], Header]:
    """The kind of the renamed part, the tensors of the new file, and the header of the old file.

    Raises:
        RenamingError: the file has no such part, or there is no such renaming.
        HeaderError: the file cannot be read.
    """
    found = header.read(making.source(settings.file))
    if found.format != "safetensors":
        raise RenamingError("Only a .safetensors file can be renamed.", "Convert it to safetensors first.")
    kind = settings.kind or _kind(detection.detect(found))
    form = _form(kind, found)
    if form is None:
        raise RenamingError(
            f"{shown(found.path)} contains no {_title(kind)} with tensor names that Easel knows.",
            "Check the file and the kind.",
        )
    return kind, renaming.pieces(kind, found.tensors, form, Form(settings.layout, settings.prefix)), found


def run(settings: Settings, report: Callable[[str], None]) -> Path:
    """Writes the copy and returns its path; an existing copy of the same file is used again.

    Raises:
        RenamingError: the file cannot be renamed in this way.
        WeightsError: the disk is too full.
        OSError: a file cannot be read or written.
    """
    report("Reading the header")
    source = places.typed(settings.file)
    kind, pieces, found = made(settings)
    stamp = source.stat()
    origin = {FROM: f"{source.name}, {stamp.st_size} bytes, {stamp.st_mtime_ns}"}
    metadata = {**found.metadata, **origin}
    folder = Path(settings.folder)
    folder.mkdir(parents=True, exist_ok=True)
    start = tensor_copy.header_bytes(pieces, metadata)
    target, is_made = _target(folder, f"{source.stem}-{kind}-{settings.layout}", start)
    if is_made:
        report("This copy already exists")
        return target
    report("Copying")
    meter, check = making.Meter(report, "Copied"), writing.unchanged(found.path)
    writing.write(target, writing.copies(found.path, pieces), metadata, meter, check)
    return target


def _kind(found: Detection) -> str:
    """The kind of a file's contents: the kind of a part, or the family of a model."""
    return found.family or (found.variant if found.role in ("vae", "text_encoder") else "")


def _form(kind: str, found: Header) -> Form | None:
    """The form of the tensor names of a kind in a file."""
    seen = detection.detect(found)
    if _kind(seen) == kind and seen.layout in renaming.layouts(kind):
        return Form(seen.layout, seen.prefix)
    roots = [root for root, part in parts.held(found).items() if part.id == kind]
    forms = (parts.form(kind, found.tensors, root) for root in roots)
    return next((form for form in forms if form is not None), None)


def _title(kind: str) -> str:
    part, family = catalog.parts().get(kind), load_families().get(kind)
    return part.title if part else family.title if family else "part"


def _role(kind: str) -> Detection:
    part = catalog.parts().get(kind)
    return Detection(None, part.role if part else "diffusion_model")


def _target(folder: Path, stem: str, start: bytes) -> tuple[Path, bool]:
    """The path for the copy, and whether a copy with the same header already exists there."""
    stem = stem[:200]
    for number in range(1, 1000):
        path = folder / f"{stem}{f'-{number}' if number > 1 else ''}.safetensors"
        if not path.exists() and not path.is_symlink():
            return path, False
        if path.is_file():
            with path.open("rb") as file:
                if file.read(len(start)) == start:
                    return path, True
    raise RenamingError(f"{folder} has too many files called {stem}.", "Remove those that you do not need.")


kind = making.WeightsTool(KIND, "Renaming the tensors of a file", Settings, start)


if __name__ == "__main__":
    sys.exit(making.program(Settings, run))

"""What the tools for LoRAs share and need little for: their inputs, the name of the new file, its recipe, and the start of the job.

Their settings name the inputs as `file` or `files`, and the new file as `target`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer_core.jobs import own_program
from trainer_core.models import header
from trainer_core.tools import making, recipe
from trainer_core.weights import new_names

if TYPE_CHECKING:
    from trainer_core.jobs.job import Job


def inputs(settings: Any) -> list[Path]:
    """The absolute paths of the inputs.

    Raises:
        WeightsError: the name of one is empty.
    """
    return [making.source(file) for file in (settings.files if hasattr(settings, "files") else (settings.file,))]


def target(settings: Any, ending: str) -> Path:
    """The path of the new file: as typed, else next to the first input with an ending.

    Raises:
        WeightsError: it exists already, or cannot be made.
    """
    read = inputs(settings)
    beside = read[0].with_name(f"{new_names.stem(read[0].name)}-{ending}.safetensors")
    path = new_names.chosen(settings.target, read[0].parent) if settings.target else beside
    making.check_target(path, read)
    return path


def started(kind: str, module: str, settings: Any, path: Path) -> Job:
    """The job of a tool that makes the file `path`, started now.

    Raises:
        JobError: it cannot be started.
    """
    # The program runs in the folder of its job.
    files = [str(file) for file in inputs(settings)]
    absolute = dataclasses.replace(settings, **_named(settings, files), target=str(path))
    return own_program.started(kind, module, absolute)


def recipe_of(tool: str, settings: Any, path: Path) -> dict[str, str]:
    """The metadata that says how the file `path` was made, without folders."""
    read = inputs(settings)
    names = _named(settings, [file.name for file in read])
    hashed = [recipe.hashed(header.read_file(file)) for file in read]
    plain = {**dataclasses.asdict(settings), **names, "target": path.name}
    found = {recipe.KEY: recipe.of(tool, plain, hashed).text()}
    if len(read) > 1:
        found[recipe.MERGED_FROM] = ", ".join(file.stem for file in read)
    return found


def _named(settings: Any, files: Sequence[str]) -> dict[str, Any]:
    """The inputs as settings."""
    return {"files": tuple(files)} if hasattr(settings, "files") else {"file": files[0]}

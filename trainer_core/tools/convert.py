"""The tool that makes another form of a model file, and the kind of job that runs it.

`python -m trainer_core.tools.convert` is the program of such a job: see `making`. The headers alone say what it will make.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from trainer_core import places
from trainer_core.errors import WeightsError
from trainer_core.install.hub_files import hub_cache
from trainer_core.jobs import own_program
from trainer_core.jobs.job import Job
from trainer_core.models.header.tensors import shown
from trainer_core.tools import making, recipe
from trainer_core.tools.outlook import Outlook
from trainer_core.weights.conversion import folder as folders
from trainer_core.weights.conversion import planning
from trainer_core.weights.conversion.pipelines import Tokenizer
from trainer_core.weights.conversion.planning import Plan
from trainer_core.weights.conversion.wishes import DTYPES, FORMS, KEPT, Settings

KIND = "convert"
SAID = "said.json"
"""The file in the folder of the job with the sentences about numbers that did not fit."""

__all__ = ["DTYPES", "FORMS", "KEPT", "KIND", "Settings", "kind", "outlook", "run", "start"]


def outlook(settings: Settings) -> Outlook:
    """What the conversion will make, from headers alone.

    Raises:
        HeaderError, WeightsError, RenamingError: it is not possible, or the disk or the memory does not suffice; the message says why.
    """
    return _outlook(_checked(settings))


def _checked(settings: Settings) -> Plan:
    """The plan, whose target is free and for which there is room; a target that the user did not choose gets a number if it must.

    Raises:
        HeaderError, WeightsError, RenamingError: as with `outlook`.
    """
    found = planned(settings)
    if not settings.target:
        found = dataclasses.replace(found, target=making.free(found.target))
    making.check_target(found.target, [each.path for each in found.inputs])
    making.check_room(_outlook(found))
    return found


def planned(settings: Settings) -> Plan:
    """The plan of a conversion, with the tokenizers that are on this machine.

    Raises:
        HeaderError, WeightsError, RenamingError: it is not possible; the message says why.
    """
    tokenizers = _tokenizers(settings) if settings.form == "diffusers" else {}
    return planning.plan(settings, tokenizers)


def start(settings: Settings) -> Job:
    """The job that makes the new file or folder, started now.

    Raises:
        HeaderError, WeightsError, RenamingError: it is not possible; the message says why.
        JobError: the job cannot be started.
    """
    found = _checked(settings)
    # The program runs in the folder of its job.
    files = tuple(str(each.path) for each in found.inputs)
    tokenizers = str(places.typed(settings.tokenizers).absolute()) if settings.tokenizers else ""
    absolute = dataclasses.replace(settings, files=files, target=str(found.target), tokenizers=tokenizers)
    return own_program.started(KIND, __name__, absolute)


def run(settings: Settings, report: Callable[[str], None]) -> Path:
    """Makes the new file or folder, and returns its path.

    Raises:
        HeaderError, WeightsError, RenamingError: it is not possible.
        OSError: a file cannot be read or written.
    """
    from trainer_core.weights.conversion import making as computing

    report("Reading the headers")
    plan = _checked(settings)
    for note in plan.notes:
        report(note)
    report("Computing the hashes of the inputs")
    made_by = recipe.of(KIND, _public(settings), [recipe.hashed(each.header) for each in plan.inputs])
    title = plan.target.name.removesuffix(".safetensors").removesuffix(".ckpt")
    merged = [shown(each.path) for each in plan.inputs] if len(plan.inputs) > 1 else []
    report("Writing")
    limits = computing.make(plan, recipe.metadata(plan.metadata, made_by, title, merged), making.Meter(report))
    for said in limits.sentences():
        report(said)
    return plan.target


def _public(settings: Settings) -> dict[str, Any]:
    """The settings for the recipe: without folders."""
    known = {field.name: getattr(settings, field.name) for field in dataclasses.fields(settings)}
    changed = {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in known.items()
        if value != getattr(Settings(files=()), name) and name not in ("target", "tokenizers")
    }
    return changed | {"files": [Path(file).name for file in settings.files]}


def _outlook(plan: Plan) -> Outlook:
    tensors = plan.tensors
    changed = sum(tensor.work in ("compute", "scaled", "scale") for tensor in tensors)
    return Outlook(
        target=plan.target,
        size_bytes=plan.size_bytes,
        memory_bytes=plan.memory_bytes,
        tensors=len(tensors),
        changed=changed,
        notes=plan.notes,
        seconds=making.seconds_for(KIND, plan.size_bytes),
    )


def _tokenizers(settings: Settings) -> dict[str, Path]:
    """The folders of the tokenizers that are on this machine, by component.

    Raises:
        WeightsError: a folder is chosen that has none of them.
    """
    from trainer_core.models import detection, header

    family = settings.family or detection.detect(header.read(places.typed(settings.files[0]))).family
    wanted = folders.wanted_tokenizers(family)
    if settings.tokenizers:
        chosen = places.typed(settings.tokenizers).absolute()
        found = {name: chosen / name for name, each in wanted.items() if _is_whole(chosen / name, each)}
        if not found:
            message = f"{shown(chosen)} has no tokenizer in a folder called {' or '.join(wanted)}."
            raise WeightsError(message, "Choose the folder of a model in the diffusers layout.")
        return found
    return {name: place for name, each in wanted.items() if (place := _in_cache(each)) is not None}


def _in_cache(wanted: Tokenizer) -> Path | None:
    """The folder with the files of a tokenizer in the cache of the Hub's client."""
    for repository, inside in wanted.sources:
        root = hub_cache() / f"models--{repository.replace('/', '--')}" / "snapshots"
        for snapshot in sorted(root.glob("*")):
            if _is_whole(snapshot / inside, wanted):
                return snapshot / inside
    return None


def _is_whole(place: Path, wanted: Tokenizer) -> bool:
    return all((place / name).is_file() for name in wanted.files)


class Converting(making.WeightsTool[Settings]):
    """The kind of job that makes another form of a model."""

    def begin(self, arguments: Mapping[str, Any]) -> Job:
        """As for any tool; several files can be one text with line breaks."""
        files = arguments.get("files", "")
        return super().begin({**arguments, "files": files.splitlines() if isinstance(files, str) else files})


kind = Converting(KIND, "Converting a model", Settings, start)


if __name__ == "__main__":
    sys.exit(making.program(Settings, run))

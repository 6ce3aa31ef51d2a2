"""Refuses a plan that must not become a run, whoever asks for it: a notebook and a command line check more before."""

from __future__ import annotations

import os
from pathlib import Path

from trainer_core import hardware, places
from trainer_core.engines import registry
from trainer_core.engines.seam import Backend
from trainer_core.engines.status import EngineStatus
from trainer_core.errors import RunError
from trainer_core.install import choice
from trainer_core.models import hub_repository
from trainer_core.plan.names import LONGEST_NAME_BYTES, as_file_name
from trainer_core.plan.sections import TrainingPlan
from trainer_core.plan.subsets import PATHS
from trainer_core.problems import blocking
from trainer_core.text import printable


def check(
    plan: TrainingPlan,
    backend: Backend,
    machine: hardware.Machine | None = None,
    status: EngineStatus | None = None,
) -> None:
    """Checks the names and folders of the results, and that the engine has no blocking Problem with the plan.

    `machine` and `status`, that of the engine, are by default those of this machine.

    Raises:
        RunError: the plan cannot become a run.
    """
    _check_names(plan)
    _check_folders(plan)
    where = machine or hardware.machine(places.home())
    status = status or choice.statuses([backend], where.accelerator.name)[backend.manifest.id]
    for problem in blocking(registry.problems_of(backend, plan, where, status)):
        raise RunError(problem.message, problem.fix.label if problem.fix else "")


def _check_names(plan: TrainingPlan) -> None:
    if len(plan.output_stem.encode("utf-8", "surrogateescape")) > LONGEST_NAME_BYTES:
        raise RunError(f"Prefix and name together are longer than {LONGEST_NAME_BYTES} bytes.", "Shorten one of them.")
    for text in (plan.output.name, plan.output.prefix):
        if text and as_file_name(text) != text:
            raise RunError(
                f"{printable(text, 100)!r} cannot be part of a file name on every system.",
                f"Use {as_file_name(text) or 'lora'!r}.",
            )


def _check_folders(plan: TrainingPlan) -> None:
    named = (getattr(each, name) for each in plan.folders for name in PATHS)
    read = [folder for text in named if (folder := _resolved(text))]
    mirrored = "" if hub_repository.is_place(plan.output.mirror_to) else plan.output.mirror_to
    for text in (plan.output.folder, plan.output.copy_to, mirrored):
        folder = _resolved(text)
        if folder and any(folder.is_relative_to(images) for images in read):
            raise RunError(
                f"{printable(text, 200)} is in a folder with your images, to which Easel never writes.",
                "Choose another folder.",
            )
    mirror = _resolved(mirrored)
    if mirror and mirror.is_relative_to(places.real(places.runs())):
        raise RunError(
            f"Nothing can be mirrored to {printable(plan.output.mirror_to, 200)}: it is the folder of the runs, or inside it.",
            "Choose another folder.",
        )


def _resolved(text: str) -> Path | None:
    """The folder that a text names, with all links followed, a link to itself as it is; None for no text."""
    return Path(os.path.realpath(places.typed(text))) if text else None

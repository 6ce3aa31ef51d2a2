"""After the end of a run: the last pass of its mirror. It is called after every job, so it loads what copies only for a run that has one."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer_core.errors import EaselError, JobError
from trainer_core.jobs.folder import JobFolder
from trainer_core.models import hub_repository

if TYPE_CHECKING:
    from trainer_core.training.folder import RunFolder

FOLDERS, HUB = "trainer_core.training.mirror", "trainer_core.publishing.hub_mirror"
"""The programs that make one pass, each of a run to a target. The second one stands on this room, so it is only named here."""


def wanted(plan: Mapping[str, Any]) -> str:
    """The folder or place that a plan names; "" if it names none."""
    output = plan.get("output")
    text = output.get("mirror_to") if isinstance(output, Mapping) else ""
    return text if isinstance(text, str) else ""


def command_of(run: JobFolder, target: str) -> list[str]:
    """The command that makes one pass to a folder or to a place on the Hub."""
    module = HUB if hub_repository.is_place(target) else FOLDERS
    return [sys.executable, "-P", "-m", module, str(run.path), target]


def job_ended(folder: Path) -> None:
    """The entry point in the group `trainer_core.job_ended`: the last pass of a run that names a folder."""
    try:
        plan = JobFolder.open(folder).spec.details.get("plan")
    except JobError:
        return
    if not isinstance(plan, Mapping) or not (named := wanted(plan)):
        return
    from trainer_core.training.folder import RunFolder
    from trainer_core.training.mirror_notes import keep

    run = RunFolder.open(folder)
    if lack := _on_the_hub(run, named) if hub_repository.is_place(named) else _in_a_folder(run, named):
        # This goes to runner.log of the job.
        print(f"Not mirrored: {lack}", flush=True)
        keep(run, named, lack)


def _in_a_folder(run: RunFolder, named: str) -> str:
    """What the last pass could not copy; "" if nothing is missing."""
    from trainer_core.training.mirror import mirror

    try:
        done = mirror(run, named)
    except EaselError as error:
        return str(error)
    print(f"Mirrored: {len(done.copied)} files after the end of the run.", flush=True)
    return done.lack


def _on_the_hub(run: RunFolder, named: str) -> str:
    """The same for a place on the Hub."""
    done = subprocess.run(
        command_of(run, named), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, check=False
    )
    lines = done.stdout.strip().splitlines() or ["It ended early."]
    if not done.returncode:
        print(lines[-1], flush=True)
        return ""
    return lines[-1]

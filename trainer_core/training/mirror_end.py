"""After the end of a run: the last pass of its mirror. It is called after every job, so it loads what copies only for a run that has one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainer_core.errors import EaselError, JobError
from trainer_core.jobs.folder import JobFolder


def wanted(plan: Mapping[str, Any]) -> str:
    """The folder that a plan names; "" if it names none."""
    output = plan.get("output")
    text = output.get("mirror_to") if isinstance(output, Mapping) else ""
    return text if isinstance(text, str) else ""


def job_ended(folder: Path) -> None:
    """The entry point in the group `trainer_core.job_ended`: the last pass of a run that names a folder."""
    try:
        plan = JobFolder.open(folder).spec.details.get("plan")
    except JobError:
        return
    if not isinstance(plan, Mapping) or not (named := wanted(plan)):
        return
    from trainer_core.training.folder import RunFolder
    from trainer_core.training.mirror import mirror
    from trainer_core.training.mirror_notes import keep

    run = RunFolder.open(folder)
    try:
        done = mirror(run, named)
        print(f"Mirrored: {len(done.copied)} files after the end of the run.", flush=True)
        lack = done.lack
    except EaselError as error:
        lack = str(error)
    if lack:
        # This goes to runner.log of the job.
        print(f"Not mirrored: {lack}", flush=True)
        keep(run, named, lack)

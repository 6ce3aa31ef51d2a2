"""What Easel does for earlier jobs: lost ones get a new supervisor, interrupted runs are resumed, guards act on failed runs.

The guards load much, so they are imported only when one is on. `job_ended` is called after every job: what it needs is
imported when a run has failed.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from trainer_core import places
from trainer_core.errors import EaselError
from trainer_core.jobs.folder import RESULT, JobFolder
from trainer_core.jobs.state import JobState

if TYPE_CHECKING:
    from trainer_core.jobs.job import Job


def look_after(jobs: Sequence[Job]) -> bool:
    """Gives lost jobs a new supervisor, and resumes the runs that the machine had ended; returns whether it started a run.

    Cheap when there is nothing to do.
    """
    from trainer_core.jobs.recovery import recover
    from trainer_core.training.folder import INTERRUPTED

    recover(jobs)
    interrupted = [job for job in jobs if places.is_there(job.folder.path / INTERRUPTED)]
    if not interrupted:
        return False
    from trainer_core.prepare.guards import resume_interrupted
    from trainer_core.training.run import Run

    return bool(resume_interrupted(Run.attach(job.folder.path) for job in interrupted))


def job_ended(folder: Path) -> None:
    """The entry point in the group `trainer_core.job_ended`: applies the guards of a run that has failed."""
    result = JobFolder(folder).read(RESULT)
    if result is not None and result.get("state") != JobState.FAILED.name:
        return
    from trainer_core.jobs.job import Job
    from trainer_core.training.folder import KIND, RunFolder

    try:
        # A plan is only loaded for the few runs that have failed and have a guard.
        job = Job.attach(folder)
        if job.spec.kind != KIND or job.state is not JobState.FAILED or not any(RunFolder(folder).guards.values()):
            return
        from trainer_core.prepare.guards import after_failure
        from trainer_core.training.run import Run

        after_failure(Run.attach(folder))
    except EaselError as error:
        # This goes to runner.log of the job.
        print(f"Easel did not go on by itself: {error}", flush=True)

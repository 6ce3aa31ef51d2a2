"""What Easel does for earlier jobs when it is used again: lost ones get a new supervisor, interrupted runs are resumed."""

from __future__ import annotations

from collections.abc import Sequence

from trainer_core import places
from trainer_core.jobs.job import Job
from trainer_core.jobs.recovery import recover
from trainer_core.training.folder import INTERRUPTED
from trainer_core.training.run import Run


def look_after(jobs: Sequence[Job]) -> bool:
    """Gives lost jobs a new supervisor, and resumes the runs that the machine had ended; returns whether it started a run.

    Cheap when there is nothing to do.
    """
    recover(jobs)
    interrupted = [job for job in jobs if places.is_there(job.folder.path / INTERRUPTED)]
    if not interrupted:
        return False
    # Loads much, and is seldom needed.
    from trainer_core.prepare.guards import resume_interrupted

    return bool(resume_interrupted(Run.attach(job.folder.path) for job in interrupted))

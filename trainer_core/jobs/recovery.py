"""Finds the jobs that were lost on this machine, and gives each of them a new supervisor."""

from __future__ import annotations

import os
from collections.abc import Iterable

from trainer_core.errors import JobError
from trainer_core.jobs import adoption
from trainer_core.jobs.folder import RESULT, SUPERVISOR
from trainer_core.jobs.job import AnyJob, Job
from trainer_core.jobs.origin import Origin
from trainer_core.jobs.state import JobState


def recover(jobs: Iterable[Job]) -> list[Job]:
    """Starts a new supervisor for each of these jobs that is lost on this machine; returns the jobs that got one.

    A job is lost if its supervisor has ended without a result. The new supervisor follows a program that still runs, and
    judges the output of one that has ended. Does nothing for a copy of a job, a job of another machine, or a folder
    that an older Easel or somebody else has written.
    """
    return [job for job in jobs if _is_ours(job) and _adopted(job)]


def _is_ours(job: Job) -> bool:
    path = job.folder.path
    # Most jobs have ended, and a list may have thousands.
    if os.path.exists(path / RESULT) or not os.path.exists(path / SUPERVISOR):  # noqa: PTH110 - twice as fast
        return False
    if job.host.alive(path, "supervisor") or job.host.whereabouts(path) != "here":
        return False
    is_recorded = Origin.from_dict(job.folder.read(SUPERVISOR)) is not None
    return is_recorded and os.access(path, os.W_OK) and job.state is JobState.LOST


def _adopted(job: Job) -> bool:
    try:
        job.host.adopt(job.folder.path)
    except JobError:
        # Another process was faster, or the folder cannot be written.
        return False
    return True


def adopt(job: AnyJob, force: bool = False) -> AnyJob:
    """The job, with a new supervisor; `force`: also if it was started on another machine, which is gone.

    Raises:
        JobError: it has ended, has a supervisor, is a copy of a job that runs, or its machine was heard lately.
    """
    adoption.check(job.folder, job.folder.read(SUPERVISOR), force)
    job.host.adopt(job.folder.path, force)
    return job

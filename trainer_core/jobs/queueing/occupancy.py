"""Which GPU each job uses, and which jobs run now, however they were started."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from trainer_core import places
from trainer_core.errors import JobError
from trainer_core.jobs.folder import RESULT, SCHEMA_VERSION, SPEC, SUPERVISOR, JobFolder, entries_of, is_job, schema_of
from trainer_core.jobs.hosts.local import LOCAL
from trainer_core.jobs.job import Job
from trainer_core.jobs.state import JobState

STARTING_S = 20.0
"""A run that was prepared this short a time ago, and is not in the queue, is probably being started."""


def gpu_of(folder: JobFolder) -> str:
    """The GPU that a run uses, as its folder records it; "" if that cannot be known.

    An older or newer Easel prepared it, or its versions.json is damaged.
    """
    if (schema_of(folder) or 0) > SCHEMA_VERSION:
        return ""
    return str(folder.versions.get("gpu") or "")


def unfinished(*folders: Path) -> Iterator[Job]:
    """The jobs in these folders that have no result. Folders that are not jobs are skipped.

    A folder that this Easel refuses is included if it has a living supervisor: its processes use the machine, too.
    """
    for folder in folders:
        for path in sorted(entries_of(folder)):
            if not places.is_there(path / RESULT) and is_job(path):
                try:
                    yield Job.attach(path)
                except JobError:
                    if LOCAL.alive(path, "supervisor"):
                        yield Job(JobFolder(path))


def goes_on(job: Job) -> bool:
    """Whether a job runs, or is lost and its program still runs, or is probably being started."""
    if not places.is_there(job.folder.path / SUPERVISOR):
        return job.state is JobState.PREPARED and _age_s(job.folder.path / SPEC) < STARTING_S
    state = job.state
    return job.is_live or (state is JobState.LOST and job.host.alive(job.folder.path, "program"))


def occupied(gpu: str) -> Job | None:
    """A run that uses a GPU of this machine now; None if it is free. A run whose GPU is not known may use any."""
    using = (job for job in unfinished(places.runs()) if gpu_of(job.folder) in ("", gpu) and goes_on(job))
    return next((job for job in using if job.state is not JobState.ELSEWHERE), None)


def engine_users(engine: str = "") -> list[Job]:
    """The jobs that run or wait and need this engine; with "" all jobs that run or wait."""
    found = []
    for job in unfinished(places.runs(), *(() if engine else (places.jobs(),))):
        # A job whose engine is not known may need any.
        is_asked = not engine or job.folder.versions.get("engine", engine) == engine
        if is_asked and (job.state is JobState.QUEUED or goes_on(job)):
            found.append(job)
    return found


def _age_s(path: Path) -> float:
    try:
        return max(0.0, time.time() - path.stat().st_mtime)
    except OSError:
        return 0.0


def chosen_elsewhere(environment: Mapping[str, str] | None = None) -> str:
    """The first GPU that the variables of the GPU drivers name, such as CUDA_VISIBLE_DEVICES; "" if they name none.

    Source: CUDA C++ Programming Guide, "CUDA Environment Variables"; ROCm documentation, "GPU isolation techniques".
    """
    environment = os.environ if environment is None else environment
    for name in ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES"):
        first = environment.get(name, "").partition(",")[0].strip()
        if first and first != "-1":
            return first
    return ""

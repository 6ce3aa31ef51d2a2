"""Which jobs keep a machine in use, so that it is not stopped."""

from __future__ import annotations

import time

from trainer_core.jobs.job import Job, since_s
from trainer_core.jobs.state import FINAL_STATES, JobState

STARTING_S = 900.0


def lives(job: Job) -> bool:
    """Whether a job has not ended. One that was made and not started counts for a while: it may be about to be started."""
    if job.state is JobState.PREPARED:
        return time.time() - since_s(job) < STARTING_S
    return job.state not in FINAL_STATES

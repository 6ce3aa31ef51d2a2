"""The states of a job."""

from __future__ import annotations

import enum


class JobState(enum.Enum):
    """The state of a job. It is derived from the job's files and processes, not stored separately."""

    PREPARED = "prepared"
    RUNNING = "running"
    STOPPING = "stopping"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    ELSEWHERE = "running on another machine"
    """Another machine, with the same folder, runs it and was heard within the last two minutes."""
    LOST = "lost"
    """The supervisor has ended without writing a result, and no other has found what became of the job."""


FINAL_STATES = frozenset({JobState.COMPLETED, JobState.FAILED, JobState.CANCELLED, JobState.LOST})

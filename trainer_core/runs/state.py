"""The states of a run."""

from __future__ import annotations

import enum


class RunState(enum.Enum):
    """Where a run is in its life. It is derived from the run's files, never kept beside them."""

    PREPARED = "prepared"
    RUNNING = "running"
    STOPPING = "stopping"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    LOST = "lost"
    """The runner is gone and left no result."""


FINAL_STATES = frozenset({RunState.COMPLETED, RunState.FAILED, RunState.CANCELLED, RunState.LOST})

"""When a job was started, how long it took or has taken so far, how fast it is, and how long it still goes on."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from trainer_core import events
from trainer_core.events import real
from trainer_core.jobs.job import Job, since_s
from trainer_core.jobs.state import JobState
from trainer_core.jobs.time_left import span, spoken
from trainer_core.text import plain_number

LATEST_S = 1e11
"""No job was started later, in seconds since 1970: the record is damaged."""
LIVE = (JobState.RUNNING, JobState.STOPPING, JobState.ELSEWHERE)
WAITING = (JobState.PREPARED, JobState.QUEUED)
_FIRST_BYTES = 64 << 10


def times(job: Job, state: JobState, figures: Mapping[str, Any]) -> dict[str, Any]:
    """The times of a job as JSON data, each None if it is not known.

    `started` is in seconds since 1970, `seconds` how long it took or has taken so far, `left_s` how long it still goes on.
    """
    result = job.result or {}
    started = real(result.get("started")) or _first_event_s(job) or (None if state in WAITING else since_s(job) or None)
    seconds = real(result.get("seconds"))
    if seconds is None and state in LIVE and started is not None:
        seconds = max(0.0, time.time() - started)
    left = real(figures.get("left_s")) if state is JobState.RUNNING and figures.get("step") else None
    return {"started": started, "seconds": None if seconds is None else round(seconds, 1), "left_s": left}


def moment(at_s: float | None) -> str:
    """A time in seconds since 1970 for a table, in local time; "" if it is not known."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(at_s)) if at_s and 0 < at_s < LATEST_S else ""


def cells(known: Mapping[str, Any]) -> tuple[str, str, str]:
    """The times of `times` for a table: when it was started, its duration, and the time left."""
    seconds, left = known["seconds"], known["left_s"]
    return moment(known["started"]), "" if seconds is None else span(seconds), "" if left is None else spoken(left)


def line(known: Mapping[str, Any], figures: Mapping[str, Any]) -> str:
    """The times of `times` and the speed in one line."""
    started, took, left = cells(known)
    pace = real(figures.get("seconds_per_step"))
    words = [f"started {started}" if started else "", took, f"{plain_number(pace)} s per step" if pace else ""]
    return ", ".join(filter(None, (*words, f"{left} left" if left else "")))


def _first_event_s(job: Job) -> float | None:
    """The time of the first event: a supervisor that has adopted the job began later."""
    rows = events.read_lines(job.host.read(job.folder.events, 0, _FIRST_BYTES)[0].rpartition(b"\n")[0])
    return next((at for row in rows if (at := real(row.get("time"))) is not None), None)

"""How a job is stopped from outside: by a request to its supervisor, or to a new one if that has ended or hangs."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from trainer_core.errors import JobError
from trainer_core.jobs.folder import HEARTBEAT, RESULT, STOP, json_object, json_text
from trainer_core.jobs.heard import FINISHING, Heard
from trainer_core.jobs.state import FINAL_STATES, JobState
from trainer_core.jobs.stop_request import StopRequest, When, checked_grace

if TYPE_CHECKING:
    from trainer_core.jobs.reading import JobReader

_POLL_S = 0.1
_KILL_S = 5.0
FROZEN_S = 10.0
"""A supervisor that gives no sign of life for so long, although it was told to go on, hangs."""
FROZEN_FINISHING_S = 60.0
_UNHEARD_S = 20.0
"""What a supervisor that gives no signs of life, as those of older versions, may need beyond the grace."""


def stop(job: JobReader, grace_s: float, wait: bool, after: When) -> JobState:
    """Stops a job; see `Job.stop`.

    Raises:
        JobError: as `Job.stop`.
    """
    grace_s = checked_grace(grace_s)
    state = job.state
    if after == "save" and state not in FINAL_STATES:
        _check_saves(job, state)
    if state is JobState.LOST and not job.host.alive(job.folder.path, "all"):
        return state
    if state not in FINAL_STATES or state is JobState.LOST:
        request(job, grace_s, after)
    # A supervisor that is just starting is either detected here, or finds the request before it starts a program.
    if (state := job.state) in (JobState.PREPARED, JobState.QUEUED):
        result = {"state": JobState.CANCELLED.name, "outputs": [], "seconds": 0.0}
        job.host.put({job.folder.path / RESULT: json_text(result)})
        return job.state
    if not wait or after == "save" or state is JobState.ELSEWHERE:
        return state
    if state is not JobState.LOST:
        if state in FINAL_STATES:
            return state
        # Wait for the end of the supervisor, not only for the result: it is a process of the job, too.
        if not _await_supervisor(job, grace_s):
            return job.state
    if job.state is JobState.LOST:
        _end_lost(job, grace_s)
    return job.state


def _check_saves(job: JobReader, state: JobState) -> None:
    if state in (JobState.PREPARED, JobState.QUEUED):
        raise JobError("This job has not started.", "Stop it without waiting for a checkpoint.")
    if job.saves() is False:
        raise JobError(
            "This job saves no checkpoint on its way, so it would not stop before its end.",
            "Stop it without waiting for a checkpoint.",
        )


def request(job: JobReader, grace_s: float, after: When = "now") -> None:
    """Writes the file that requests a stop; if that fails (the disk is full), sends a signal instead."""
    path = job.folder.path / STOP
    earlier = job.host.read(path)[0]
    if after == "save" and earlier and StopRequest.from_dict(json_object(earlier)).after == "now":
        # The job is being stopped already.
        return
    try:
        job.host.put({path: json_text(StopRequest(grace_s, after).as_dict())})
    except OSError:
        if after == "now":
            job.host.signal(job.folder.path, "supervisor", signal.SIGTERM)


def _await_supervisor(job: JobReader, grace_s: float) -> bool:
    """Waits for the end of the supervisor; one that hangs is killed, but not while it has the output judged.

    Returns False if it still runs.
    """
    path, host = job.folder.path, job.host
    began = heard_at = time.monotonic()
    count, is_told = -1, False
    while host.alive(path, "supervisor"):
        if not is_told:
            # It may have been paused; to any other this says nothing.
            host.signal(path, "supervisor", signal.SIGCONT)
            is_told = True
        now = time.monotonic()
        heard = Heard.from_dict(json_object(host.read(path / HEARTBEAT)[0]))
        if heard is not None and heard.count != count:
            count, heard_at, is_told = heard.count, now, False
        if heard is None:
            is_hanging = now - began > grace_s + _UNHEARD_S
        elif heard.doing == FINISHING:
            if now - heard_at > FROZEN_FINISHING_S:
                return False
            is_hanging = False
        else:
            is_hanging = now - heard_at > FROZEN_S
        if is_hanging:
            host.signal(path, "supervisor", signal.SIGKILL)
            _await(lambda: not host.alive(path, "supervisor"), _KILL_S)
            return not host.alive(path, "supervisor")
        time.sleep(_POLL_S)
    return True


def _end_lost(job: JobReader, grace_s: float) -> None:
    """Has a new supervisor end the programs of a lost job, and judge what they left; if there can be none, ends them here."""
    path, host = job.folder.path, job.host
    try:
        host.adopt(path)
    except JobError:
        _end_without_supervisor(job, grace_s)
        return
    _await_supervisor(job, grace_s)


def _end_without_supervisor(job: JobReader, grace_s: float) -> None:
    """Ends the processes of a job that can have no supervisor, and writes a result if there were any."""
    path, host = job.folder.path, job.host
    was_alive = host.alive(path, "all")
    if host.alive(path, "program"):
        host.signal(path, "program", _stop_signal(job))
        _await(lambda: not host.alive(path, "program"), grace_s)
    # A killed process may have started another one just before.
    for _ in range(3):
        if not host.alive(path, "all"):
            break
        host.signal(path, "all", signal.SIGKILL)
        _await(lambda: not host.alive(path, "all"), _KILL_S)
    if was_alive:
        ended = {"exit_code": None, "outputs": [], "diagnosis": None, "ended": time.time()}
        with contextlib.suppress(OSError):
            host.put({path / RESULT: json_text({"state": JobState.CANCELLED.name, **ended})})


def _stop_signal(job: JobReader) -> signal.Signals:
    """The signal that asks the program to end; the usual one if the job's spec.json is damaged."""
    try:
        return signal.Signals[job.spec.stop_signal]
    except (JobError, KeyError):
        return signal.SIGTERM


def _await(condition: Callable[[], bool], limit_s: float) -> None:
    deadline = time.monotonic() + limit_s
    while not condition() and time.monotonic() < deadline:
        time.sleep(_POLL_S)

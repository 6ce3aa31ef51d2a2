"""The owner of the queue: `python -m trainer_core.jobs.queueing.owner`, a process that starts the waiting runs in turn.

It exists while a run waits on a GPU that is not paused, and is the only process that starts queued runs. It can be killed at any
moment: the runs that it started have supervisors of their own, and the next owner continues where it ended.

A run is started in three steps, so that it is neither lost nor started twice: its entry is marked as taken, the run is launched,
the entry is removed. An entry that is already taken comes from an owner that was killed in between. The next owner first waits
until no supervisor of that run is about to start; then the run is either started or still prepared.
"""

from __future__ import annotations

import dataclasses
import sys
import time

import psutil

from trainer_core import places
from trainer_core.errors import JobError
from trainer_core.jobs import followers
from trainer_core.jobs.folder import RESULT, SPEC, SUPERVISOR, DiskError, unwritable
from trainer_core.jobs.job import Job
from trainer_core.jobs.outcome import Diagnosis, Outcome
from trainer_core.jobs.queueing import entries, environment, occupancy
from trainer_core.jobs.queueing.entries import Change, Entry, Ownership, Queue
from trainer_core.jobs.recovery import recover
from trainer_core.jobs.state import JobState

POLL_S = 1.0
START_LIMIT_S = 60.0
DISK_FULL = "disk-full"
"""The id of the diagnosis of a run that failed on a full disk."""
SUPERVISOR_MODULE = "trainer_core.jobs.supervisor"


def main() -> int:
    """Starts the waiting runs until none is left; does nothing if another owner lives."""
    owned = Ownership.take()
    if owned is None:
        return 0
    _say("The queue goes on.")
    try:
        while _round(owned):
            time.sleep(POLL_S)
    except JobError as error:
        _say(str(error))
        return 1
    return 0


def _round(owned: Ownership) -> bool:
    """Starts what can be started now; False if nothing is left to do, and the ownership is given back."""
    for entry in _tidied().entries:
        if entry.taken:
            _wait_for_supervisors(entry)
            _start(entry)
    recover(occupancy.unfinished(places.runs()))
    waiting = {entry.gpu for entry in entries.read().entries}
    for gpu in sorted(waiting):
        if occupancy.occupied(gpu) is None and (entry := _take(gpu)) is not None:
            _start(entry)
    with entries.changing() as change:
        if change.queue.has_work:
            return True
        # Given back while the queue is locked: whoever adds a run now finds no owner, and starts one.
        owned.give_back()
    _say("The queue is empty or paused.")
    return False


def _tidied() -> Queue:
    """The queue without runs that were cancelled, deleted or started, and with a pause after a failure."""
    with entries.changing() as change:
        kept = tuple(entry for entry in change.queue.entries if entry.taken or _is_startable(entry))
        change.queue = change.queue.with_entries(kept)
        for gpu, run in change.queue.last.items():
            _pause_after_failure(change, gpu, run)
        return change.queue


def _is_startable(entry: Entry) -> bool:
    has = {name: places.is_there(entry.path / name) for name in (SPEC, SUPERVISOR, RESULT)}
    return has == {SPEC: True, SUPERVISOR: False, RESULT: False}


def _pause_after_failure(change: Change, gpu: str, run: str) -> None:
    """Pauses the queue of a GPU if its last run failed and the queue is to stop then; decides once for each run."""
    try:
        job = Job.attach(places.runs() / run)
        if occupancy.goes_on(job):
            return
        state, why = job.state, job.diagnosis
    except JobError:
        state, why = JobState.CANCELLED, None
    found = change.queue
    last = {known: name for known, name in found.last.items() if known != gpu}
    change.queue = found = dataclasses.replace(found, last=last)
    if state is JobState.FAILED and why is not None and why.id == DISK_FULL:
        _pause(change, gpu, f"The disk is full: the run {run} failed because of that. Free space before you continue.")
    elif found.stops_on_failure and state in (JobState.FAILED, JobState.LOST):
        _pause(change, gpu, f"The run {run} {'failed' if state is JobState.FAILED else 'was lost'}.")


def _pause(change: Change, gpu: str, reason: str) -> None:
    found = change.queue
    reasons = {**found.reasons, gpu: reason}
    change.queue = dataclasses.replace(found, paused=found.paused | {gpu}, reasons=reasons)
    _say(f"{reason} The queue of {entries.place(gpu)} is paused. To go on: {entries.CONTINUE}")


def _take(gpu: str) -> Entry | None:
    """The next run for a GPU, marked as taken; None if its queue is empty or paused."""
    with entries.changing() as change:
        # The last run may have ended, and failed, only after the queue was tidied.
        if (last := change.queue.last.get(gpu)) is not None:
            _pause_after_failure(change, gpu, last)
        entry = next(iter(change.queue.of(gpu)), None)
        if entry is None or change.queue.is_paused(gpu):
            return None
        taken = dataclasses.replace(entry, taken=time.time())
        change.queue = change.queue.with_entries(
            tuple(taken if each is entry else each for each in change.queue.entries)
        )
        return taken


def _start(entry: Entry) -> None:
    """Launches a taken run, or writes down why it cannot be started; then removes its entry."""
    try:
        job = Job.attach(entry.path)
    except JobError as error:
        _say(f"{entry.run} is left out: {error}")
        _forget(entry)
        return
    try:
        told = _launched(job, entry) if job.state is JobState.PREPARED else None
    except DiskError as error:
        _wait_for_space(entry, f"The run {entry.run} could not be started. {error.message} {error.hint}")
        return
    if told is None or _fail(job, told):
        _forget(entry)
        return
    _wait_for_space(entry, f"{told.cause} This could not be written into the run folder either.")


def _wait_for_space(entry: Entry, reason: str) -> None:
    """Puts a taken run back to the front of the queue of its GPU, and pauses this: the next runs would fare the same."""
    with entries.changing() as change:
        waiting = tuple(dataclasses.replace(each, taken=0.0) for each in change.queue.entries if each.run == entry.run)
        change.queue = change.queue.with_entries((*waiting, *change.queue.without(entry.run).entries))
        _pause(change, entry.gpu, reason)


def _launched(job: Job, entry: Entry) -> Diagnosis | None:
    """Why a run could not be launched; None if it was.

    Raises:
        DiskError: the disk takes no more, so no other run could be launched either.
    """
    try:
        if entries.digest(entry.path) != entry.spec:
            raise JobError("Its spec.json was changed after it was queued.", "Queue it again: easel runs queue add")
        environment.use(entry.environment)
        job.launch()
    except DiskError:
        raise
    except JobError as error:
        cause, advice = error.message, error.hint
    except OSError as error:
        if isinstance(found := unwritable(entry.path, error), DiskError):
            raise found from error
        cause = f"{error.strerror or error}."
        advice = "Check the free disk space and the permissions of the run folder."
    else:
        _say(f"Started {entry.run} on {entries.place(entry.gpu)}.")
        return None
    return Diagnosis("not-started", f"The queue could not start this run. {cause}", "", advice)


def _forget(entry: Entry) -> None:
    with entries.changing() as change:
        last = {**change.queue.last, entry.gpu: entry.run}
        change.queue = dataclasses.replace(change.queue.without(entry.run), last=last)


def _fail(job: Job, told: Diagnosis) -> bool:
    """Writes the result of a run that could not be started, and tells whoever wants to know; False if it cannot be written."""
    _say(f"{job.name}: {told.cause}")
    if job.state is not JobState.PREPARED:
        return True
    result = {**Outcome(JobState.FAILED, diagnosis=told).as_dict(), "ended": time.time(), "seconds": 0.0}
    try:
        job.folder.write(RESULT, result)
    except OSError:
        return False
    followers.notify(job.folder.path, followers.names())
    return True


def _wait_for_supervisors(entry: Entry) -> None:
    """Waits until no process is about to become the supervisor of a run.

    Python needs a moment to start, and an owner may have been killed in this moment. A supervisor records itself in the run
    folder before it starts anything.
    """
    deadline = time.monotonic() + START_LIMIT_S
    time.sleep(POLL_S)
    while time.monotonic() < deadline and any(_is_supervisor_of(entry, process) for process in psutil.process_iter()):
        if Job.attach(entry.path).state is not JobState.PREPARED:
            return
        time.sleep(POLL_S / 4)


def _is_supervisor_of(entry: Entry, process: psutil.Process) -> bool:
    try:
        words = process.cmdline()
    except psutil.Error:
        return False
    return SUPERVISOR_MODULE in words and any(word.endswith(f"/{entry.run}") for word in words)


def _say(text: str) -> None:
    print(f"{time.strftime('%Y-%m-%d %H:%M:%S')}  {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())

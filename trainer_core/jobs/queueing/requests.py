"""What a user asks of the queue: to add a run, move or cancel it, to pause and to continue. Each call also wakes the queue."""

from __future__ import annotations

import contextlib
import dataclasses
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from trainer_core import places
from trainer_core.errors import JobError
from trainer_core.jobs.hosts.local import own_environment
from trainer_core.jobs.job import Job
from trainer_core.jobs.queueing import entries, environment, occupancy
from trainer_core.jobs.queueing.entries import ALL, Entry, Ownership, Queue
from trainer_core.jobs.state import JobState

LONGEST_LOG_BYTES = 1 << 20


def add(paths: Sequence[Path]) -> Queue:
    """The queue with these prepared runs at its end, each for the GPU that its folder names. All of them are added or none.

    Raises:
        JobError: one of them is not a prepared run in the folder of runs, or the queue cannot be written.
    """
    with entries.changing() as change:
        known, added = change.queue, []
        for path in paths:
            job = Job.attach(path)
            if job.folder.path.parent != places.real(places.runs()):
                raise JobError(f"{path} is not in {places.runs()}.", "The queue starts only runs of that folder.")
            if known.entry(job.name) is None:
                if job.state is not JobState.PREPARED:
                    raise JobError(f"The run {job.name} was already started.", "Queue a new run like it.")
                if not (gpu := occupancy.gpu_of(job.folder)):
                    raise JobError(f"The run {job.name} does not say for which GPU it is.", "Queue a new run like it.")
                digest = entries.digest(job.folder.path)
                added.append(Entry(job.name, gpu, digest, time.time(), environment=environment.kept()))
        # A run that failed before these were added does not pause them.
        last = {gpu: run for gpu, run in known.last.items() if _goes_on(run)}
        change.queue = dataclasses.replace(known, entries=(*known.entries, *added), last=last)
        found = change.queue
    wake()
    return found


def move(run: str, position: int) -> Queue:
    """The queue with a run at another position (from 1) among those of its GPU.

    Raises:
        JobError: the run does not wait, or is being started.
    """
    with entries.changing() as change:
        entry = _waiting(change.queue, run)
        others = [each for each in change.queue.of(entry.gpu) if each.run != run]
        # A run that is being started stays the first.
        first = sum(1 for each in others if each.taken)
        place = min(max(position - 1, first), len(others))
        ordered = (*others[:place], entry, *others[place:])
        rest = tuple(each for each in change.queue.entries if each.gpu != entry.gpu)
        change.queue = change.queue.with_entries((*rest, *ordered))
        found = change.queue
    wake()
    return found


def cancel(run: str) -> JobState:
    """Cancels a waiting run, and returns its state: CANCELLED. It stays in the history.

    Raises:
        JobError: the run does not wait.
    """
    with entries.changing() as change:
        entry = change.queue.entry(run)
        if entry is None:
            raise JobError(f"The run {run} is not in the queue.", "`easel runs stop` stops a run that was started.")
        state = Job.attach(entry.path).stop() if places.is_there(entry.path) else JobState.CANCELLED
        change.queue = change.queue if entry.taken else change.queue.without(run)
    wake()
    return state


def pause(gpu: str = ALL) -> Queue:
    """The queue, which starts nothing more on a GPU until it is continued. Running runs are not touched."""
    with entries.changing() as change:
        change.queue = dataclasses.replace(change.queue, paused=change.queue.paused | {gpu})
        return change.queue


def go_on(gpu: str = ALL) -> Queue:
    """The queue, which starts runs on a GPU again; with `ALL` on every GPU.

    Raises:
        JobError: every GPU is paused, so one alone cannot be continued.
    """
    with entries.changing() as change:
        found = change.queue
        if gpu != ALL and ALL in found.paused:
            raise JobError("The whole queue is paused.", f"Continue it without naming a GPU: {entries.CONTINUE}")
        paused = frozenset() if gpu == ALL else found.paused - {gpu}
        reasons = {known: reason for known, reason in found.reasons.items() if known in paused}
        change.queue = found = dataclasses.replace(found, paused=paused, reasons=reasons)
    wake()
    return found


def stop_on_failure(stops: bool) -> Queue:
    """The queue, which pauses after a failed run, or does not."""
    with entries.changing() as change:
        change.queue = dataclasses.replace(change.queue, stops_on_failure=stops)
        return change.queue


def wake() -> bool:
    """Starts the owner of the queue if runs wait and it has none; returns whether it was started now.

    This takes well under a millisecond if no run waits, so everything that uses runs calls it: the owner may have been
    killed, or the machine restarted.
    """
    try:
        if not entries.read().has_work or (owned := Ownership.take()) is None:
            return False
    except JobError:
        # The commands of the queue say what is wrong with it; nothing else should fail because of it.
        return False
    owned.give_back()
    with contextlib.suppress(OSError):
        _start_owner()
        return True
    return False


def job_ended(folder: Path) -> None:
    """Wakes the queue when a job has ended; the entry point in the group `trainer_core.job_ended`."""
    del folder
    wake()


def _start_owner() -> None:
    command = [sys.executable, "-P", "-m", "trainer_core.jobs.queueing.owner"]
    path, own = entries.log(), own_environment()
    is_long = places.is_there(path) and path.stat().st_size > LONGEST_LOG_BYTES
    with path.open("wb" if is_long else "ab") as log:
        subprocess.Popen(
            command,
            cwd=places.queue(),
            env={**environment.kept(), "PYTHONPATH": own["PYTHONPATH"], "EASEL_HOME": str(places.home())},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _goes_on(run: str) -> bool:
    try:
        return occupancy.goes_on(Job.attach(places.runs() / run))
    except JobError:
        return False


def _waiting(queue: Queue, run: str) -> Entry:
    entry = queue.entry(run)
    if entry is None:
        raise JobError(f"The run {run} is not in the queue.", "`easel runs queue list` shows what waits.")
    if entry.taken:
        raise JobError(f"The run {run} is being started.", "`easel runs stop` stops it.")
    return entry

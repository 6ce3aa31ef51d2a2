"""Makes a new queue in place of a damaged one, from the run folders."""

from __future__ import annotations

import os
import time
from pathlib import Path

from trainer_core import places
from trainer_core.errors import JobError
from trainer_core.events import real
from trainer_core.jobs.folder import SUPERVISOR
from trainer_core.jobs.job import Job
from trainer_core.jobs.queueing import entries, environment, occupancy
from trainer_core.jobs.queueing.entries import ALL, Change, DamagedQueueError, Entry, Queue

REASON = (
    "It was repaired: every run that was prepared and not started waits in it now. Cancel what should not start, for example "
    "a run that you prepared without queueing it."
)


def repair() -> Queue:
    """A new queue with every run that was prepared and not started, the oldest first; it is paused.

    The damaged file is kept beside it, as `queue.json.damaged`.

    Raises:
        JobError: the queue is not damaged, or cannot be written.
    """
    with entries.locked():
        try:
            entries.read()
        except DamagedQueueError:
            pass
        else:
            raise JobError("The queue is not damaged.", "`easel runs queue list` shows it.")
        found = Queue(tuple(_unstarted()), paused=frozenset({ALL}), reasons={ALL: REASON})
        try:
            # A link, so that there is no moment without a queue.
            os.link(entries.file(), _free())
        except OSError as error:
            raise JobError(
                f"The damaged queue cannot be kept in {places.queue()}: {error.strerror or error}.",
                "Check the free disk space and the permissions.",
            ) from error
        change = Change(Queue())
        change.queue = found
        change.save()
        return found


def _unstarted() -> list[Entry]:
    found: list[tuple[float, Entry]] = []
    for job in occupancy.unfinished(places.runs()):
        gpu, spec = occupancy.gpu_of(job.folder), entries.digest(job.folder.path)
        if gpu and spec and not places.is_there(job.folder.path / SUPERVISOR):
            found.append((_created_s(job), Entry(job.name, gpu, spec, time.time(), environment=environment.kept())))
    return [entry for _, entry in sorted(found, key=lambda pair: (pair[0], pair[1].run))]


def _created_s(job: Job) -> float:
    return real(job.folder.versions.get("created")) or 0.0


def _free() -> Path:
    number, path = 2, entries.file().with_name("queue.json.damaged")
    while os.path.lexists(path):
        number, path = number + 1, entries.file().with_name(f"queue.json.damaged-{number}")
    return path

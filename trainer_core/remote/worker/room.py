"""The folders of requests on the worker, their space, and what a worker that was killed has left.

Each request has a folder of its own below `requests` in Easel's home, with its images and its run, and nothing of it stays: what
another request finds are the engines and the models only.
"""

from __future__ import annotations

import contextlib
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from trainer_core import places
from trainer_core.errors import JobError, RemoteError
from trainer_core.jobs import processes
from trainer_core.jobs.folder import entries_of, writing
from trainer_core.jobs.job import Job
from trainer_core.text import size

LEAST_FREE_BYTES = 2 << 30
"""What must be free before a request begins. Source: InitFluxLoRATraining of ComfyUI-FluxTrainer asks for as much."""
GRACE_S = 10.0
"""How long a training gets to end by itself."""
AFTER_S = 10.0
"""How long what is called after a job may take."""
_POLL_S = 0.1


def requests() -> Path:
    """The folder of the requests."""
    return places.home() / "requests"


@contextlib.contextmanager
def room(id: str, least_free_bytes: int = LEAST_FREE_BYTES) -> Iterator[Path]:  # noqa: A002 - the id of a run is called so everywhere
    """A new, empty folder for a request; at the end its processes have ended, and it is gone.

    Raises:
        RemoteError: there is not enough space.
        JobError: the folder cannot be written.
    """
    folder = requests() / id
    clear(folder)
    with writing(folder):
        folder.mkdir(parents=True, mode=0o700)
    free = shutil.disk_usage(folder).free
    if free < least_free_bytes:
        message = f"The disk of this worker has only {size(free)} left, and a training needs {size(least_free_bytes)}."
        clear(folder)
        raise RemoteError(message, "Give the endpoint a larger container disk.", "disk")
    try:
        yield folder
    finally:
        clear(folder)


def runs(folder: Path) -> Path:
    """The folder of the runs of a request."""
    return folder / "runs"


def clear(folder: Path) -> None:
    """Ends all processes of a request, and deletes its folder."""
    for path in entries_of(runs(folder)):
        with contextlib.suppress(JobError):
            Job.attach(path).stop(GRACE_S)
        _end_processes(path)
    shutil.rmtree(folder, ignore_errors=True)


def _end_processes(path: Path) -> None:
    """Ends what still runs for a job that has ended: a process that left its group, or what is called after a job."""
    deadline_s = time.monotonic() + AFTER_S
    while (left := processes.of_job(path)) and time.monotonic() < deadline_s:
        time.sleep(_POLL_S)
    for each in left:
        each.signal(signal.SIGKILL)


def sweep() -> int:
    """Clears what an earlier worker left, which was killed; returns how many requests that were."""
    left = list(entries_of(requests()))
    for folder in left:
        clear(folder)
    return len(left)

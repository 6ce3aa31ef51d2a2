"""The folders of requests on the worker, their space, and what a worker that was killed has left.

Each request has a folder of its own below `requests` in Easel's home, with its images and its run, and nothing of it stays: what
another request finds are the engines and the models only.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from trainer_core import places
from trainer_core.errors import JobError, RemoteError
from trainer_core.jobs import process_table
from trainer_core.jobs.folder import entries_of, writing
from trainer_core.jobs.job import Job
from trainer_core.jobs.processes import Identity, kill
from trainer_core.text import size

LEAST_FREE_GIB = 2.0
"""What must be free before a request begins. Source: InitFluxLoRATraining of ComfyUI-FluxTrainer asks for as much."""
GRACE_S = 10.0
"""How long a training gets to end by itself."""
AFTER_S = 10.0
"""How long what is called after a job may take."""
MARK = "EASEL_WORKER_REQUEST"
"""The environment variable by which all processes of a request are found: it has the folder of the request."""
_POLL_S = 0.1


def requests() -> Path:
    """The folder of the requests."""
    return places.home() / "requests"


@contextlib.contextmanager
def room(id: str, least_free_gib: float = LEAST_FREE_GIB) -> Iterator[Path]:  # noqa: A002 - the id of a run is called so everywhere
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
    if free < least_free_gib * 2**30:
        message = f"The disk of this worker has only {size(free)} left, and a training needs {least_free_gib:g} GiB."
        clear(folder)
        raise RemoteError(message, "Give the endpoint a larger container disk.", "disk")
    os.environ[MARK] = str(folder)
    try:
        yield folder
    finally:
        del os.environ[MARK]
        clear(folder)


def runs(folder: Path) -> Path:
    """The folder of the runs of a request."""
    return folder / "runs"


def clear(folder: Path) -> None:
    """Ends all processes of a request, and deletes its folder."""
    for path in entries_of(runs(folder)):
        with contextlib.suppress(JobError):
            Job.attach(path).stop(GRACE_S)
    deadline_s = time.monotonic() + AFTER_S
    while (left := _processes(folder)) and time.monotonic() < deadline_s:
        time.sleep(_POLL_S)
    kill(left)
    shutil.rmtree(folder, ignore_errors=True)


def _processes(folder: Path) -> list[Identity]:
    """The running processes of a request, whoever started them."""
    marked = [row[0] for row in process_table.rows() if process_table.has_variable(row[0], MARK, str(folder))]
    return [found for pid in marked if pid != os.getpid() and (found := Identity.of(pid)) is not None]


def sweep() -> int:
    """Clears what an earlier worker left, which was killed; returns how many requests that were."""
    left = list(entries_of(requests()))
    for folder in left:
        clear(folder)
    return len(left)

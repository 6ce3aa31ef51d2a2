"""What the tools that write a copy of a model file share: their job, its program, its progress, and how it ended."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from trainer_core.errors import RenamingError
from trainer_core.jobs import own_program
from trainer_core.jobs.folder import JobFolder
from trainer_core.jobs.job import Job
from trainer_core.jobs.outcome import Diagnosis, Outcome

DISK_FLOOR_BYTES = 1 << 30
"""The disk space that a copy must leave free."""


def begin(kind: str, module: str, settings: Any) -> Job:
    """The job of a tool, started now; its program is a module that reads `settings` from the folder of the job.

    Raises:
        JobError: the job cannot be started.
    """
    job = own_program.prepared(kind, module, settings)
    job.launch()
    return job


def judge(folder: JobFolder, exit_code: int | None) -> Outcome:
    """COMPLETED with the path of the copy."""
    return own_program.judge(folder, exit_code, "path", Diagnosis("not-made", "The copy was not made.", "", ""))


def program(kind: type, run: Callable[[Any, Callable[[str], None]], Path]) -> int:
    """Runs a tool with the settings in the current folder, which are of the type `kind`; returns the exit status."""

    def work(settings: Any) -> dict[str, str]:
        path = run(settings, own_program.report)
        own_program.report(f"Made {path}")
        return {"path": str(path)}

    return own_program.run(kind, RenamingError, work)


class Meter:
    """Reports the progress of a copy, at most twice a second."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell, self._said_s = tell, 0.0

    def __call__(self, done: int, total: int) -> None:
        """Reports that `done` of `total` bytes are written, if it is time."""
        now = time.monotonic()
        if now - self._said_s >= 0.5 or done == total:
            self._said_s = now
            self._tell(f"Copied {done >> 20} of {max(total >> 20, 1)} MiB")


def check_disk(folder: Path, needed: int) -> None:
    """Checks that a folder has space for a copy of so many bytes.

    Raises:
        RenamingError: the disk is too full.
    """
    free = shutil.disk_usage(folder).free
    if free < needed + DISK_FLOOR_BYTES:
        message = f"The disk is too full: the copy needs {needed / 2**30:.1f} GiB, and {free / 2**30:.1f} GiB are free in {folder}."
        raise RenamingError(message, f"Free some space; Easel leaves {DISK_FLOOR_BYTES >> 30} GiB free.")

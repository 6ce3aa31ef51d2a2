"""What the tools that write a copy of a model file share: their job, its program, its progress, and how it ended."""

from __future__ import annotations

import dataclasses
import json
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from trainer_core import places
from trainer_core.errors import EaselError, RenamingError
from trainer_core.files import from_table, write_whole
from trainer_core.jobs.folder import JobFolder
from trainer_core.jobs.job import Job
from trainer_core.jobs.kind import by_exit_code
from trainer_core.jobs.outcome import Diagnosis, Outcome
from trainer_core.jobs.spec import Spec, Step
from trainer_core.jobs.state import JobState

SETTINGS, MADE, FAILURE = "settings.json", "made.json", "failure.json"
DISK_FLOOR_BYTES = 1 << 30
"""The disk space that a copy must leave free."""


def begin(kind: str, module: str, settings: Any) -> Job:
    """The job of a tool, started now; its program is a module that reads `settings` from the folder of the job.

    Raises:
        JobError: the job cannot be started.
    """
    folder = JobFolder.create(places.jobs(), kind)
    folder.write(SETTINGS, dataclasses.asdict(settings))
    program = (sys.executable, "-P", "-m", module)
    folder.write_spec(Spec(kind, (Step(kind, program),), folder.path, keeps=("PYTHONPATH",)))
    job = Job(folder)
    job.launch()
    return job


def judge(folder: JobFolder, exit_code: int | None) -> Outcome:
    """COMPLETED with the path of the copy."""
    failure, done = folder.read(FAILURE), folder.read(MADE)
    if exit_code == 0 and done is not None:
        return Outcome(JobState.COMPLETED, 0, [str(done.get("path"))])
    if failure is not None:
        told = Diagnosis("not-made", str(failure.get("message")), "", str(failure.get("hint")))
        return Outcome(JobState.FAILED, exit_code, diagnosis=told)
    ended = by_exit_code(folder, exit_code)
    told = ended.diagnosis or Diagnosis("not-made", "The copy was not made.", "", "")
    return Outcome(JobState.FAILED, exit_code, diagnosis=told)


def program(kind: type, run: Callable[[Any, Callable[[str], None]], Path]) -> int:
    """Runs a tool with the settings in the current folder, which are of the type `kind`; returns the exit status."""
    # An exception instead of an immediate end, so that the unfinished file is removed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        settings = from_table(kind, json.loads(Path(SETTINGS).read_bytes()), SETTINGS, RenamingError)
        path = run(settings, report)
    except EaselError as error:
        return _failed(error.message, error.hint)
    except OSError as error:
        return _failed(f"{error.filename or 'A file'}: {error.strerror or error}.", "Check the disk and permissions.")
    write_whole(Path(MADE), json.dumps({"path": str(path)}) + "\n")
    report(f"Made {path}")
    return 0


def _failed(message: str, hint: str) -> int:
    report(message)
    write_whole(Path(FAILURE), json.dumps({"message": message, "hint": hint}) + "\n")
    return 1


def report(line: str) -> None:
    """Prints a line into the log of the job."""
    print(line, flush=True)


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

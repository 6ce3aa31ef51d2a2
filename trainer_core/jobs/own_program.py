"""Jobs whose one step is a program of Easel's own: it reads `settings.json` in the folder of its job, and writes there how it ended."""

from __future__ import annotations

import dataclasses
import json
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from trainer_core import places
from trainer_core.child import ADDRESSES
from trainer_core.errors import EaselError
from trainer_core.files import from_table, write_whole
from trainer_core.jobs.folder import JobFolder
from trainer_core.jobs.job import Job
from trainer_core.jobs.kind import by_exit_code
from trainer_core.jobs.outcome import Diagnosis, Outcome
from trainer_core.jobs.spec import Spec, Step
from trainer_core.jobs.state import JobState

SETTINGS, MADE, FAILURE = "settings.json", "made.json", "failure.json"


def prepared(
    kind: str, module: str, settings: Any, variables: Mapping[str, str] | None = None, keeps: tuple[str, ...] = ()
) -> Job:
    """A job that is ready to launch; its program is a module. `keeps` are variables that it inherits, `variables` others.

    Raises:
        JobError: the folder cannot be written.
    """
    folder = JobFolder.create(places.jobs(), kind)
    folder.write(SETTINGS, dataclasses.asdict(settings))
    step = Step(kind, (sys.executable, "-P", "-m", module), dict(variables or {}))
    folder.write_spec(Spec(kind, (step,), folder.path, keeps=("PYTHONPATH", *ADDRESSES, *keeps)))
    return Job(folder)


def started(kind: str, module: str, settings: Any) -> Job:
    """The job of a program, started now.

    Raises:
        JobError: the job cannot be started.
    """
    job = prepared(kind, module, settings)
    job.launch()
    return job


def judge(folder: JobFolder, exit_code: int | None, made: str, unsaid: Diagnosis) -> Outcome:
    """COMPLETED with what `made.json` has under the name `made`; `unsaid` is the diagnosis if the program gave none."""
    failure, done = folder.read(FAILURE), folder.read(MADE)
    if exit_code == 0 and done is not None:
        return Outcome(JobState.COMPLETED, 0, [str(done.get(made))])
    if failure is not None:
        told = dataclasses.replace(unsaid, cause=str(failure.get("message")), advice=str(failure.get("hint")))
        return Outcome(JobState.FAILED, exit_code, diagnosis=told)
    return Outcome(JobState.FAILED, exit_code, diagnosis=by_exit_code(folder, exit_code).diagnosis or unsaid)


def run(kind: type, error: type[EaselError], work: Callable[[Any], Mapping[str, str]]) -> int:
    """Does the work with the settings in the current folder, which are of the type `kind`, and returns the exit status.

    `work` returns what `made.json` will contain.
    """
    # An exception instead of an immediate end, so that unfinished files are removed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        found = work(from_table(kind, json.loads(Path(SETTINGS).read_bytes()), SETTINGS, error))
    except EaselError as failure:
        return _failed(failure.message, failure.hint)
    except OSError as failure:
        named = failure.filename or "A file"
        return _failed(f"{named}: {failure.strerror or failure}.", "Check the disk and permissions.")
    write_whole(Path(MADE), json.dumps(dict(found)) + "\n")
    return 0


def _failed(message: str, hint: str) -> int:
    report(f"{message} {hint}".strip())
    write_whole(Path(FAILURE), json.dumps({"message": message, "hint": hint}) + "\n")
    return 1


def report(line: str) -> None:
    """Prints a line into the log of the job."""
    print(line, flush=True)

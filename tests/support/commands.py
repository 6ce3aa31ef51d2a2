"""Small jobs of the kind "commands" for the tests of supervision: real processes that start at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.support.played import until
from trainer_core import places
from trainer_core.jobs import processes
from trainer_core.jobs.folder import JobFolder
from trainer_core.jobs.job import Job
from trainer_core.jobs.processes import Identity
from trainer_core.jobs.spec import Spec, Step
from trainer_core.jobs.state import JobState

WAITS = "import time; print('waiting', flush=True); time.sleep(600)"


def until_file(path: Path, then: str = "") -> str:
    """Python code that waits for a file, and then does something else."""
    return f"import os, time; print('waiting', flush=True)\nwhile not os.path.exists({str(path)!r}): time.sleep(0.02)\n{then}"


def prepared(folder: Path, *codes: str, kind: str = "commands", **more: Any) -> Job:
    """A job that runs these pieces of Python code, one after another."""
    here = JobFolder.create(folder, kind)
    steps = tuple(Step(f"step {number}", (sys.executable, "-c", code)) for number, code in enumerate(codes, 1))
    here.write_spec(Spec(kind, steps, here.path, **more))
    return Job(here)


def launched(folder: Path, *codes: str, **more: Any) -> Job:
    """The same, started, with its first program running."""
    job = prepared(folder, *codes, **more)
    job.launch()
    until((job.folder.path / "engine.json").exists)
    return job


def pid(job: Job, name: str = "runner.json") -> int:
    record = job.folder.read(name)
    assert record is not None
    return record["pid"]


def kill(job: Job, *names: str, number: int = signal.SIGKILL) -> None:
    """Sends a signal to these processes of a job, and waits for their end if it is a kill."""
    found = [Identity.from_dict(job.folder.read(name)) for name in names or ("runner.json",)]
    for each in found:
        assert each is not None
        processes.send(each.pid, number)
    until(lambda: number != signal.SIGKILL or not any(each.alive for each in found if each))


def lose(job: Job) -> None:
    """Kills the supervisor of a job, as the system does that has no memory left."""
    kill(job)
    until(lambda: job.state in (JobState.LOST, JobState.COMPLETED))


def adopting(job: Job, *options: str) -> subprocess.Popen[bytes]:
    """A process that starts a new supervisor for a job, as `easel` would."""
    command = [sys.executable, "-P", "-m", "trainer_core.jobs.supervisor", str(job.folder.path), "--adopt", *options]
    with job.folder.supervisor_log.open("ab") as log:
        return subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(places.CHECKOUT)}, stdout=log, stderr=log)


def log(job: Job) -> str:
    return job.folder.log.read_text(encoding="utf-8", errors="replace")


def nothing_left(job: Job) -> bool:
    return not processes.of_job(job.folder.path) and not job.host.alive(job.folder.path, "all")

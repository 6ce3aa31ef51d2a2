"""The contract test of all hosts: the tests of a host call `check_host_contract(host, folder)`.

It runs a few small jobs of the kind "commands" with the host's own Python. Their folders are below `folder`, a path as the host
takes it. Their programs start in `works_in`, a folder of the host; without it, in the job folder, which then has the same path there.
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from trainer_core.errors import JobError
from trainer_core.jobs.folder import JobFolder
from trainer_core.jobs.hosts.host import Host
from trainer_core.jobs.job import Job
from trainer_core.jobs.kind import commands
from trainer_core.jobs.spec import Spec, Step
from trainer_core.jobs.state import FINAL_STATES, JobState

LIMIT_S = 120.0
PRINTS = "print('hello', flush=True)"
WAITS = "import time; print('waiting', flush=True); time.sleep(600)"
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + WAITS
ENDS_BY_A_SIGNAL = f"import signal, sys; signal.signal(signal.SIGUSR1, lambda *_: sys.exit(4)); {WAITS}"
LEAVES_A_CHILD = (
    f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {WAITS!r}], start_new_session=True); {WAITS}"
)


@dataclass(frozen=True)
class _Place:
    """Where the jobs of the contract are made: their folder, their Python, and where their programs start."""

    host: Host
    folder: Path
    python: str
    works_in: Path | None

    def job(self, code: str) -> Job:
        made = JobFolder.create(self.folder, "contract")
        made.write_spec(Spec(commands.id, (Step("only", (self.python, "-c", code)),), self.works_in or made.path))
        return Job(made, self.host)


def check_host_contract(host: Host, folder: Path, python: str = sys.executable, works_in: Path | None = None) -> None:
    """Raises AssertionError if the host does not transfer bytes and send signals as a job needs it."""
    place = _Place(host, folder, python, works_in)
    _check_files(host, folder)
    _check_a_job_that_ends(host, place)
    _check_a_stop(host, place)
    _check_a_killed_supervisor(host, place)
    _check_an_adoption(host, place)


def _check_files(host: Host, folder: Path) -> None:
    path = folder / "below" / "file"
    assert host.read(path) == (b"", 0), "a missing file has no bytes"
    assert host.read(path, -10) == (b"", -10), "and the offset does not change"
    host.put({path: b"\x00one", folder / "text": "\u00e9"})
    assert host.read(path) == (b"\x00one", 4)
    assert host.read(folder / "text")[0] == "\u00e9".encode(), "text is UTF-8"
    assert host.read(path, 1, 2) == (b"on", 3), "offset and limit"
    assert host.read(path, 3) == (b"e", 4)
    assert host.read(path, 4) == (b"", 4)
    assert host.read(path, -2) == (b"ne", 4), "from the end"
    assert host.read(path, -100) == (b"\x00one", 4)
    host.put({path: "other"})
    assert host.read(path)[0] == b"other"


def _check_a_job_that_ends(host: Host, place: _Place) -> None:
    job = place.job(PRINTS)
    assert job.state is JobState.PREPARED
    assert not host.alive(job.folder.path, "supervisor")
    job.launch()
    assert job.wait(LIMIT_S) is JobState.COMPLETED, job.diagnosis
    assert b"hello" in host.read(job.folder.log)[0]
    _until(lambda: not host.alive(job.folder.path, "supervisor"))
    assert not host.alive(job.folder.path, "all")
    failing = place.job("raise SystemExit(3)")
    failing.launch()
    assert failing.wait(LIMIT_S) is JobState.FAILED
    assert (failing.result or {}).get("exit_code") == 3


def _check_a_stop(host: Host, place: _Place) -> None:
    for code, grace_s in ((LEAVES_A_CHILD, 10.0), (STUBBORN, 0.3)):
        job = place.job(code)
        job.launch()
        _until(lambda job=job: b"waiting" in host.read(job.folder.log)[0])
        assert job.state is JobState.RUNNING
        assert host.alive(job.folder.path, "supervisor")
        assert host.alive(job.folder.path, "program")
        assert job.stop(grace_s) is JobState.CANCELLED
        assert not host.alive(job.folder.path, "all"), "a stop leaves no process behind"


def _check_a_killed_supervisor(host: Host, place: _Place) -> None:
    job = place.job(WAITS)
    _lose(host, job)
    assert host.alive(job.folder.path, "program"), "its program continues"
    assert job.stop(5.0) is JobState.CANCELLED
    assert not host.alive(job.folder.path, "all")


def _check_an_adoption(host: Host, place: _Place) -> None:
    job = place.job(ENDS_BY_A_SIGNAL)
    try:
        host.adopt(job.folder.path)
    except JobError:
        pass
    else:
        raise AssertionError("a job that was not started cannot be adopted")
    _lose(host, job)
    assert host.whereabouts(job.folder.path) == "here"
    host.adopt(job.folder.path)
    assert job.state is JobState.RUNNING, "a new supervisor has it"
    try:
        host.adopt(job.folder.path)
    except JobError:
        pass
    else:
        raise AssertionError("a job has one supervisor")
    host.signal(job.folder.path, "program", signal.SIGUSR1)
    assert job.wait(LIMIT_S) is JobState.FAILED
    assert (job.result or {}).get("exit_code") == 4, "its exit code was recorded"
    _until(lambda: not host.alive(job.folder.path, "all"))


def _lose(host: Host, job: Job) -> None:
    job.launch()
    _until(lambda: b"waiting" in host.read(job.folder.log)[0])
    host.signal(job.folder.path, "supervisor", signal.SIGKILL)
    _until(lambda: job.state in FINAL_STATES)
    assert job.state is JobState.LOST


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.05)

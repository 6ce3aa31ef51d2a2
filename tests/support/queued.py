"""A queue of rehearsed runs, with real owners and supervisors, in a home folder of its own."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.played import LIMIT_S, job, told, until
from trainer_core import places
from trainer_core.engines import registry
from trainer_core.events import StateChange
from trainer_core.jobs.queueing import entries, requests
from trainer_core.jobs.state import FINAL_STATES
from trainer_core.training import gpu as gpus
from trainer_core.training.run import Run

OWNER = "trainer_core.jobs.queueing.owner"


class Bench:
    """Prepares and queues runs below one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def prepared(self, gpu: str = "0", **more: Any) -> Run:
        """A run that is ready to start on a GPU, and sees only this one."""
        seen = gpus.visible_only(gpu, "cuda")
        plan = job(self.folder, **{"steps": 5, **more})
        return Run.prepare(
            plan, registry.get("rehearsal"), None, folder=places.runs(), chosen={"gpu": gpu}, environment=seen
        )

    def queued(self, gpu: str = "0", **more: Any) -> Run:
        """The same, in the queue, whose owner is awake."""
        run = self.prepared(gpu, **more)
        requests.add([run.folder.path])
        return run


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "home"))
    yield Bench(tmp_path)
    requests.pause()
    for owner in owners():
        owner.kill()
    for path in places.runs().iterdir() if places.runs().is_dir() else ():
        if (path / "spec.json").is_file():
            Run.attach(path).stop(1.0)


def owners() -> list[psutil.Process]:
    """The running owners of the queue of this home folder."""
    found = []
    for process in psutil.process_iter():
        try:
            is_owner = OWNER in process.cmdline() and process.environ().get("EASEL_HOME") == str(places.home())
        except (psutil.Error, OSError):
            continue
        if is_owner and process.status() != psutil.STATUS_ZOMBIE:
            found.append(process)
    return found


def kill_owner() -> None:
    for owner in owners():
        os.kill(owner.pid, signal.SIGKILL)


def all_ended(*runs: Run) -> None:
    for run in runs:
        until(lambda run=run: run.state in FINAL_STATES, LIMIT_S)


def starts(run: Run) -> int:
    """How often the run was started."""
    return [event.state for event in told(run) if isinstance(event, StateChange)].count("RUNNING")


def waiting() -> list[str]:
    return [entry.run for entry in entries.read().entries]

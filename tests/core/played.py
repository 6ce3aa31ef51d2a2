"""Runs played by the rehearsal engine, for the tests of supervision: real processes, real files."""

from __future__ import annotations

import hashlib
import os
import signal
import time
from pathlib import Path
from typing import Any

from trainer_core import registry
from trainer_core.datasets.scan import Dataset
from trainer_core.diagnosis import Diagnosis
from trainer_core.events import Event, Step
from trainer_core.plan.sections import TrainingPlan
from trainer_core.runs import processes
from trainer_core.runs.run import FINAL_STATES, Run

LIMIT_S = 200.0
"""Longer than any slow machine takes: what waits ends with what it waits for."""
FAST = 200.0


def job(tmp_path: Path, steps: int = 20, output: dict[str, Any] | None = None, **player: Any) -> TrainingPlan:
    tables = {
        "model": {"family": "sd15"},
        "network": {"rank": 4, "alpha": 2.0},
        "schedule": {"steps": steps},
        "output": {"name": "mika", "prefix": "cg_", "folder": str(tmp_path / "out"), **(output or {})},
        "native": {"rehearsal": {"steps_per_second": FAST, **player}},
    }
    return TrainingPlan.model_validate(tables)


def start(tmp_path: Path, dataset: Dataset | None = None, **more: Any) -> Run:
    return Run.start(job(tmp_path, **more), registry.get("rehearsal"), dataset, folder=tmp_path / "runs")


def ended(tmp_path: Path, **more: Any) -> Run:
    run = start(tmp_path, **more)
    assert run.wait(LIMIT_S) in FINAL_STATES
    return run


def result(run: Run) -> dict[str, Any]:
    assert run.result is not None
    return run.result


def diagnosis(run: Run) -> Diagnosis:
    assert run.diagnosis is not None
    return run.diagnosis


def record(run: Run, name: str) -> dict[str, Any]:
    data = run.directory.read(name)
    assert data is not None
    return data


def kill(run: Run, name: str, number: int = signal.SIGKILL) -> None:
    os.kill(record(run, name)["pid"], number)


def told(run: Run) -> list[Event]:
    return run.events()[0]


def steps(run: Run) -> list[int]:
    return [event.step for event in told(run) if isinstance(event, Step)]


def until(condition: Any, limit_s: float = LIMIT_S) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)


def processes_of(run: Run) -> list[int]:
    """The runner, the engine and what it started, as far as they live."""
    runner = processes.Identity.from_dict(record(run, "runner.json"))
    assert runner is not None
    found = [process.pid for process in processes.of_run(run.directory.path) if process.pid != runner.pid]
    return [runner.pid, *found] if runner.alive else found


def fingerprint(folder: Path) -> dict[str, tuple[str, int]]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {
        str(path.relative_to(folder)): (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
        for path in files
    }

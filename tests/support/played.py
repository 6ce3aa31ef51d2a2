"""Runs of the rehearsal engine for the tests of supervision, with real processes and real files."""

from __future__ import annotations

import hashlib
import os
import signal
import time
from pathlib import Path
from typing import Any

from trainer_core.datasets.scan import Dataset
from trainer_core.engines import registry
from trainer_core.engines.seam import JobSpec
from trainer_core.events import Event, Step
from trainer_core.jobs import processes
from trainer_core.jobs.outcome import Diagnosis, End
from trainer_core.jobs.state import FINAL_STATES
from trainer_core.plan.sections import TrainingPlan
from trainer_core.training.basis import Basis
from trainer_core.training.checking import CheckpointTests, tested
from trainer_core.training.folder import RunFolder
from trainer_core.training.outcome import Seen, TrainingOutcome, conclude
from trainer_core.training.run import Run

LIMIT_S = 200.0
"""An upper limit for slow machines: each wait ends as soon as its condition is true."""
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
    run = Run.prepare(job(tmp_path, **more), registry.get("rehearsal"), dataset, folder=tmp_path / "runs")
    run.launch()
    return run


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
    data = run.folder.read(name)
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
    """The ids of the running processes of a run: the runner, the engine, and processes that it started."""
    runner = processes.Identity.from_dict(record(run, "runner.json"))
    assert runner is not None
    found = [process.pid for process in processes.of_job(run.folder.path) if process.pid != runner.pid]
    return [runner.pid, *found] if runner.alive else found


def fingerprint(folder: Path) -> dict[str, tuple[str, int]]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {
        str(path.relative_to(folder)): (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
        for path in files
    }


def judged(
    run: RunFolder, exit_code: int | None = 0, spec: JobSpec | None = None, how: Any = "by itself"
) -> TrainingOutcome:
    """The outcome of a run whose files a test has written, as its supervisor decides it."""
    spec = spec or run.rendered
    basis = Basis(run, spec, run.plan, registry.get(spec.backend))
    tests = CheckpointTests(run.path, lambda path: tested(path, basis.plan))
    return conclude(
        basis, End(exit_code, how), Seen(last_step=True, steps=Run(run).summary.last_step), tests, lambda *_: None
    )

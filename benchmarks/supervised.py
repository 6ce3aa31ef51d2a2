"""What supervision costs: the same engine command bare and under Easel's runner, in pairs, in one go.

    python benchmarks/supervised.py                      a busy player that computes in each step
    python benchmarks/supervised.py --one-core           the same with engine and runner on one core: nothing can hide
    python benchmarks/supervised.py --plan plan.toml     a real engine, with the plan of an earlier run

The goal is a ratio of 0.99 or better, both in steps per second and in the wall time of the engine. What comes on top once a
run (starting the runner, accepting and delivering the LoRA) is shown by itself. The runner's own CPU time is the figure
that other programs on the machine disturb least.
"""

from __future__ import annotations

import argparse
import os
import re
import select
import statistics
import subprocess
import tempfile
import time
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from trainer_core import registry
from trainer_core.child import child_environment
from trainer_core.datasets.scan import Dataset, scan
from trainer_core.events import Step
from trainer_core.plan.sections import TrainingPlan
from trainer_core.runs.processes import Identity
from trainer_core.runs.run import Run, RunState

if TYPE_CHECKING:
    from trainer_core.backend import Backend

GOAL = 0.99
_PLAYED = re.compile(r"^(\d+) steps in ([\d.]+) s$", re.MULTILINE)


@dataclass(frozen=True)
class Timing:
    """One run: seconds of the engine process, of everything, of the runner's CPU while the engine ran; its memory."""

    engine_s: float
    whole_s: float
    steps_per_s: float
    runner_cpu_s: float = 0.0
    runner_bytes: int = 0


@dataclass(frozen=True)
class Job:
    """What is run each time."""

    plan: TrainingPlan
    backend: Backend
    dataset: Dataset | None
    folder: Path

    def prepare(self) -> Run:
        return Run.prepare(self.plan, self.backend, self.dataset, folder=self.folder)


def main() -> None:
    arguments = parser().parse_args()
    if arguments.one_core:
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory() as folder:
        job = job_of(arguments, Path(folder))
        pairs = []
        for number in range(arguments.pairs):
            # In turn first and second, so that a machine that gets slower or faster favours neither.
            order = (bare, supervised) if number % 2 == 0 else (supervised, bare)
            timed = {run.__name__: run(job) for run in order}
            pairs.append((timed["bare"], timed["supervised"]))
            print(f"pair {number + 1}: {describe(*pairs[-1])}", flush=True)
    report(pairs)


def parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(description="What supervision costs, in pairs.")
    found.add_argument("--pairs", type=int, default=5)
    found.add_argument("--steps", type=int, default=400, help="steps of the player")
    found.add_argument("--work-mib", type=int, default=32, help="how much the player hashes in each step")
    found.add_argument("--one-core", action="store_true", help="engine and runner share one core")
    found.add_argument("--plan", type=Path, help="plan.toml of an earlier run, for a real engine")
    return found


def job_of(arguments: argparse.Namespace, folder: Path) -> Job:
    if arguments.plan is None:
        player = {"steps_per_second": 0.0, "work_mib": arguments.work_mib}
        tables = {
            "model": {"family": "sd15"},
            "schedule": {"steps": arguments.steps},
            "output": {"name": "benchmark", "folder": str(folder / "out"), "save_every_steps": arguments.steps // 4},
            "native": {"rehearsal": player},
        }
        return Job(TrainingPlan.model_validate(tables), registry.get("rehearsal"), None, folder / "runs")
    tables = tomllib.loads(arguments.plan.read_text())
    backend = registry.get(tables.pop("engine"))
    tables = {name: table for name, table in tables.items() if isinstance(table, dict)}
    tables["output"] = {**tables.get("output", {}), "folder": str(folder / "out"), "copy_to": ""}
    plan = TrainingPlan.model_validate(tables)
    dataset = scan(Path(plan.dataset.path), backend.manifest.dataset, trigger=plan.dataset.trigger)
    return Job(plan, backend, dataset, folder / "runs")


def bare(job: Job) -> Timing:
    """The engine's command as a terminal would start it, with its output in a file."""
    run = job.prepare()
    spec = run.directory.spec
    environment = child_environment({"COLUMNS": "300", "PYTHONUNBUFFERED": "1", **spec.environment})
    began = time.monotonic()
    with run.directory.log.open("wb") as log:
        subprocess.run(
            spec.command, cwd=spec.working_directory, env=environment, stdout=log, stderr=subprocess.STDOUT, check=True
        )
    seconds = time.monotonic() - began
    return Timing(seconds, seconds, pace(run, seconds))


def supervised(job: Job) -> Timing:
    """The same under the runner."""
    run = job.prepare()
    began = time.monotonic()
    run.launch()
    runner = psutil.Process((run.directory.read("runner.json") or {})["pid"])
    until((run.directory.path / "engine.json").exists)
    engine = Identity.from_dict(run.directory.read("engine.json"))
    assert engine is not None
    born, ended = born_s(engine.pid), os.pidfd_open(engine.pid)
    before, memory = cpu_s(runner), 0
    while not select.select([ended], [], [], 0.1)[0]:
        memory = max(memory, runner.memory_info().rss)
    engine_s, cpu = now_s() - born, cpu_s(runner) - before
    os.close(ended)
    run.wait()
    whole = time.monotonic() - began
    assert run.state is RunState.COMPLETED, run.diagnosis
    steps = [event.step for event in run.events()[0] if isinstance(event, Step)]
    assert steps == list(range(1, run.directory.total_steps + 1)), "a step is missing or doubled"
    return Timing(engine_s, whole, pace(run, engine_s), cpu, memory)


def until(condition: Callable[[], bool]) -> None:
    while not condition():
        time.sleep(0.002)


def now_s() -> float:
    """The clock that counts from boot: by the wall clock, the time of boot itself is only known to a second."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def born_s(pid: int) -> float:
    return psutil.Process(pid).create_time() - psutil.boot_time()


def cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def pace(run: Run, seconds: float) -> float:
    """Steps per second by the engine's own count, or over its whole time when it gives none."""
    played = _PLAYED.search(run.directory.log.read_text(encoding="utf-8", errors="replace"))
    return int(played[1]) / float(played[2]) if played else run.directory.total_steps / seconds


def describe(alone: Timing, watched: Timing) -> str:
    return (
        f"bare {alone.engine_s:.2f} s, {alone.steps_per_s:.2f} steps/s; supervised {watched.engine_s:.2f} s, "
        f"{watched.steps_per_s:.2f} steps/s; ratio {watched.steps_per_s / alone.steps_per_s:.4f}; "
        f"around it {watched.whole_s - watched.engine_s:.2f} s; runner {watched.runner_cpu_s:.2f} s of CPU"
    )


def report(pairs: list[tuple[Timing, Timing]]) -> None:
    pace_ratio = statistics.median(watched.steps_per_s / alone.steps_per_s for alone, watched in pairs)
    wall_ratio = statistics.median(alone.engine_s / watched.engine_s for alone, watched in pairs)
    whole_ratio = statistics.median(alone.whole_s / watched.whole_s for alone, watched in pairs)
    cpu = statistics.median(watched.runner_cpu_s / watched.engine_s for _, watched in pairs)
    around = statistics.median(watched.whole_s - watched.engine_s for _, watched in pairs)
    memory = max(watched.runner_bytes for _, watched in pairs) / 2**20
    print(f"steps/s, supervised against bare:    {pace_ratio:.4f}  (goal {GOAL})")
    print(f"engine's wall time, bare/supervised: {wall_ratio:.4f}  (goal {GOAL})")
    print(
        f"whole wall time, bare/supervised:    {whole_ratio:.4f}  ({around:.2f} s a run for start, acceptance, delivery)"
    )
    print(f"runner: {100 * cpu:.2f} % of one core, {memory:.0f} MiB")


if __name__ == "__main__":
    main()

"""What supervision costs: the same engine command alone and under Easel's supervisor, in pairs, in one session.

    python benchmarks/supervised.py                      the rehearsal engine, which computes in each step
    python benchmarks/supervised.py --one-core           the same with engine and supervisor on one core, so that no cost is hidden
    python benchmarks/supervised.py --plan plan.toml     a real engine, with the plan of an earlier run

The goal is a ratio of 0.99 or better, both in steps per second and in the wall time of the engine. What each run adds once
(starting the supervisor, accepting and delivering the LoRA) is shown separately. The supervisor's own CPU time is the figure
that other programs on the machine affect least.
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

from trainer_core.child import child_environment
from trainer_core.datasets.scan import Dataset, scan
from trainer_core.engines import registry
from trainer_core.events import Step
from trainer_core.jobs.processes import Identity
from trainer_core.jobs.state import JobState
from trainer_core.plan.sections import TrainingPlan
from trainer_core.training.run import Run

if TYPE_CHECKING:
    from trainer_core.engines.seam import Backend

GOAL = 0.99
_PLAYED = re.compile(r"^(\d+) steps in ([\d.]+) s$", re.MULTILINE)


@dataclass(frozen=True)
class Timing:
    """One run: seconds of the engine process, of the whole run, and of the supervisor's CPU while the engine ran; its memory."""

    engine_s: float
    whole_s: float
    steps_per_s: float
    runner_cpu_s: float = 0.0
    runner_bytes: int = 0


@dataclass(frozen=True)
class Job:
    """What each run executes."""

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
            # The order alternates, so that a machine that gets slower or faster favours neither.
            order = (bare, supervised) if number % 2 == 0 else (supervised, bare)
            timed = {run.__name__: run(job) for run in order}
            pairs.append((timed["bare"], timed["supervised"]))
            print(f"pair {number + 1}: {describe(*pairs[-1])}", flush=True)
    report(pairs)


def parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(description="What supervision costs, in pairs.")
    found.add_argument("--pairs", type=int, default=5)
    found.add_argument("--steps", type=int, default=400, help="steps of the rehearsal engine")
    found.add_argument("--work-mib", type=int, default=32, help="MiB that the rehearsal engine hashes in each step")
    found.add_argument("--one-core", action="store_true", help="run engine and supervisor on the same core")
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
    """Runs the engine's command as a terminal would, with its output in a file."""
    run = job.prepare()
    spec = run.folder.spec
    environment = child_environment({"COLUMNS": "300", "PYTHONUNBUFFERED": "1", **spec.steps[0].environment})
    began = time.monotonic()
    with run.folder.log.open("wb") as log:
        subprocess.run(
            spec.steps[0].argv,
            cwd=spec.working_directory,
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            check=True,
        )
    seconds = time.monotonic() - began
    return Timing(seconds, seconds, pace(run, seconds))


def supervised(job: Job) -> Timing:
    """Runs the same command under the supervisor."""
    run = job.prepare()
    began = time.monotonic()
    run.launch()
    runner = psutil.Process((run.folder.read("runner.json") or {})["pid"])
    until((run.folder.path / "engine.json").exists)
    engine = Identity.from_dict(run.folder.read("engine.json"))
    assert engine is not None
    began_s, ended = started_s(engine.pid), os.pidfd_open(engine.pid)
    before, memory = cpu_s(runner), 0
    while not select.select([ended], [], [], 0.1)[0]:
        memory = max(memory, runner.memory_info().rss)
    engine_s, cpu = now_s() - began_s, cpu_s(runner) - before
    os.close(ended)
    run.wait()
    whole = time.monotonic() - began
    assert run.state is JobState.COMPLETED, run.diagnosis
    steps = [event.step for event in run.events()[0] if isinstance(event, Step)]
    assert steps == list(range(1, run.folder.spec.total_steps + 1)), "a step is missing or doubled"
    return Timing(engine_s, whole, pace(run, engine_s), cpu, memory)


def until(condition: Callable[[], bool]) -> None:
    while not condition():
        time.sleep(0.002)


def now_s() -> float:
    """Seconds since boot. On the wall clock, the time of boot is only known to a second."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def started_s(pid: int) -> float:
    return psutil.Process(pid).create_time() - psutil.boot_time()


def cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def pace(run: Run, seconds: float) -> float:
    """Steps per second as the engine reports them, or over its whole time when it reports none."""
    played = _PLAYED.search(run.folder.log.read_text(encoding="utf-8", errors="replace"))
    return int(played[1]) / float(played[2]) if played else run.folder.spec.total_steps / seconds


def describe(alone: Timing, watched: Timing) -> str:
    return (
        f"bare {alone.engine_s:.2f} s, {alone.steps_per_s:.2f} steps/s; supervised {watched.engine_s:.2f} s, "
        f"{watched.steps_per_s:.2f} steps/s; ratio {watched.steps_per_s / alone.steps_per_s:.4f}; "
        f"rest of the run {watched.whole_s - watched.engine_s:.2f} s; supervisor {watched.runner_cpu_s:.2f} s of CPU"
    )


def report(pairs: list[tuple[Timing, Timing]]) -> None:
    pace_ratio = statistics.median(watched.steps_per_s / alone.steps_per_s for alone, watched in pairs)
    wall_ratio = statistics.median(alone.engine_s / watched.engine_s for alone, watched in pairs)
    whole_ratio = statistics.median(alone.whole_s / watched.whole_s for alone, watched in pairs)
    cpu = statistics.median(watched.runner_cpu_s / watched.engine_s for _, watched in pairs)
    around = statistics.median(watched.whole_s - watched.engine_s for _, watched in pairs)
    memory = max(watched.runner_bytes for _, watched in pairs) / 2**20
    print(f"steps/s, supervised/bare:            {pace_ratio:.4f}  (goal {GOAL})")
    print(f"engine's wall time, bare/supervised: {wall_ratio:.4f}  (goal {GOAL})")
    print(
        f"whole wall time, bare/supervised:    {whole_ratio:.4f}  ({around:.2f} s per run for start, acceptance, delivery)"
    )
    print(f"supervisor: {100 * cpu:.2f} % of one core, {memory:.0f} MiB")


if __name__ == "__main__":
    main()

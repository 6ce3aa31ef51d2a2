"""How long it takes to attach to a job with many events, and until a reader sees a new event.

Usage: python benchmarks/attach.py [--events 50000]
Goal: the summary of 50,000 events within 0.5 s.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from trainer_core import events
from trainer_core.events import Progress, Step
from trainer_core.jobs.folder import JobFolder
from trainer_core.jobs.job import Job
from trainer_core.jobs.journal import Journal
from trainer_core.jobs.spec import Spec
from trainer_core.jobs.spec import Step as Command

GOAL_S = 0.5


def made(folder: Path, count: int) -> JobFolder:
    here = JobFolder.create(folder, "attached")
    here.write_spec(Spec("commands", (Command("only", ("true",)),), here.path, total_steps=count))
    happened = (
        each for step in range(1, count // 2 + 1) for each in (Progress(step, count, 0.5), Step(step, 0.1, 1e-4))
    )
    with here.events.open("w") as file:
        file.writelines(json.dumps({"time": time.time(), **events.to_dict(each)}) + "\n" for each in happened)
    return here


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--events", type=int, default=50_000)
    count = parser.parse_args().events
    with tempfile.TemporaryDirectory() as folder:
        here = made(Path(folder), count)
        wall, cpu = [], []
        for _ in range(5):
            begun, begun_cpu = time.perf_counter(), time.process_time()
            step = Job.attach(here.path).summary.step
            wall.append(time.perf_counter() - begun)
            cpu.append(time.process_time() - begun_cpu)
            assert step == count // 2
        job, journal, latency = Job(here), Journal(here.events), []
        _ = job.summary
        for step in range(count // 2 + 1, count // 2 + 201):
            begun = time.perf_counter()
            journal.write(Step(step, 0.1, 1e-4))
            assert job.summary.last_step == step
            latency.append(time.perf_counter() - begun)
    print(
        f"{count} events: median {statistics.median(wall):.3f} s, CPU {statistics.median(cpu):.3f} s; a new event is written "
        f"and read in {1000 * statistics.median(latency):.2f} ms; load {os.getloadavg()[0]:.1f}"
    )
    return 0 if statistics.median(wall) <= GOAL_S else 1


if __name__ == "__main__":
    sys.exit(main())

"""How long it takes to list many jobs: their states and their progress.

Usage: python benchmarks/job_list.py [--jobs 1000] [--events 500]
Goal: 1,000 jobs that have ended within 0.5 s. The folders are copies of those of a real job; the last of five lists counts as much
as the first, because a new process lists each time.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from trainer_core import events
from trainer_core.events import Progress, Step
from trainer_core.jobs.folder import JobFolder
from trainer_core.jobs.job import Job
from trainer_core.jobs.spec import Spec
from trainer_core.jobs.spec import Step as Command

ROOT = Path(__file__).resolve().parents[1]
GOAL_S = 0.5
LISTING = """
import json, sys, time
from pathlib import Path
from trainer_core.jobs.job import list_jobs
from trainer_core.jobs.recovery import recover
begun, cpu = time.perf_counter(), time.process_time()
jobs = list_jobs(Path(sys.argv[1]))
recover(jobs)
rows = [(job.name, job.state.name, job.figures["step"], job.is_stale) for job in jobs]
print(json.dumps([len(rows), time.perf_counter() - begun, time.process_time() - cpu]))
"""


def make(folder: Path, jobs: int, count: int) -> None:
    """One real job that has ended, with as many events as asked for, and copies of its folder."""
    here = JobFolder.create(folder, "listed")
    spec = Spec("commands", (Command("only", (sys.executable, "-c", "")),), here.path, total_steps=count)
    here.write_spec(spec)
    job = Job(here)
    job.launch()
    job.wait()
    while job.host.alive(here.path, "supervisor"):
        time.sleep(0.01)
    happened = (
        each for step in range(1, count // 2 + 1) for each in (Progress(step, count, 0.5), Step(step, 0.1, 1e-4))
    )
    with here.events.open("a") as file:
        file.writelines(json.dumps({"time": time.time(), **events.to_dict(each)}) + "\n" for each in happened)
    for number in range(1, jobs):
        shutil.copytree(here.path, folder / f"20260101-{number:06d}-listed")


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--events", type=int, default=500)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder), asked.jobs, asked.events)
        command = [sys.executable, "-c", LISTING, folder]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        found = [
            json.loads(subprocess.run(command, env=environment, capture_output=True, check=True).stdout)
            for _ in range(5)
        ]
    count, wall, cpu = found[0][0], [each[1] for each in found], [each[2] for each in found]
    print(
        f"{count} jobs: median {statistics.median(wall):.3f} s, worst {max(wall):.3f} s, "
        f"CPU {statistics.median(cpu):.3f} s; load {os.getloadavg()[0]:.1f}"
    )
    return 0 if statistics.median(wall) <= GOAL_S else 1


if __name__ == "__main__":
    sys.exit(main())

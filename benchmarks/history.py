"""The time to list 1,000 runs, as `easel runs history` does: python benchmarks/history.py [RUNS]."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.support.written_runs import write_run
from trainer_core.jobs.queueing import requests
from trainer_core.training.history import Filter, history


def main(count: int) -> None:
    for is_old in (False, True):
        with tempfile.TemporaryDirectory() as home:
            os.environ["EASEL_HOME"] = home
            for number in range(count):
                name = f"2026{number % 12 + 1:02}{number % 28 + 1:02}-{number % 24:02}0000-mika-{number}"
                write_run(name, is_old=is_old, network__rank=number % 64 + 1)
            took = []
            for _ in range(4):
                start = time.perf_counter()
                found = history(wanted=Filter(state="completed"))
                took.append(time.perf_counter() - start)
            assert len(found) == count
            who = "an older Easel" if is_old else "this Easel"
            print(f"{count} runs of {who}: {took[0]:.3f} s for the first time, then {min(took):.3f} s", flush=True)
            print(f"  in a new process: {_in_a_new_process():.3f} s")
            start = time.perf_counter()
            requests.wake()
            print(f"  waking an empty queue: {1000 * (time.perf_counter() - start):.2f} ms")


def _in_a_new_process() -> float:
    """The time that the history takes in a process that has read no run before."""
    code = (
        "import time; from trainer_core.training.history import history; start = time.perf_counter(); history(); "
        "print(time.perf_counter() - start)"
    )
    told = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).parents[1], check=True, capture_output=True, text=True
    )
    return float(told.stdout)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)

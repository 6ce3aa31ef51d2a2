"""How long it takes from the start of a run until its engine's process exists.

Usage: python benchmarks/launch.py [--runs 15]
Goal: 0.5 s (median). The run is prepared before; the rehearsal engine trains 20 steps.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from trainer_core.engines import registry
from trainer_core.plan.sections import TrainingPlan
from trainer_core.training.run import Run

GOAL_S = 0.5
PAUSE_S = 1.0
"""What is called after a job needs the processor for a moment."""


def seconds(plan: TrainingPlan, folder: Path) -> float:
    run = Run.prepare(plan, registry.get("rehearsal"), folder=folder)
    began = time.perf_counter()
    run.launch()
    while not (run.folder.path / "engine.json").exists():
        time.sleep(0.002)
    took = time.perf_counter() - began
    run.wait()
    time.sleep(PAUSE_S)
    return took


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=15)
    count = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        plan = TrainingPlan.model_validate(
            {
                "model": {"family": "sd15"},
                "schedule": {"steps": 20},
                "output": {"name": "benchmark", "folder": str(folder / "out")},
                "native": {"rehearsal": {"steps_per_second": 0.0}},
            }
        )
        took = sorted(seconds(plan, folder / "runs") for _ in range(count))
    middle = statistics.median(took)
    print(f"{count} runs: median {middle:.3f} s, from {took[0]:.3f} to {took[-1]:.3f} s; load {os.getloadavg()[0]:.1f}")
    return 0 if middle <= GOAL_S else 1


if __name__ == "__main__":
    sys.exit(main())

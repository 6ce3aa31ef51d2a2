"""The demo: from nothing to an accepted LoRA with a real engine. `python installer.py demo` runs it.

With a GPU and the Hugging Face Hub it trains on a real base model and makes a picture before and after. Without them it
makes a base model of random numbers, says so, and shows that every part works.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

from trainer_core import environments, hardware, places
from trainer_core.cli import show
from trainer_core.cli.runs import follow_run, run_result
from trainer_core.demo import assets
from trainer_core.demo.dataset import draw_dataset
from trainer_core.errors import EaselError, PlanError
from trainer_core.workbench import Workbench

KOHYA_RAM_GIB = 10
"""sd-scripts on a CPU with random SD1.5 weights at 64 px peaks at 7 GiB; the rest is for everything else."""
GIB = 1024**3


def main() -> int:
    """Runs the demo and returns its exit code."""
    parser = argparse.ArgumentParser(prog="python installer.py demo", description=__doc__)
    parser.add_argument("--backend", default="", help="kohya or simpletuner; default: what can be had on this machine")
    parser.add_argument("--accelerator", choices=["auto", "cuda", "rocm", "xpu", "cpu"], default="auto")
    parser.add_argument("--source", default=None, help="where to take the engine's sources from: a folder or a git URL")
    options = parser.parse_args()
    started = time.monotonic()
    try:
        return demo(options.backend, options.accelerator, options.source, started)
    except PlanError as error:
        show.problems(error.problems)
        return 3
    except EaselError as error:
        show.error(error)
        return 1


def demo(engine: str, accelerator: str, source: str | None, started: float) -> int:
    """Installs, draws, makes or fetches, trains, accepts, and says where everything is."""
    machine = hardware.machine(places.home())
    engine = engine or choose_engine(machine, source)
    show.line(f"1. Engine: {engine}", "bold")
    fresh = environments.installed(engine) is None
    environments.install(
        engine, accelerator=accelerator, source=source if engine == "kohya" else None, report=show.line, tried=False
    )
    show.line("2. Dataset", "bold")
    folder = places.home() / "demo" / "pictures"
    trigger = draw_dataset(folder)
    show.line(f"Drew {len(list(folder.glob('*.png')))} captioned pictures of {trigger} into {folder}")
    show.line("3. Base model", "bold")
    real = machine.accelerator.kind != "cpu" and accelerator != "cpu" and assets.hub_reachable()
    model = assets.download_base(engine, report=show.line) if real else assets.make_base(engine, report=show.line)
    show.line("4. Training", "bold")
    bench = Workbench(machine=machine, engine=engine)
    bench.set(settings(engine, model, folder, trigger, real))
    run = bench.start()
    follow_run(run)
    code = run_result(run, as_json=False)
    seconds = time.monotonic() - started
    if fresh:
        # Left until now: it takes a minute, and the demo's own optimizer is the one that every machine has.
        show.line("5. Which optimizers work here", "bold")
        environments.trial(engine, report=show.line)
    if code == 0:
        farewell(engine, seconds, real)
    return code


def choose_engine(machine: hardware.Machine, source: str | None) -> str:
    """The engine id: kohya where its source can be reached and memory allows, else SimpleTuner; said aloud."""
    free_gib = machine.free_ram_bytes / GIB
    if not environments.obtainable("kohya", source):
        show.line("The sources of kohya sd-scripts cannot be reached from here, so the demo uses SimpleTuner.")
        return "simpletuner"
    if machine.accelerator.kind == "cpu" and free_gib < KOHYA_RAM_GIB:
        show.line(
            f"kohya needs {KOHYA_RAM_GIB} GiB of memory on a CPU and {free_gib:.0f} are free, so the demo uses SimpleTuner."
        )
        return "simpletuner"
    return "kohya"


def settings(engine: str, model: Path, pictures: Path, trigger: str, real: bool) -> dict[str, Any]:
    """The demo's settings by path: a short real training with a GPU, else the smallest that goes through every part."""
    values: dict[str, Any] = {
        "model.path": str(model),
        "dataset.path": str(pictures),
        "dataset.trigger": trigger,
        "output.name": f"easel-demo-{engine}",
        "network.rank": 16 if real else 4,
        "network.alpha": 16.0 if real else 4.0,
    }
    if real:
        side = 512 if engine == "kohya" else 1024
        return values | {
            "dataset.resolution": side,
            "schedule.steps": 300,
            "sampling.every_steps": 300,
            "sampling.at_start": True,
            "sampling.prompt": "{trigger}, a round blue creature with a red beret, in a garden",
            "sampling.width": side,
            "sampling.height": side,
        }
    return values | {
        "dataset.resolution": 64,
        "schedule.steps": 8,
        "schedule.scheduler": "constant",
        "optimizer.learning_rate": 1e-3,
        "memory.gradient_checkpointing": False,
    }


def farewell(engine: str, seconds: float, real: bool) -> None:
    """Prints what the whole took, what the LoRA is worth, and how to go on."""
    show.line()
    show.line(f"Trained with {engine} in {seconds:.0f} s, installing included.", "bold green")
    if not real:
        show.line(
            "The base model was made of random numbers, so this LoRA is good for nothing but showing that everything works."
        )
    show.line("Next: python installer.py lab    opens JupyterLab; run the one cell of notebooks/LoRA_Trainer.ipynb.")
    show.line("This run is in the notebook's history, and in: .venv/bin/easel runs show last")


if __name__ == "__main__":
    sys.exit(main())

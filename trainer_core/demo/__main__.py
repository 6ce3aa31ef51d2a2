"""The demo: from nothing to an accepted LoRA with a real engine. `python installer.py demo` runs it.

With a GPU and the Hugging Face Hub, it trains on a real base model and makes an image before and after. Without them, it
makes a base model with random weights, says so, and shows that every part works.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from trainer_core import hardware, places
from trainer_core.cli import show
from trainer_core.cli.runs import follow_run, run_result
from trainer_core.demo import assets
from trainer_core.demo.dataset import draw_dataset
from trainer_core.engines import manifest
from trainer_core.engines.manifest import BackendManifest
from trainer_core.errors import EaselError, PlanError
from trainer_core.install import environments, hub_reach
from trainer_core.prepare.workbench import Workbench

GIB = 1024**3


def main() -> int:
    """Runs the demo and returns its exit code."""
    parser = argparse.ArgumentParser(prog=places.command("demo"), description=__doc__)
    parser.add_argument(
        "--backend", default="", help="the id of an engine; default: one that can be installed on this machine"
    )
    parser.add_argument("--accelerator", choices=["auto", *hardware.KINDS], default="auto")
    parser.add_argument(
        "--source",
        action="append",
        default=[],
        metavar="ENGINE=FOLDER_OR_URL",
        help="where to get the source code of an engine",
    )
    options = parser.parse_args()
    if any("=" not in text for text in options.source):
        parser.error("--source takes ENGINE=FOLDER_OR_URL")
    started = time.monotonic()
    try:
        sources = dict(text.split("=", 1) for text in options.source)
        return demo(options.backend, options.accelerator, sources, started)
    except PlanError as error:
        show.problems(error.problems)
        return 3
    except EaselError as error:
        show.error(error)
        return 1


def demo(engine: str, accelerator: str, sources: Mapping[str, str], started: float) -> int:
    """Installs the engine, draws the dataset, gets a base model, trains, and returns the exit code."""
    machine = hardware.machine(places.home())
    engine = engine or choose_engine(machine, sources)
    show.line(f"1. Engine: {engine}", "bold")
    # Trying all optimizers takes longer than the whole demo, and the demo's own optimizer works everywhere.
    environments.install(engine, accelerator=accelerator, source=sources.get(engine), report=show.line, tried=False)
    show.line("2. Dataset", "bold")
    folder = places.home() / "demo" / "images"
    trigger = draw_dataset(folder)
    show.line(f"Drew {len(list(folder.glob('*.png')))} captioned images of {trigger} into {folder}")
    show.line("3. Base model", "bold")
    real = (
        machine.accelerator.kind != "cpu" and accelerator != "cpu" and hub_reach.reach(hub_reach.TRIES_S + 1) == "yes"
    )
    model = assets.download_base(engine, report=show.line) if real else assets.make_base(engine, report=show.line)
    show.line("4. Training", "bold")
    bench = Workbench(machine=machine, engine=engine)
    bench.set(settings(manifest.read(engine), model, folder, trigger, real))
    run = bench.start()
    follow_run(run)
    code = run_result(run, as_json=False)
    if code == 0:
        print_summary(engine, time.monotonic() - started, real)
    return code


def choose_engine(machine: hardware.Machine, sources: Mapping[str, str]) -> str:
    """The id of the first engine by rank whose sources can be reached and for which memory suffices, else of the last."""
    able = [each for each in manifest.shipped() if each.demo]
    for each, following in pairwise(able):
        reason = _why_not(each, machine, sources.get(each.id))
        if not reason:
            return each.id
        show.line(f"{reason}, so the demo uses {following.title}.")
    return able[-1].id


def _why_not(engine: BackendManifest, machine: hardware.Machine, source: str | None) -> str:
    """Why the demo cannot use an engine, without a full stop at the end; "" when it can."""
    if not environments.obtainable(engine.id, source):
        return f"The sources of {engine.title} cannot be reached from here"
    free_gib, needed_gib = machine.free_ram_bytes / GIB, assets.demo_of(engine).ram_gib
    if machine.accelerator.kind == "cpu" and free_gib < needed_gib:
        return f"{engine.title} needs {needed_gib:g} GiB of memory on a CPU and {free_gib:.0f} are free"
    return ""


def settings(engine: BackendManifest, model: Path, images: Path, trigger: str, real: bool) -> dict[str, Any]:
    """The demo's settings by path: a short real training run with a GPU, else the smallest run that uses every part."""
    values: dict[str, Any] = {
        "model.path": str(model),
        "dataset.path": str(images),
        "dataset.trigger": trigger,
        "output.name": f"easel-demo-{engine.id}",
        "network.rank": 16 if real else 4,
        "network.alpha": 16.0 if real else 4.0,
    }
    if real:
        side = assets.demo_of(engine).resolution
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


def print_summary(engine: str, seconds: float, real: bool) -> None:
    """Prints the total time, what the LoRA is good for, and the next steps."""
    show.line()
    show.line(f"Trained with {engine} in {seconds:.0f} s, including the installation.", "bold green")
    if not real:
        show.line("The base model has random weights, so this LoRA is of no use except to show that everything works.")
    show.line(
        f"To see which other optimizers work on this machine: {places.easel()} backends trial {engine} (a minute or two)."
    )
    show.line(
        f"Next: {places.command('lab')} opens JupyterLab. There, run the code cell of notebooks/LoRA_Trainer.ipynb."
    )
    show.line(f"This run is in the notebook's history. To show it here: {places.easel()} runs show last")


if __name__ == "__main__":
    sys.exit(main())

"""accelerate's launcher, which starts an engine on several devices if a plan asks for that.

Its options are in the table `launch` of the native settings. It always gets a configuration file of the run:
without one it uses the one from the user's own `accelerate config`, and starts one process for each GPU.

Source: accelerate 1.6.0 and 1.15.0, commands/launch.py, _validate_launch_command, and commands/config/config_args.py.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from trainer_core.hardware import Machine
from trainer_core.plan.sections import TrainingPlan
from trainer_core.problems import Problem

TABLE = "launch"
"""The table of native settings for the launcher."""
CONFIG = PurePosixPath("engine") / "launch.json"


def processes(launch: Mapping[str, Any]) -> int:
    """The number of processes that train at the same time, from the launch settings."""
    count = launch.get("num_processes", 1)
    return count if isinstance(count, int) and count > 0 else 1


def config(launch: Mapping[str, Any], precision: str) -> str:
    """The launcher's configuration as JSON: the values that it would otherwise detect. Options override it."""
    count = processes(launch)
    is_spread = count > 1 and not launch.get("use_fsdp")
    table = {
        "compute_environment": "LOCAL_MACHINE",
        "distributed_type": "MULTI_GPU" if is_spread else "NO",
        "num_machines": 1,
        "num_processes": count,
        "mixed_precision": precision,
        "use_cpu": False,
        "debug": False,
    }
    return json.dumps(table, indent=2) + "\n"


def command(python: Path, launch: Mapping[str, Any], file: Path) -> tuple[str, ...]:
    """The arguments that start the launcher with its options and its configuration; those of the program follow them."""
    options = [argument for name, value in launch.items() for argument in _arguments(name, value)]
    return (str(python), "-m", "accelerate.commands.launch", f"--config_file={file}", *options)


def _arguments(name: str, value: Any) -> tuple[str, ...]:
    """The option as a single argument, so that a value can never become a separate option; a flag is present if it is true."""
    if isinstance(value, bool):
        return (f"--{name}",) if value else ()
    return (f"--{name}={value}",)


def check(engine: str, plan: TrainingPlan, launch: Mapping[str, Any], machine: Machine) -> Iterator[Problem]:
    """The Problems of launch settings with valid names and types that stop the launcher or start a wrong number of processes.

    What several processes mean for the batch and the steps is said as well.
    """
    count, path = launch.get("num_processes", 1), f"native.{engine}.{TABLE}"
    cards = sum(accelerator.kind != "cpu" for accelerator in machine.accelerators)
    if count < 1:
        yield Problem(f"{path}.num_processes", "error", "The number of processes must be at least 1.")
    elif count > max(1, cards):
        message = f"{count} processes need {count} GPUs, but this machine has {cards or 'none'}."
        yield Problem(f"{path}.num_processes", "error", message)
    elif count > 1:
        yield Problem(f"{path}.num_processes", "info", _together(plan, count))
    if launch.get("multi_gpu") and count < 2:
        message = "multi_gpu needs two or more processes: set num_processes."
        yield Problem(f"{path}.multi_gpu", "error", message)
    if launch.get("multi_gpu") and launch.get("use_fsdp"):
        yield Problem(f"{path}.multi_gpu", "error", "multi_gpu and use_fsdp cannot be used together: remove multi_gpu.")
    gpu_ids = str(launch.get("gpu_ids", "all"))
    if gpu_ids != "all" and len(gpu_ids.split(",")) < count:
        message = f"gpu_ids lists fewer GPUs than there are processes ({count})."
        yield Problem(f"{path}.gpu_ids", "error", message)


def _together(plan: TrainingPlan, count: int) -> str:
    """What each step means when several processes train.

    Source: accelerate, "Comparing performance across distributed setups": each process gets batches of its own.
    """
    steps, batch = plan.schedule.steps, plan.schedule.batch_size * plan.schedule.gradient_accumulation
    return (
        f"Each of the {count} processes trains its own batch: {count * batch} images in a step instead of {batch}. "
        f"{steps} steps are then {steps * count * batch} images; for as many images as one process would train, {math.ceil(steps / count)} steps are enough. "
        "Two runs at the same time, one for each GPU, use the GPUs better than one run on all of them."
    )

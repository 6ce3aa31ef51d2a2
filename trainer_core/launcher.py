"""accelerate's launcher, by which an engine that trains with it is started when a plan asks for several devices.

What stands in a table `launch` of the native settings are its options. It is always given a configuration of the run's own:
without one it takes that of the person's own `accelerate config`, and as many processes as there are cards.

Source: accelerate 1.6.0 and 1.15.0, commands/launch.py, _validate_launch_command, and commands/config/config_args.py.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from trainer_core.hardware import Machine
from trainer_core.problems import Problem

TABLE = "launch"
"""The table of native settings that go to the launcher."""
CONFIG = PurePosixPath("engine") / "launch.json"


def processes(launch: Mapping[str, Any]) -> int:
    """How many processes train at once, as the launch settings say."""
    count = launch.get("num_processes", 1)
    return count if isinstance(count, int) and count > 0 else 1


def config(launch: Mapping[str, Any], precision: str) -> str:
    """The launcher's configuration as JSON: all that it would else take from elsewhere. Options outrank it."""
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
    """The words that start the launcher with its options and its configuration, before those of the program."""
    options = [word for name, value in launch.items() for word in _words(name, value)]
    return (str(python), "-m", "accelerate.commands.launch", f"--config_file={file}", *options)


def _words(name: str, value: Any) -> tuple[str, ...]:
    """One word, so that a value can never become an option of its own; a switch is named when it is on."""
    if isinstance(value, bool):
        return (f"--{name}",) if value else ()
    return (f"--{name}={value}",)


def check(engine: str, launch: Mapping[str, Any], machine: Machine) -> Iterator[Problem]:
    """The Problems of launch settings whose names and types are right: the launcher would stop, or start another number."""
    count, path = launch.get("num_processes", 1), f"native.{engine}.{TABLE}"
    cards = sum(accelerator.kind != "cpu" for accelerator in machine.accelerators)
    if count < 1:
        yield Problem(f"{path}.num_processes", "error", "At least one process trains.")
    elif count > max(1, cards):
        message = f"{count} processes need as many GPUs, and this machine has {cards or 'none'}."
        yield Problem(f"{path}.num_processes", "error", message)
    if launch.get("multi_gpu") and count < 2:
        message = "multi_gpu trains with two processes or more: give num_processes."
        yield Problem(f"{path}.multi_gpu", "error", message)
    if launch.get("multi_gpu") and launch.get("use_fsdp"):
        yield Problem(f"{path}.multi_gpu", "error", "multi_gpu and use_fsdp exclude each other: leave multi_gpu out.")
    named = str(launch.get("gpu_ids", "all"))
    if named != "all" and len(named.split(",")) < count:
        message = f"gpu_ids names fewer GPUs than the {count} processes that train."
        yield Problem(f"{path}.gpu_ids", "error", message)

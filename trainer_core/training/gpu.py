"""The GPU of a run: what users call it, and the variables with which its programs see only that one."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Mapping, Sequence

from trainer_core import hardware
from trainer_core.errors import RunError, wrong_use
from trainer_core.hardware import Machine
from trainer_core.jobs.queueing.occupancy import chosen_elsewhere
from trainer_core.jobs.spec import Step

NO_GPU = "cpu"
"""In the place of a GPU on a machine without one: there is one queue, too."""
_UNIQUE = re.compile(r"(?:GPU|MIG)-[0-9A-Za-z/-]{4,80}")
_VARIABLES = frozenset({"CUDA_DEVICE_ORDER", "CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES"})
_ISOLATED = ("cuda", "rocm")
"""The kinds of device of which a program can be given a single one."""


def known(machine: Machine) -> tuple[str, ...]:
    """The GPUs of a machine, as users call them: 0, 1, ...; `NO_GPU` on a machine without one."""
    first = machine.accelerator.kind
    if first == "cpu":
        return (NO_GPU,)
    count = sum(device.kind == first for device in machine.accelerators) if first in _ISOLATED else 1
    return tuple(map(str, range(count)))


def usual(machine: Machine, environment: Mapping[str, str] | None = None) -> str:
    """The GPU that a run uses if nobody chooses one: the first that the drivers' variables leave visible."""
    first = known(machine)[0]
    seen = chosen_elsewhere(environment) if first != NO_GPU else ""
    return (hardware.nvidia_index(seen) or seen) if seen else first


def chosen(text: str, machine: Machine) -> str:
    """The GPU that a user names by its number or its unique id; "" chooses the usual one.

    Raises:
        RunError: this machine has no such GPU.
    """
    wanted = text.strip()
    if not wanted:
        return usual(machine)
    if wanted in (all_of := known(machine)):
        return wanted
    if _UNIQUE.fullmatch(wanted) and all_of[0] != NO_GPU:
        found = hardware.nvidia_index(wanted)
        if found or wanted.startswith("MIG-"):
            return found or wanted
    has = "no GPU" if all_of[0] == NO_GPU else f"the GPUs {', '.join(all_of)}"
    raise wrong_use(
        RunError(f"There is no GPU {wanted!r:.100}.", f"This machine has {has}; `easel doctor` lists what it finds.")
    )


def machine_with(machine: Machine, gpu: str) -> Machine:
    """The machine with this GPU as its first, so that checks and estimates are about it."""
    if not gpu.isdecimal() or (place := int(gpu)) >= len(machine.accelerators):
        return machine
    device, rest = machine.accelerators[place], [*machine.accelerators]
    rest.remove(device)
    return dataclasses.replace(machine, accelerators=(device, *rest))


def visible_only(gpu: str, kind: str) -> dict[str, str]:
    """The environment variables with which a program sees only this GPU; none for a kind of device that has no such variable.

    The numbers are those of nvidia-smi, which orders GPUs by their PCI address; CUDA itself puts the fastest first.

    Source: CUDA C++ Programming Guide, "CUDA Environment Variables"; ROCm documentation, "GPU isolation techniques".
    """
    if kind == "cuda":
        order = os.environ.get("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
        return {"CUDA_DEVICE_ORDER": order, "CUDA_VISIBLE_DEVICES": gpu}
    return {"HIP_VISIBLE_DEVICES": gpu} if kind == "rocm" else {}


def seen_by(steps: Sequence[Step]) -> dict[str, str]:
    """The variables in the environment of these steps that say which GPU they see; none if they see all."""
    return {name: value for step in steps for name, value in step.environment.items() if name in _VARIABLES}


def steps_on(steps: tuple[Step, ...], variables: Mapping[str, str]) -> tuple[Step, ...]:
    """The steps with these variables in the environment of each."""
    return tuple(dataclasses.replace(step, environment={**step.environment, **variables}) for step in steps)

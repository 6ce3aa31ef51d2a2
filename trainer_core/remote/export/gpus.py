"""The GPUs that an export can ask for, and the machine that a plan is checked for."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

from trainer_core.errors import RemoteError, wrong_use
from trainer_core.files import from_table, read_toml
from trainer_core.hardware import Accelerator, Machine

NONE = "none"
"""In the place of the name of a GPU: a machine without one."""
GIB = 2**30
FREE = 0.96
"""The share of the memory of a GPU that a program can use: the driver keeps some, and 24 GB cards have a little less than 24 GiB."""
CPUS, RAM_GIB, DISK_GIB = 8, 64, 1000
"""What the machine is taken to have besides its GPUs, while the plan is checked."""


@dataclass(frozen=True)
class Gpu:
    """A GPU: `memory` in GiB, `capability` of CUDA, and the name that each scheduler has for it ("" for none)."""

    name: str
    memory: int
    capability: str
    skypilot: str = ""
    dstack: str = ""
    ray: str = ""

    @property
    def has_bf16(self) -> bool:
        """Whether it computes in bf16 natively: from compute capability 8.0 on."""
        return float(self.capability) >= 8


@functools.cache
def known() -> tuple[Gpu, ...]:
    """The GPUs, the one with the least memory first."""
    path = Path(__file__).with_name("gpus.toml")
    rows = read_toml(path, RemoteError, "Install Easel again.")["gpus"]
    return tuple(sorted((from_table(Gpu, row, str(path), RemoteError) for row in rows), key=lambda each: each.memory))


def named(name: str) -> Gpu:
    """The GPU with this name, upper and lower case being the same.

    Raises:
        RemoteError: it is not known.
    """
    found = next((each for each in known() if each.name.casefold() == name.casefold()), None)
    if found is None:
        names = ", ".join(each.name for each in known())
        raise wrong_use(RemoteError(f"{name!r:.50} is not a known GPU.", f"Known: {names}, and {NONE}."))
    return found


def machine(gpu: Gpu | None, count: int) -> Machine:
    """A machine with so many of these GPUs; None for one without."""
    cpu = Accelerator("cpu", "CPU")
    cards: tuple[Accelerator, ...] = ()
    if gpu is not None:
        memory = gpu.memory * GIB
        cards = (Accelerator("cuda", f"NVIDIA {gpu.name}", memory, int(memory * FREE), gpu.capability),) * count
    ram = RAM_GIB * GIB
    return Machine((*cards, cpu), ram, ram, DISK_GIB * GIB, CPUS, "Linux x86_64")

"""The environment variables that an engine needs on an AMD GPU."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from trainer_core.files import read_rows
from trainer_core.hardware import Machine


@dataclass(frozen=True)
class Variable:
    """A variable by its name, for GPUs whose architecture begins with one of `architectures`."""

    id: str
    value: str
    architectures: tuple[str, ...]
    why: str
    source: str


@functools.cache
def table() -> Mapping[str, Variable]:
    """Every variable, by its name."""
    return read_rows(Path(__file__).with_suffix(".toml"), Variable)


def variables(machine: Machine | None, environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """What the first GPU of a machine needs and `environment`, by default that of this process, does not have."""
    if machine is None or machine.accelerator.kind != "rocm":
        return {}
    present, name = os.environ if environment is None else environment, machine.accelerator.architecture
    return {
        row.id: row.value for row in table().values() if row.id not in present and name.startswith(row.architectures)
    }

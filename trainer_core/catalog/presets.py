"""Memory presets: settings with which a training fits into the memory of a GPU, as data.

A preset overrides the profile, and the user's values override the preset.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trainer_core.errors import EaselError, wrong_use
from trainer_core.files import read_rows
from trainer_core.hardware import Machine

FILE = Path(__file__).with_name("presets.toml")
GIB = 1024**3
LEAST_SHARE = 0.9
"""The lowest share of its nominal memory that a GPU reports. Source: 15.0 GiB on a T4 of 16, 22.5 on an A10G of 24."""


@dataclass(frozen=True)
class Preset:
    """One preset.

    `families` and `methods` are those it is for, empty meaning any; `vram_gib` is the memory of the GPU it is for; `values` are
    settings by dotted path, and `by_family` adds some for single families. `keeps_result`: it changes only memory and
    time, not the result.
    """

    id: str
    title: str
    vram_gib: float
    explanation: str
    sources: tuple[str, ...]
    values: Mapping[str, Any]
    families: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    by_family: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    keeps_result: bool = False

    def suits(self, family: str, method: str = "") -> bool:
        """Whether it is for this family and, if one is named, this method."""
        return (not self.families or family in self.families) and (
            not method or not self.methods or method in self.methods
        )

    def values_for(self, family: str) -> dict[str, Any]:
        """Its settings for a family, by dotted path."""
        return {**self.values, **self.by_family.get(family, {})}

    def fits(self, machine: Machine) -> bool:
        """Whether the machine's first GPU has enough memory for it."""
        return machine.accelerator.vram_bytes >= self.vram_gib * GIB * LEAST_SHARE


@functools.cache
def shipped() -> Mapping[str, Preset]:
    """The presets by id, in the order of the file.

    Raises:
        EaselError: the file cannot be read.
    """
    return read_rows(FILE, Preset)


def get(name: str) -> Preset:
    """The preset with this id.

    Raises:
        EaselError: there is no such preset.
    """
    found = shipped().get(name)
    if found is None:
        raise wrong_use(EaselError(f"There is no preset called {name!r:.80}.", f"Known: {', '.join(shipped())}."))
    return found


def for_family(family: str, method: str = "lora") -> list[Preset]:
    """The presets for a family and method: those made for it first, each group from small GPUs to large ones."""
    found = [preset for preset in shipped().values() if preset.suits(family, method)]
    return sorted(found, key=lambda preset: (not preset.families, preset.vram_gib))


def best(presets: Iterable[Preset], machine: Machine) -> Preset | None:
    """The preset for the largest memory that the machine's GPU has, those made for a family first; None if none fits."""
    fitting = [preset for preset in presets if preset.fits(machine)]
    return max(fitting, key=lambda preset: (bool(preset.families), preset.vram_gib), default=None)

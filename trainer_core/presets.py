"""Memory presets: settings that make a training fit a card, as data.

A preset lies over a profile and under what the user sets: the profile says what is learnt, the preset on what.
"""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trainer_core.errors import EaselError
from trainer_core.hardware import Machine

FILE = Path(__file__).with_name("presets.toml")
GIB = 1024**3
LEAST_SHARE = 0.9
"""The share of its nominal memory that a card shows at least. Source: 15.0 GiB on a T4 of 16, 22.5 on an A10G of 24."""


@dataclass(frozen=True)
class Preset:
    """One preset.

    `families` are those it is for, none meaning any; `vram_gib` the memory of the card it is for; `values` and, for
    some families more of them, `by_family` are settings by dotted path. `keeps_result`: it changes memory and time
    alone.
    """

    id: str
    title: str
    vram_gib: float
    explanation: str
    sources: tuple[str, ...]
    values: Mapping[str, Any]
    families: tuple[str, ...] = ()
    by_family: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    keeps_result: bool = False

    def suits(self, family: str) -> bool:
        """Whether it is for this family."""
        return not self.families or family in self.families

    def values_for(self, family: str) -> dict[str, Any]:
        """Its settings for a family, by dotted path."""
        return {**self.values, **self.by_family.get(family, {})}

    def fits(self, machine: Machine) -> bool:
        """Whether the machine's first device has the memory it is for."""
        return machine.accelerator.vram_bytes >= self.vram_gib * GIB * LEAST_SHARE


@functools.cache
def shipped() -> Mapping[str, Preset]:
    """The presets by id, in the order of the file.

    Raises:
        EaselError: the file is damaged.
    """
    try:
        tables = tomllib.loads(FILE.read_text(encoding="utf-8"))
        return {name: Preset(id=name, **_frozen(table)) for name, table in tables.items()}
    except (OSError, TypeError, ValueError) as error:
        raise EaselError(f"{FILE.name} cannot be used: {error}", "Install Easel again.") from error


def _frozen(table: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in table.items()}


def get(name: str) -> Preset:
    """The preset with this id.

    Raises:
        EaselError: there is none.
    """
    found = shipped().get(name)
    if found is None:
        raise EaselError(f"There is no preset called {name!r:.80}.", f"Known: {', '.join(shipped())}.")
    return found


def for_family(family: str) -> list[Preset]:
    """The presets for a family: those made for it first, each kind from small cards to large ones."""
    found = [preset for preset in shipped().values() if preset.suits(family)]
    return sorted(found, key=lambda preset: (not preset.families, preset.vram_gib))


def best(presets: Iterable[Preset], machine: Machine) -> Preset | None:
    """Of those that fit the machine's card, the first among those for the largest; None without such a card."""
    fitting = [preset for preset in presets if preset.fits(machine)]
    return max(fitting, key=lambda preset: (bool(preset.families), preset.vram_gib), default=None)

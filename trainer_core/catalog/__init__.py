"""What optimizers, schedulers and network algorithms are: meaning, which settings they read, and what they cost.

Each is one table of a TOML file here. How an engine calls it stands in that engine's `backend.toml`, so an engine from
outside edits nothing of this package. The settings themselves, with type and bounds, are declared in `plan.sections`.
"""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trainer_core.errors import EaselError


@dataclass(frozen=True)
class Entry:
    """What every entry has: its name in plans, a title, one or two sentences, and where its facts come from."""

    id: str
    title: str
    doc: str
    sources: tuple[str, ...] = ()


@dataclass(frozen=True)
class Optimizer(Entry):
    """One optimizer.

    `state_bytes` is what it keeps per trained parameter, beside weights and gradients. `settings` maps the names of
    `OptimizerSettings` it reads to the default of its reference implementation. `adapts`: it finds its learning rate by
    itself and wants 1. `schedule_free`: it takes no learning rate curve. `fallback` is the nearest optimizer that every
    machine has.
    """

    state_bytes: float = 8.0
    settings: Mapping[str, Any] = field(default_factory=dict)
    adapts: bool = False
    schedule_free: bool = False
    fallback: str = "AdamW"


@dataclass(frozen=True)
class Scheduler(Entry):
    """One learning rate curve; `settings` are the names of `ScheduleSettings` it reads beside the steps."""

    settings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Algorithm(Entry):
    """One kind of network; `settings` are the names of `NetworkSettings` it reads."""

    settings: tuple[str, ...] = ()


@functools.cache
def optimizers() -> Mapping[str, Optimizer]:
    """The optimizers by name."""
    return _read("optimizers", Optimizer)


@functools.cache
def schedulers() -> Mapping[str, Scheduler]:
    """The schedulers by name."""
    return _read("schedulers", Scheduler)


@functools.cache
def algorithms() -> Mapping[str, Algorithm]:
    """The network algorithms by name."""
    return _read("algorithms", Algorithm)


def _read(name: str, kind: type[Any]) -> dict[str, Any]:
    path = Path(__file__).with_name(f"{name}.toml")
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
        return {entry: kind(id=entry, **_frozen(table)) for entry, table in tables.items()}
    except (OSError, TypeError, ValueError) as error:
        raise EaselError(f"{path.name} of the catalogue cannot be used: {error}", "Install Easel again.") from error


def _frozen(table: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in table.items()}

"""What optimizers, schedulers, network algorithms, VAEs and text encoders are, as data.

Of the first three: their meaning, which settings they read and what they cost. Of VAEs and text encoders: by what a file is
known to be one, and where it can be had.

Each is one table of a TOML file here. How an engine calls it stands in that engine's `backend.toml`, so an engine from
outside edits nothing of this package. The settings themselves, with type and bounds, are declared in `plan.sections`.
"""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Callable, Mapping
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


@dataclass(frozen=True)
class PartSignature:
    """What the single file of a part has: names that begin where the part begins, and sizes, "*" standing for any.

    The first name of `shapes`, else of `present`, is the one that a file is searched for.
    """

    present: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    shapes: Mapping[str, tuple[int | str, ...]] = field(default_factory=dict)

    @property
    def landmark(self) -> str:
        """The name that a file is searched for."""
        return next(iter(self.shapes), "") or self.present[0]


@dataclass(frozen=True)
class PartSource:
    """Where a file can be had: a repository of the Hugging Face hub and a file in it.

    `families` are those it is for; empty where it serves every family that takes the kind.
    """

    repo: str
    file: str
    families: tuple[str, ...] = ()


@dataclass(frozen=True)
class Part:
    """One kind of file beside a diffusion model: a VAE or a text encoder.

    `signatures` are those of single files, with names that begin where the part begins. `sources` are in order of
    preference, and `prefer` are number formats in order of preference, as safetensors spells them. `apart` says why it
    is not used in training, "" where it is. `unproved` are the layouts that no real class has shown.
    """

    id: str
    title: str
    role: str
    doc: str
    signatures: tuple[PartSignature, ...]
    origin: str
    sources: tuple[PartSource, ...] = ()
    prefer: tuple[str, ...] = ()
    apart: str = ""
    unproved: tuple[str, ...] = ()

    def sources_for(self, family: str) -> tuple[PartSource, ...]:
        """Where the file for a family can be had, the first being the best."""
        return tuple(source for source in self.sources if not source.families or family in source.families)


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


@functools.cache
def parts() -> Mapping[str, Part]:
    """The kinds of files beside a diffusion model, by id."""
    return _read("parts", _part)


def _part(**table: Any) -> Part:
    unproved = tuple(text for entry in table["signatures"] if (text := entry.pop("unproved", "")))
    signatures = tuple(_part_signature(entry) for entry in table.pop("signatures"))
    sources = tuple(PartSource(**_frozen(entry)) for entry in table.pop("sources", ()))
    return Part(**table, signatures=signatures, sources=sources, unproved=unproved)


def _part_signature(table: Mapping[str, Any]) -> PartSignature:
    shapes = _frozen(table.get("shapes", {}))
    return PartSignature(**_frozen({**table, "shapes": shapes}))


def _read(name: str, kind: Callable[..., Any]) -> dict[str, Any]:
    path = Path(__file__).with_name(f"{name}.toml")
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
        return {entry: kind(id=entry, **_frozen(table)) for entry, table in tables.items()}
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise EaselError(f"{path.name} of the catalogue cannot be used: {error}", "Install Easel again.") from error


def _frozen(table: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in table.items()}

"""Data about optimizers, schedulers, network algorithms, VAEs, text encoders and memory presets. Not: how an engine calls them.

For the first three: their meaning, which settings they read and what they cost. For VAEs and text encoders: how to
recognise their files, and where to download them.

Each is one table of a TOML file here. How an engine names it is declared in that engine's `backend.toml`, so an outside
engine changes nothing in this package. The settings themselves, with type and bounds, are declared in `plan.sections`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trainer_core.errors import EaselError
from trainer_core.files import read_toml

FOLDER = Path(__file__).parent
"""Where the tables are."""


@dataclass(frozen=True)
class Entry:
    """What every entry has: its id in plans, a title, a description, and the sources of its facts."""

    id: str
    title: str
    doc: str
    sources: tuple[str, ...] = ()


@dataclass(frozen=True)
class Optimizer(Entry):
    """One optimizer.

    `state_bytes` is the memory of its state per trained parameter, besides weights and gradients. `settings` maps the
    names of `OptimizerSettings` it reads to the default of its reference implementation. `adapts`: it finds the learning
    rate itself, which must be set to 1. `follows_gradient`: its step is as large as the gradient times the learning rate; that of
    the others is as large as the learning rate, whatever the gradient. `one_rate`: it stops if parameters have different learning rates. `schedule_free`: it
    needs no learning rate schedule. `fallback` is the most similar optimizer that runs on every machine.
    """

    state_bytes: float = 8.0
    settings: Mapping[str, Any] = field(default_factory=dict)
    adapts: bool = False
    follows_gradient: bool = False
    one_rate: bool = False
    schedule_free: bool = False
    fallback: str = "AdamW"


@dataclass(frozen=True)
class Scheduler(Entry):
    """One learning rate schedule; `settings` are the names of `ScheduleSettings` it reads besides the steps."""

    settings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Algorithm(Entry):
    """One network algorithm; `settings` are the names of `NetworkSettings` it reads."""

    settings: tuple[str, ...] = ()


@dataclass(frozen=True)
class PartSignature:
    """How to recognise the file of a part: tensor names without the part's prefix, and shapes, "*" meaning any size.

    `vision`: whether the language model is that of a vision-language model, which stores its image encoder as "visual"; None
    where it does not matter. The first name of `shapes`, else of `present`, is the one searched for in a file.
    """

    present: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    shapes: Mapping[str, tuple[int | str, ...]] = field(default_factory=dict)
    vision: bool | None = None

    @property
    def landmark(self) -> str:
        """The tensor name searched for in a file."""
        return next(iter(self.shapes), "") or self.present[0]


@dataclass(frozen=True)
class PartSource:
    """Where to download a file: a repository on the Hugging Face Hub and a file in it.

    `families` are those it is for; empty means every family that uses this kind of part.
    """

    repo: str
    file: str
    families: tuple[str, ...] = ()


@dataclass(frozen=True)
class Part:
    """One kind of companion file of a diffusion model: a VAE or a text encoder.

    `signatures` describe files with only this part, by tensor names without its prefix. `sources` are in order of
    preference, and so are the dtypes in `prefer`, as safetensors names them. `apart` is the reason why it is not used in
    training, "" if it is. `unproved` are the layouts not yet checked against a real model class.
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
        """Where to download the file for a family, best first."""
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
    """The kinds of companion files of a diffusion model, by id."""
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
    path = FOLDER / f"{name}.toml"
    tables = read_toml(path, hint="Install Easel again.")
    try:
        return {entry: kind(id=entry, **_frozen(table)) for entry, table in tables.items()}
    except (KeyError, TypeError, ValueError) as error:
        raise EaselError(f"{path.name} of the catalog cannot be used: {error}", "Install Easel again.") from error


def _frozen(table: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in table.items()}

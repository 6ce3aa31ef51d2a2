"""The types of `translation.toml`, which maps values of a plan to the names of SimpleTuner."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trainer_core.errors import BackendError
from trainer_core.files import from_table, read_toml

FILE = Path(__file__).with_name("translation.toml")


@dataclass(frozen=True)
class Version:
    """What Easel was tested with in an older version, and which optimizers that version lacks."""

    families: tuple[str, ...]
    methods: tuple[str, ...]
    algorithms: tuple[str, ...]
    without_optimizers: tuple[str, ...]


@dataclass(frozen=True)
class Kind:
    """An algorithm of LyCORIS: its name there, the settings it reads, arguments that are always passed, its default layers."""

    algo: str
    reads: tuple[str, ...]
    fixed: Mapping[str, Any] = field(default_factory=dict)
    targets: str = "attention_mlp"  # Source: lycoris_defaults.py


@dataclass(frozen=True)
class Translation:
    """The tables of `translation.toml`; its comments say what each is for."""

    versions: Mapping[str, Version]
    optimizer_settings: Mapping[str, str]
    optimizer_defaults: Mapping[str, Mapping[str, float]]
    optimizer_refused: Mapping[str, str]
    optimizer_without: Mapping[str, tuple[str, ...]]
    lycoris: Mapping[str, Kind]
    network_settings: Mapping[str, str]


TRANSLATION = from_table(Translation, read_toml(FILE, BackendError), str(FILE), BackendError)

"""The folders in the diffusers layout, by family: their components, and where these are in one file."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trainer_core.errors import WeightsError
from trainer_core.files import from_table, read_toml

HINT = "Install Easel again."


@dataclass(frozen=True, kw_only=True)
class Component:
    """One part of a pipeline; pipelines.toml describes the keys."""

    component: str
    kind: str
    prefix: str
    layout: str
    library: str
    type: str
    config: str
    also: tuple[str, ...] = ()
    values: Mapping[str, Any] = field(default_factory=dict)
    optional: bool = False
    projection: bool = False

    @property
    def folder_layout(self) -> str:
        """The layout of its tensors in a folder."""
        return "transformers" if self.library == "transformers" else "diffusers"


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    """The folder of a family."""

    pipeline: str
    scheduler: str
    parts: tuple[Component, ...]
    tokenizers: Mapping[str, str]
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Tokenizer:
    """A tokenizer, and the repositories and folders in which its files are."""

    type: str
    title: str
    files: tuple[str, ...]
    more: tuple[str, ...]
    sources: tuple[tuple[str, str], ...]


@functools.cache
def pipelines() -> Mapping[str, Pipeline]:
    """The pipelines by family."""
    rows = _table()["pipelines"].items()
    return {name: from_table(Pipeline, row, f"pipelines.toml [{name}]", WeightsError, HINT) for name, row in rows}


@functools.cache
def tokenizers() -> Mapping[str, Tokenizer]:
    """The tokenizers by id."""
    rows = _table()["tokenizers"].items()
    return {name: from_table(Tokenizer, row, f"pipelines.toml [{name}]", WeightsError, HINT) for name, row in rows}


def config(name: str) -> dict[str, Any]:
    """A new copy of a table of [configs]."""
    return dict(_table()["configs"][name])


def scheduler(name: str) -> dict[str, Any]:
    """A new copy of a table of [schedulers]."""
    return dict(_table()["schedulers"][name])


def of(family: str | None) -> Pipeline:
    """The pipeline of a family.

    Raises:
        WeightsError: Easel makes no folders of this family.
    """
    found = pipelines().get(family or "")
    if found is None:
        raise WeightsError(
            "Easel converts between one file and a diffusers folder for Stable Diffusion 1, 2, XL and 3, and FLUX.1. "
            "This model is none of these.",
            "Use the program of its authors.",
        )
    return found


@functools.cache
def _table() -> Mapping[str, Any]:
    return read_toml(Path(__file__).with_name("pipelines.toml"), WeightsError, HINT)

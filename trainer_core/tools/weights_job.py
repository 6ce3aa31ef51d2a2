"""What the tools for LoRAs share and need little for: the name of the new file, and its recipe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from trainer_core.models import header
from trainer_core.tools import making, recipe
from trainer_core.weights import new_paths


def target(typed: str, inputs: Sequence[Path], ending: str) -> Path:
    """The path of the new file: as typed, else next to the first input with an ending.

    Raises:
        WeightsError: it exists already.
    """
    first = inputs[0]
    usual = first.with_name(f"{new_paths.stem(first.name)}-{ending}.safetensors")
    path = making.chosen(typed, first.parent) if typed else usual
    making.check_target(path, inputs)
    return path


def recipe_of(tool: str, settings: Mapping[str, Any], inputs: Sequence[Path]) -> dict[str, str]:
    """The metadata that says how a file was made. The settings may have no folders."""
    hashed = [recipe.hashed(header.read_file(each)) for each in inputs]
    found = {recipe.KEY: recipe.of(tool, settings, hashed).text()}
    if len(inputs) > 1:
        found[recipe.MERGED_FROM] = ", ".join(each.stem for each in inputs)
    return found

"""The alpha of the modules of a network whose file states it outside the tensors: in PEFT's metadata, or in its configuration beside the file."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainer_core.errors import EaselError
from trainer_core.models import header as headers
from trainer_core.models.header import Header
from trainer_core.models.loaders import PEFT

CONFIG, FILE = "adapter_config.json", "adapter_model.safetensors"
"""PEFT's own files. Source: PEFT 0.21.2, utils/constants.py."""
_COMPONENT = re.compile(r"(unet|transformer|text_encoder|text_encoder_2|text_encoder_3)\.(.+)")


class Stated:
    """What a file states of alpha outside its tensors."""

    def __init__(self, header: Header) -> None:
        self._rows = _by_component(header)

    def __bool__(self) -> bool:
        """Whether it states anything."""
        return bool(self._rows)

    def alpha(self, module: str, rank: int) -> float | None:
        """The alpha of a module, so that alpha / rank is its scale; None if the file does not state it."""
        component, layer = _split(module)
        rows = self._rows.get(component) or self._rows.get("")
        if not rows or not rank:
            return None
        value = _of_pattern(rows.get("alpha_pattern"), layer)
        value = rows.get("lora_alpha") if value is None else value
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            return None
        # Source: PEFT 0.21.2, tuners/lora/layer.py, update_layer: with rslora the scale is alpha / sqrt(rank).
        return value * math.sqrt(rank) if rows.get("use_rslora") is True else float(value)


def _split(module: str) -> tuple[str, str]:
    found = _COMPONENT.fullmatch(module)
    component, layer = (found[1], found[2]) if found else ("", module)
    return component, layer.removeprefix("base_model.model.")


def _of_pattern(patterns: Any, layer: str) -> Any:
    """The value for a layer among those for layers that end with a name. Source: PEFT 0.21.2, utils/other.py, get_pattern_key."""
    if not isinstance(patterns, dict):
        return None
    # Patterns are regular expressions in PEFT; only plain names are read, since the file is not trusted.
    return next(
        (value for name, value in patterns.items() if layer == name.lstrip("^") or layer.endswith("." + name)), None
    )


def _by_component(header: Header) -> Mapping[str, Mapping[str, Any]]:
    """The rows of each component, "" for those that name none."""
    found: dict[str, dict[str, Any]] = {}
    for key, value in _stated(header).items():
        component, row = _split(key)
        found.setdefault(component, {})[row] = value
    return found


def _stated(header: Header) -> Mapping[str, Any]:
    if PEFT in header.metadata:
        try:
            stated = json.loads(header.metadata[PEFT])
        except (ValueError, RecursionError):
            return {}
        return stated if isinstance(stated, dict) else {}
    path = Path(header.path)
    if path.name != FILE or not (path.parent / CONFIG).is_file():
        return {}
    try:
        return headers.read_json(path.parent / CONFIG)
    except EaselError:
        return {}

"""Recorded headers of LoRAs, ControlNets, VAEs, text encoders and embeddings (tests/data/roles), and headers made by hand."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scripts.header_folding import unfold
from trainer_core.models.detection import Detection, detect
from trainer_core.models.header import Header, TensorInfo

FOLDER = Path(__file__).parents[1] / "data" / "roles"
NAMES = sorted(path.stem for path in FOLDER.glob("*.json"))
LORAS = [name for name in NAMES if name.startswith("lora-")]


@functools.cache
def load(name: str) -> dict[str, Any]:
    """A recorded header of this folder."""
    return json.loads((FOLDER / f"{name}.json").read_text("utf-8"))


def role(name: str, **metadata: str) -> Header:
    """A recorded header of this folder, with metadata."""
    return made(sized(name), **metadata)


def sized(name: str) -> dict[str, TensorInfo]:
    """The tensors of a recorded header."""
    return dict(_sized(name))


@functools.cache
def _sized(name: str) -> Mapping[str, TensorInfo]:
    found = {}
    for key, text in unfold(load(name)["tensors"]):
        dtype, _, shape = text.partition(" ")
        found[key] = TensorInfo(dtype, tuple(int(size) for size in shape.split("x") if size))
    return found


def made(tensors: Mapping[str, TensorInfo], name: str = "x.safetensors", **metadata: str) -> Header:
    """A header of these tensors."""
    return Header(
        Path(name), tensors, {key.replace("__", "."): value for key, value in metadata.items()}, "safetensors"
    )


def of(shapes: Mapping[str, tuple[int, ...]], **metadata: str) -> Detection:
    """What a file of these sizes is."""
    return detect(made({key: TensorInfo("F16", shape) for key, shape in shapes.items()}, **metadata))

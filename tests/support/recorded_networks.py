"""Recorded networks (tests/data/networks): what every algorithm's file holds before and after training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

Tensors = dict[str, np.ndarray]
FOLDER = Path(__file__).parents[1] / "data" / "networks"
NAMES = sorted(path.stem for path in FOLDER.glob("*.json"))
KINDS = {"F16": np.float16, "F32": np.float32}


def load(name: str, trained: bool = True) -> Tensors:
    """The tensors of a recorded network; what was not zero holds a value that stands for any."""
    recorded = json.loads((FOLDER / f"{name}.json").read_text("utf-8"))
    entries = recorded["before"] | (recorded["after"] if trained else {})
    return {key: _tensor(entry) for key, entry in entries.items()}


def write(name: str, folder: Path, trained: bool = True, **changes: Any) -> Path:
    """A recorded network as a file; `changes` are tensors that take the place of its own, None takes one away."""
    tensors = {**load(name, trained), **changes}
    path = folder / f"{name}.safetensors"
    save_file({key: tensor for key, tensor in tensors.items() if tensor is not None}, path, {"format": "pt"})
    return path


def _tensor(entry: str) -> np.ndarray:
    kind, shape, value = f"{entry} 0.1".split(" ")[:3]
    if shape == "-":
        return np.array(float(value), KINDS[kind])
    return np.full([int(size) for size in shape.split("x")], 0 if value == "zero" else float(value), KINDS[kind])

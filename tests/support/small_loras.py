"""Small LoRAs with the true layer names of a family, in each naming, and the change that a file makes, computed in float64 by itself."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from tests.support.recorded_headers import recorded
from trainer_core.weights.networks.places import Index

Arrays = dict[str, np.ndarray]
Shapes = dict[str, tuple[int, ...]]
DIVISOR = 64
UP_DOWN, B_A = (".lora_up.weight", ".lora_down.weight"), (".lora_B.weight", ".lora_A.weight")


def layers(header: str, every: int = 1, divisor: int = DIVISOR) -> Shapes:
    """The layers of a recorded denoiser with two or more dimensions, each `every`th, with sides divided by `divisor`."""
    found = {name: layer.shape for name, layer in Index(recorded(header)).denoiser() if len(layer.shape) > 1}
    return {
        name: (*(max(side // divisor, 1) for side in shape[:2]), *shape[2:])
        for number, (name, shape) in enumerate(found.items())
        if not number % every
    }


def lora(
    shapes: Mapping[str, tuple[int, ...]],
    prefix: str = "lora_unet_",
    *,
    seed: int = 0,
    rank: int = 4,
    alpha: float | None = 2.0,
    kind: type = np.float16,
    ends: tuple[str, str] = UP_DOWN,
) -> Arrays:
    """A LoRA of these layers; names with lora_ in their prefix have underscores."""
    random, made = np.random.default_rng(seed), {}
    for layer, shape in shapes.items():
        name = prefix + (layer.replace(".", "_") if prefix.startswith(("lora_", "lycoris_")) else layer)
        ones = (1,) * len(shape[2:])
        made[name + ends[0]] = (random.standard_normal((shape[0], rank, *ones)) / 8).astype(kind)
        made[name + ends[1]] = (random.standard_normal((rank, *shape[1:])) / 8).astype(kind)
        if alpha is not None:
            made[f"{name}.alpha"] = np.array(alpha, kind)
    return made


def write(path: Path, tensors: Arrays, metadata: Mapping[str, str] | None = None) -> Path:
    """The tensors as a file."""
    save_file(tensors, path, dict(metadata or {}))
    return path


def names(tensors: Iterable[str]) -> list[str]:
    """The layers of a file, in the order of their names."""
    found = {key.removesuffix(end) for key in tensors for end in (UP_DOWN[0], B_A[0]) if key.endswith(end)}
    return sorted(found)


def changes(source: Path | Arrays) -> Arrays:
    """The change of each layer of a plain LoRA at strength 1, in float64, as a matrix."""
    tensors = load_file(source) if isinstance(source, Path) else source
    found = {}
    for name in names(tensors):
        up, down = next((name + up, name + down) for up, down in (UP_DOWN, B_A) if name + up in tensors)
        left, right = (tensors[key].astype(np.float64) for key in (up, down))
        alpha = float(tensors.get(f"{name}.alpha", np.array(len(right))))
        found[name] = left.reshape(len(left), -1) @ right.reshape(len(right), -1) * (alpha / len(right))
    return found


def error(found: np.ndarray, wanted: np.ndarray) -> float:
    """The size of the difference divided by the size of what is wanted."""
    size = math.sqrt(float(np.sum(np.square(wanted, dtype=np.float64))))
    return math.sqrt(float(np.sum(np.square(found - wanted, dtype=np.float64)))) / size


def best_error(change: np.ndarray, rank: int) -> float:
    """The least error that a product of this rank can have."""
    values = np.linalg.svd(change, compute_uv=False)
    return math.sqrt(float(np.sum(values[rank:] ** 2) / np.sum(values**2)))

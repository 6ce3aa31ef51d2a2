"""Small models of every family: the names of recorded headers, few numbers in each tensor, and random weights."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from pathlib import Path

import ml_dtypes
import numpy as np

from tests.support import recorded_headers
from trainer_core import catalog
from trainer_core.models import header
from trainer_core.models.families import load_families
from trainer_core.models.header import Header
from trainer_core.models.tensor_copy import header_bytes
from trainer_core.weights.numbers import dtype
from trainer_core.weights.writing import Entry

SIDE, MOST = 6, 1 << 19
Arrays = dict[str, np.ndarray]
NAMED = {
    np.dtype(np.float16): "F16",
    np.dtype(np.float32): "F32",
    np.dtype(ml_dtypes.bfloat16): "BF16",
    np.dtype(ml_dtypes.float8_e4m3fn): "F8_E4M3",
    np.dtype(np.int64): "I64",
}


def shapes(name: str) -> dict[str, tuple[int, ...]]:
    """The shapes of a recorded header, with sides of at most `SIDE` where the family is not recognised by them."""
    family = load_families()[recorded_headers.load(name)["family"]]
    checked = tuple({f".{key}" for each in family.signatures for key in each.shapes})
    of_parts = tuple({key for part in catalog.parts().values() for each in part.signatures for key in each.shapes})
    found: dict[str, tuple[int, ...]] = {}
    for key, info in recorded_headers.recorded(name).tensors.items():
        small = tuple(min(side, SIDE) for side in info.shape)
        is_part = key.endswith(of_parts) and math.prod(info.shape) < MOST
        found[key] = info.shape if f".{key}".endswith(checked) or is_part else small
    return found


def sd15_file(folder: Path) -> Path:
    """A file that is recognised as SD1.5, with weights that are all 0."""
    small = shapes("sd15")
    # By its width CLIP-L is recognised.
    small |= {name: (6, 768) for name in small if name.endswith("token_embedding.weight")}
    return recorded_headers.write_file(
        folder / "small.safetensors", {name: ("F16", shape) for name, shape in small.items()}
    )


def sd15_folder(folder: Path) -> Path:
    """A folder of diffusers that is recognised as SD1.5, with weights that are all 0."""
    recorded, small = recorded_headers.load("folder-sd15"), shapes("folder-sd15")
    recorded["tensors"] = {key: ("F16", small[key]) for key in recorded["tensors"]}
    return recorded_headers.write("folder-sd15", folder, recorded)


def arrays(name: str, seed: int, kind: type = np.float16, scale: float = 0.05) -> Arrays:
    """Random weights for a recorded header."""
    random = np.random.default_rng(seed)
    return {key: (random.standard_normal(shape) * scale).astype(kind) for key, shape in shapes(name).items()}


def near(base: Arrays, seed: int, scale: float = 0.01) -> Arrays:
    """Weights that differ a little from others, as those of a finetune do."""
    random = np.random.default_rng(seed)
    return {
        key: (value.astype(np.float64) + random.standard_normal(value.shape) * scale).astype(value.dtype)
        if value.dtype.kind != "i"
        else value
        for key, value in base.items()
    }


def write(path: Path, tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str] | None = None) -> Path:
    """Writes a safetensors file by hand."""
    entries = [Entry(key, NAMED[value.dtype], value.shape, list) for key, value in tensors.items()]
    with path.open("wb") as file:
        file.write(header_bytes(entries, metadata or {}))
        for value in tensors.values():
            file.write(np.ascontiguousarray(value).tobytes())
    return path


def read(path: Path) -> Arrays:
    """All tensors of a safetensors file."""
    found: Header = header.read(path)
    raw = path.read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    assert length < len(raw)
    return {
        key: np.frombuffer(raw, dtype(info.dtype), math.prod(info.shape), info.start_bytes).reshape(info.shape)
        for key, info in found.tensors.items()
    }

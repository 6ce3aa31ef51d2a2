"""Small models of every family: the names of recorded headers, few numbers in each tensor, and random weights."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Mapping
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

SIDE, MOST = 6, 1 << 21
Arrays = dict[str, np.ndarray]
NAMED = {
    np.dtype(np.float16): "F16",
    np.dtype(np.float32): "F32",
    np.dtype(ml_dtypes.bfloat16): "BF16",
    np.dtype(np.int64): "I64",
}


def shapes(name: str) -> dict[str, tuple[int, ...]]:
    """The shapes of a recorded header, with sides of at most `SIDE` where the family is not recognised by them."""
    checked = tuple(_checked())
    tensors = recorded_headers.recorded(name).tensors
    found = {
        key: info.shape if key.endswith(checked) else tuple(min(side, SIDE) for side in info.shape)
        for key, info in tensors.items()
    }
    # The token embeddings, whose size a text encoder is recognised by, would be most of the file.
    return {key: shape for key, shape in found.items() if math.prod(shape) < MOST}


def _checked() -> set[str]:
    found = set()
    for family in load_families().values():
        for signature in family.signatures:
            found |= set(signature.shapes)
    for part in catalog.parts().values():
        for signature in part.signatures:
            found |= {signature.landmark, *signature.shapes}
    return found


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


def largest_error(found: Arrays, wanted: Mapping[str, np.ndarray], step: Callable[[np.ndarray], np.ndarray]) -> float:
    """The largest difference between numbers and their reference, in steps of the dtype at that number."""
    return max(
        float((np.abs(found[key].astype(np.float64) - value) / step(value)).max())
        for key, value in wanted.items()
        if value.size
    )

"""A checkpoint file with random weights: the real architecture, not trained. Standard library only.

It is written tensor by tensor in the safetensors format, so it needs neither torch nor much memory.
"""

from __future__ import annotations

import array
import functools
import json
import math
import random
import struct
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import BinaryIO

from trainer_core.demo import layouts

FAMILIES = {"sd15": layouts.sd15, "sdxl": layouts.sdxl}
_TILE = 1_000_003
"""Values in the longest strip of noise, which is repeated: a prime, so that no two rows of a matrix are the same."""
_BYTES = 2  # of one fp16 value


def write(family: str, file: Path) -> Path:
    """The path of the checkpoint that was written: random fp16 weights of "sd15" (2.1 GB) or "sdxl" (6.9 GB)."""
    return write_tensors(file, list(FAMILIES[family]()))


def write_tensors(file: Path, tensors: Sequence[layouts.Tensor]) -> Path:
    """The path of the safetensors file that was written: random fp16 values for these names and shapes.

    The file appears under its name only when it is complete.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(file.name + ".part")
    with partial.open("wb") as stream:
        stream.write(_header(tensors))
        for name, shape in tensors:
            _write_values(stream, name, shape)
    partial.replace(file)
    return file


def _header(tensors: Iterable[layouts.Tensor]) -> bytes:
    """The length and the JSON header at the start of a safetensors file."""
    table: dict[str, object] = {"__metadata__": {"format": "pt", "easel_demo": "random weights, for trying out only"}}
    offset = 0
    for name, shape in tensors:
        end = offset + math.prod(shape) * _BYTES
        table[name] = {"dtype": "F16", "shape": list(shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(table, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text


def _write_values(stream: BinaryIO, name: str, shape: layouts.Shape) -> None:
    """Writes the values of a new layer: norms are ones, biases zeros, weights noise that keeps the scale of signals."""
    count = math.prod(shape)
    if len(shape) < 2:
        value = 1.0 if name.endswith(("weight", "logit_scale")) else 0.0
        stream.write(struct.pack("<e", value) * count)
        return
    strip = _noise(round(math.log2(math.prod(shape[1:])) / 2), min(_TILE, 1 << (count - 1).bit_length()))
    stream.writelines(strip for _ in range(count * _BYTES // len(strip)))
    stream.write(strip[: count * _BYTES % len(strip)])


@functools.cache
def _noise(halvings: int, length: int) -> bytes:
    """`length` values of fp16 noise with standard deviation 2 ** -(halvings + 1): a little under 1 / sqrt(inputs)."""
    scale = 2.0 ** -(halvings + 1)
    return struct.pack(f"<{length}e", *(value * scale for value in _normal(length)))


@functools.cache
def _normal(length: int) -> Sequence[float]:
    """`length` values with standard deviation 1; a longer strip begins with the values of a shorter one."""
    source = random.Random(0)  # noqa: S311 - it is not used for security
    return array.array("d", (source.gauss(0.0, 1.0) for _ in range(length)))

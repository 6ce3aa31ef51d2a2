"""A checkpoint file of random weights: the real architecture, no knowledge. Standard library only.

It is written straight in the safetensors layout, tensor by tensor, so it needs neither torch nor memory.
"""

from __future__ import annotations

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
"""Values in the strip of noise that is repeated: a prime, so that no two rows of a matrix are alike."""
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
    """The length and the JSON that open a safetensors file."""
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
    """Writes what a fresh layer would hold: norms at one, biases at zero, weights as noise that keeps signals in size."""
    count = math.prod(shape)
    if len(shape) < 2:
        value = 1.0 if name.endswith(("weight", "logit_scale")) else 0.0
        stream.write(struct.pack("<e", value) * count)
        return
    strip = _noise(round(math.log2(math.prod(shape[1:])) / 2))
    stream.writelines(strip for _ in range(count * _BYTES // len(strip)))
    stream.write(strip[: count * _BYTES % len(strip)])


@functools.cache
def _noise(halvings: int) -> bytes:
    """A strip of normal noise as fp16 values with deviation 2 ** -(halvings + 1): a little under 1 / sqrt(inputs)."""
    source = random.Random(0)  # noqa: S311 - nothing is kept secret by it
    scale = 2.0 ** -(halvings + 1)
    return struct.pack(f"<{_TILE}e", *(source.gauss(0.0, scale) for _ in range(_TILE)))

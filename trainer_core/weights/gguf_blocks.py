"""Computes the numbers that the blocks of a quantised GGUF tensor stand for. They are not the numbers that were quantised.

Source: ggml/src/ggml-quants.c, dequantize_row_*; gguf-py 0.19, quants.py, with which tests compare every type.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer_core.models.header.tensors import GGML_BLOCKS
from trainer_core.weights.numbers import Floats

Blocks = NDArray[Any]
"""One row for each block: of its bytes, or of small whole numbers taken from them."""


def floats(data: NDArray[np.uint8], dtype: str) -> Floats:
    """The numbers of whole blocks, in order, in float32. `dtype` is one of `TYPES`."""
    blocks = data.reshape(-1, GGML_BLOCKS[dtype][1])
    # A damaged block may hold an infinite scale; the check of the new file finds what comes of it.
    with np.errstate(over="ignore", invalid="ignore"):
        return TYPES[dtype](blocks).reshape(-1).astype(np.float32, copy=False)


def _halves(blocks: Blocks, start: int, count: int = 1) -> Floats:
    """Numbers in fp16 from byte `start` of each block on."""
    found = np.ascontiguousarray(blocks[:, start : start + 2 * count])
    return found.view("<f2").astype(np.float32)


def _nibbles(bytes_: Blocks, group: int) -> Blocks:
    """The lower four bits of each group of bytes, then the upper four, for each group."""
    grouped = bytes_.reshape(len(bytes_), -1, 1, group)
    shifted = grouped >> np.array([0, 4], np.uint8).reshape(1, 1, 2, 1)
    return (shifted & 15).reshape(len(bytes_), -1)


def _bits(bytes_: Blocks) -> Blocks:
    """Each bit as a number, the lowest bit of the first byte first."""
    return np.unpackbits(np.ascontiguousarray(bytes_), axis=1, bitorder="little")


def _q8_0(blocks: Blocks) -> NDArray[Any]:
    return np.ascontiguousarray(blocks[:, 2:]).view(np.int8) * _halves(blocks, 0)


def _q4_0(blocks: Blocks) -> NDArray[Any]:
    return (_nibbles(blocks[:, 2:], 16).astype(np.int8) - np.int8(8)) * _halves(blocks, 0)


def _q4_1(blocks: Blocks) -> NDArray[Any]:
    return _nibbles(blocks[:, 4:], 16) * _halves(blocks, 0) + _halves(blocks, 2)


def _q5_0(blocks: Blocks) -> NDArray[Any]:
    five = _nibbles(blocks[:, 6:], 16) | _bits(blocks[:, 2:6]) << 4
    return (five.astype(np.int8) - np.int8(16)) * _halves(blocks, 0)


def _q5_1(blocks: Blocks) -> NDArray[Any]:
    five = _nibbles(blocks[:, 8:], 16) | _bits(blocks[:, 4:8]) << 4
    return five * _halves(blocks, 0) + _halves(blocks, 2)


def _q2_k(blocks: Blocks) -> NDArray[Any]:
    """Sixteen scales and minima of four bits, then two bits for each number."""
    scales, packed = blocks[:, :16], blocks[:, 16:80]
    scale, least = _halves(blocks, 80), _halves(blocks, 82)
    steps = (scale * (scales & 15)).reshape(-1, 16, 1)
    minima = (least * (scales >> 4)).reshape(-1, 16, 1)
    return steps * _pairs_of_bits(packed).reshape(-1, 16, 16) - minima


def _pairs_of_bits(packed: Blocks) -> Blocks:
    """Numbers of two bits: of each 32 bytes first the lowest two bits of all, then the next two."""
    shifts = np.array([0, 2, 4, 6], np.uint8).reshape(1, 1, 4, 1)
    return packed.reshape(len(packed), -1, 1, 32) >> shifts & 3


def _q3_k(blocks: Blocks) -> NDArray[Any]:
    """Two bits for each number, a third one inverted, and sixteen scales of six bits."""
    high, packed, packed_scales = blocks[:, :32], blocks[:, 32:96], blocks[:, 96:108]
    lower = packed_scales[:, :8].reshape(-1, 1, 8) >> np.array([0, 4], np.uint8).reshape(1, 2, 1)
    upper = packed_scales[:, 8:].reshape(-1, 1, 4) >> np.array([0, 2, 4, 6], np.uint8).reshape(1, 4, 1)
    six = (lower.reshape(-1, 16) & 15) | (upper.reshape(-1, 16) & 3) << 4
    steps = _halves(blocks, 108) * (six.astype(np.int8) - np.int8(32))
    third = high.reshape(-1, 1, 1, 32) >> np.arange(8, dtype=np.uint8).reshape(1, 1, 8, 1) & 1
    low = _pairs_of_bits(packed).reshape(-1, 16, 16).astype(np.int8)
    missing = (third.reshape(-1, 16, 16) ^ 1).astype(np.int8) << 2
    return steps.reshape(-1, 16, 1) * (low - missing)


def _scales_of_six(packed: Blocks) -> tuple[Blocks, Blocks]:
    """The eight scales and the eight minima of Q4_K and Q5_K, of six bits each."""
    first, second, third = (packed[:, 4 * place : 4 * place + 4] for place in range(3))
    scales = np.concatenate([first & 63, (third & 15) | (first >> 2 & 48)], axis=1)
    minima = np.concatenate([second & 63, third >> 4 | (second >> 2 & 48)], axis=1)
    return scales, minima


def _q4_k(blocks: Blocks) -> NDArray[Any]:
    return _eights(blocks, _nibbles(blocks[:, 16:], 32))


def _q5_k(blocks: Blocks) -> NDArray[Any]:
    fifth = blocks[:, 16:48].reshape(-1, 1, 32) >> np.arange(8, dtype=np.uint8).reshape(1, 8, 1) & 1
    return _eights(blocks, _nibbles(blocks[:, 48:], 32) | fifth.reshape(-1, 256) << 4)


def _eights(blocks: Blocks, numbers: Blocks) -> NDArray[Any]:
    """Eight groups of 32 numbers, each with a scale and a minimum."""
    scales, minima = _scales_of_six(blocks[:, 4:16])
    steps = (_halves(blocks, 0) * scales).reshape(-1, 8, 1)
    least = (_halves(blocks, 2) * minima).reshape(-1, 8, 1)
    return steps * numbers.reshape(-1, 8, 32) - least


def _q6_k(blocks: Blocks) -> NDArray[Any]:
    low = _nibbles(blocks[:, :128], 64).reshape(-1, 256)
    high = _pairs_of_bits(blocks[:, 128:192]).reshape(-1, 256)
    six = (low | high << 4).astype(np.int8) - np.int8(32)
    scales = np.ascontiguousarray(blocks[:, 192:208]).view(np.int8)
    steps = (_halves(blocks, 208) * scales).reshape(-1, 16, 1)
    return steps * six.reshape(-1, 16, 16)


TYPES: Mapping[str, Callable[[Blocks], NDArray[Any]]] = {
    "Q4_0": _q4_0, "Q4_1": _q4_1, "Q5_0": _q5_0, "Q5_1": _q5_1, "Q8_0": _q8_0,
    "Q2_K": _q2_k, "Q3_K": _q3_k, "Q4_K": _q4_k, "Q5_K": _q5_k, "Q6_K": _q6_k,
}  # fmt: skip
"""The quantised types that can be computed, the same as `trainer_core.weights.sources.COMPUTED`."""

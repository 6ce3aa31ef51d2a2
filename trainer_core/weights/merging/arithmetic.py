"""The arithmetic of the methods, in float32: how a tensor of each is computed from those of the models, chunk by chunk."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from trainer_core.weights.dtypes import CHUNK
from trainer_core.weights.numbers import Floats

Doubles = NDArray[np.float64]
Step = Callable[[Sequence[Floats]], Floats]
"""Computes a chunk of the result from the chunks of the models, which it may overwrite. Chunks come in order."""
TRAIN_FACTOR = 1.8
"""The factor of train difference. Source: sd-mecha 1.1.5, linear.py, train_difference_mask; supermerger, traindiff."""


@dataclass(frozen=True, kw_only=True)
class Tensor:
    """A tensor that is computed.

    `read` gives its chunks in the models, from the first on, with at most so many numbers at a time; `row` is how many numbers
    share an index in the first dimension. `similar` is how alike its columns are, for the cosine methods.
    """

    name: str
    shape: tuple[int, ...]
    weight: float
    values: Mapping[str, float]
    read: Callable[[int], Iterator[tuple[Floats, ...]]]
    seed: int = 0
    similar: Doubles | None = None

    @property
    def row(self) -> int:
        """How many numbers share an index in the first dimension."""
        return math.prod(self.shape[1:])

    @property
    def in_rows(self) -> int:
        """The numbers of a chunk that consists of whole rows."""
        return max(CHUNK // max(self.row, 1), 1) * max(self.row, 1)


def weighted_sum(tensor: Tensor) -> Step:
    """A (1 - weight - weight_c) + B weight + C weight_c."""
    weight, third = tensor.weight, tensor.values.get("weight_c", 0.0)
    factors = [np.float32(each) for each in (1 - weight - third, weight, third)]

    def step(chunks: Sequence[Floats]) -> Floats:
        for chunk, factor in zip(chunks, factors, strict=False):
            np.multiply(chunk, factor, out=chunk)
        for chunk in chunks[1:]:
            np.add(chunks[0], chunk, out=chunks[0])
        return chunks[0]

    return step


def add_difference(tensor: Tensor) -> Step:
    """A + weight (B - C)."""
    weight = np.float32(tensor.weight)

    def step(chunks: Sequence[Floats]) -> Floats:
        first, second, third = chunks
        second -= third
        second *= weight
        first += second
        return first

    return step


def train_difference(tensor: Tensor) -> Step:
    """A + 1.8 weight (B - C) |B - A| / (|B - A| + |B - C|); A where B equals both."""
    weight = np.float32(tensor.weight * TRAIN_FACTOR)

    def step(chunks: Sequence[Floats]) -> Floats:
        first, second, third = chunks
        trained = second - third
        np.subtract(second, first, out=second)
        np.abs(second, out=second)
        np.abs(trained, out=third)
        third += second
        np.divide(second, third, out=second, where=third != 0)
        trained *= second
        trained *= weight
        first += trained
        return first

    return step


def slerp(tensor: Tensor) -> Step:
    """The arc between the directions of A and B, with a norm between theirs; a weighted sum where they are parallel or zero."""
    one = two = both = 0.0
    for first, second in tensor.read(CHUNK):
        one += _dot(first, first)
        two += _dot(second, second)
        both += _dot(first, second)
    left, right = math.sqrt(one), math.sqrt(two)
    weight = tensor.weight
    factors = (1 - weight, weight)
    if left and right:
        angle = math.acos(min(max(both / (left * right), -1.0), 1.0))
        if math.sin(angle) > 1e-7:
            norm = left + weight * (right - left)
            factors = (
                norm * math.sin((1 - weight) * angle) / math.sin(angle) / left,
                norm * math.sin(weight * angle) / math.sin(angle) / right,
            )
    of_first, of_second = (np.float32(each) for each in factors)

    def step(chunks: Sequence[Floats]) -> Floats:
        first, second = chunks
        first *= of_first
        second *= of_second
        first += second
        return first

    return step


def ties(tensor: Tensor) -> Step:
    """C + weight mean of the kept differences A - C and B - C whose sign is the elected one."""
    limits = [_limit(tensor, place) for place in (0, 1)]
    weight = np.float32(tensor.weight)

    def step(chunks: Sequence[Floats]) -> Floats:
        *models, base = chunks
        for each, limit in zip(models, limits, strict=True):
            np.subtract(each, base, out=each)
            each[np.abs(each) < limit] = 0
        elected = np.sign(models[0] + models[1])
        count = np.zeros_like(base)
        for each in models:
            is_kept = (np.sign(each) == elected) & (elected != 0)
            np.multiply(each, is_kept, out=each)
            count += is_kept
        models[0] += models[1]
        np.divide(models[0], count, out=models[0], where=count > 1)
        models[0] *= weight
        base += models[0]
        return base

    return step


def _limit(tensor: Tensor, place: int) -> np.float32:
    """The least difference from C, in size, that is kept of a model: that of its last place among the kept ones.

    Differences of the same size are kept together. sd-mecha 1.1.5 (ties.py, filter_top_k) keeps one number more.
    """
    sizes = np.empty(math.prod(tensor.shape), np.float32)
    done = 0
    for chunks in tensor.read(CHUNK):
        count = chunks[0].size
        np.subtract(chunks[place], chunks[2], out=sizes[done : done + count])
        done += count
    np.abs(sizes, out=sizes)
    kept = max(round(tensor.values["keep"] * sizes.size), 1)
    left_out = sizes.size - kept
    sizes.partition(left_out)
    return sizes[left_out]


def dare(tensor: Tensor) -> Step:
    """C + weight times the sum of the differences A - C and B - C, each with a random share dropped and the rest divided."""
    drop = tensor.values["drop"]
    limit = np.uint32(round(drop * 2**32))
    factor = np.float32(tensor.weight / (1 - drop))
    randoms = [_random(tensor.seed, letter, tensor.name) for letter in "AB"]

    def step(chunks: Sequence[Floats]) -> Floats:
        *models, base = chunks
        kept = np.zeros_like(base)
        for each, random in zip(models, randoms, strict=True):
            np.subtract(each, base, out=each)
            drawn = random.random_raw(-(-each.size // 2)).view(np.uint32)[: each.size]
            np.multiply(each, drawn >= limit, out=each)
            kept += each
        kept *= factor
        base += kept
        return base

    return step


def _random(seed: int, letter: str, name: str) -> np.random.Philox:
    """Random numbers of a tensor, which depend on nothing but the seed, the model's letter and the name."""
    digest = hashlib.sha256(f"{seed}/{letter}/{name}".encode()).digest()
    return np.random.Philox(key=int.from_bytes(digest[:16], "little"))


def cosine(tensor: Tensor) -> Step:
    """A k + B (1 - k) with a k for each column: how alike it is in A and B, from 0 to 1 over all columns, minus the weight."""
    assert tensor.similar is not None
    share = np.clip(tensor.similar - tensor.weight, 0, 1).astype(np.float32)

    def step(chunks: Sequence[Floats]) -> Floats:
        first, second = (chunk.reshape(-1, share.size) for chunk in chunks)
        first -= second
        first *= share
        first += second
        return first

    return step


STEPS: Mapping[str, Callable[[Tensor], Step]] = {
    "weighted_sum": weighted_sum,
    "add_difference": add_difference,
    "train_difference": train_difference,
    "slerp": slerp,
    "ties": ties,
    "dare": dare,
    "cosine_a": cosine,
    "cosine_b": cosine,
}
"""The arithmetic of each method of methods.toml."""


@dataclass
class Columns:
    """How alike the columns of two models are, over all their tensors. Source: supermerger, precosine and cosine."""

    is_unit: bool
    """Whether the columns count as unit vectors (cosine A), or with their lengths."""
    _of: dict[str, Doubles] = field(default_factory=dict)
    _all: list[Doubles] = field(default_factory=list)

    def add(self, tensor: Tensor) -> None:
        """Reads a tensor."""
        width = tensor.row if len(tensor.shape) > 1 else 1
        one, two, both = (np.zeros(width) for _ in range(3))
        for chunks in tensor.read(tensor.in_rows):
            first, second = (chunk.reshape(-1, width) for chunk in chunks)
            one += np.einsum("ij,ij->j", first, first)
            two += np.einsum("ij,ij->j", second, second)
            both += np.einsum("ij,ij->j", first, second)
        lengths = np.sqrt(one) * np.sqrt(two)
        alike = np.divide(both, lengths, out=np.zeros(width), where=lengths > 0)
        if self.is_unit:
            whole, norm = alike.sum(), math.sqrt(np.count_nonzero(one) * np.count_nonzero(two))
        else:
            whole, norm = both.sum(), math.sqrt(one.sum() * two.sum())
        combined = (alike + (whole / norm if norm else 0.0)) / 2
        self._of[tensor.name] = combined
        self._all.append(alike if self.is_unit else combined)

    def scaled(self) -> dict[str, Doubles]:
        """For each tensor how alike its columns are, from 0 for the least to 1 for the most, without the outermost percent."""
        every = np.concatenate(self._all) if self._all else np.zeros(1)
        every = every[every >= np.percentile(every, 1, method="midpoint")]
        every = every[every <= np.percentile(every, 99, method="midpoint")]
        least, span = every.min(), every.max() - every.min()
        return {name: (found - least) / (span or 1.0) for name, found in self._of.items()}


def _dot(first: Floats, second: Floats) -> float:
    return float(np.einsum("i,i->", first, second, dtype=np.float64)) if first.size else 0.0

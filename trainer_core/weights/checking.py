"""Looks for damage in the numbers of a model: NaN, infinite numbers, tensors of zeros, and tensors that are stored twice."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainer_core.weights.numbers import FLOATS
from trainer_core.weights.reading import CHUNK, Weights

SMALLEST_DUPLICATE = 1 << 16
"""The fewest numbers of a tensor that is compared with others: small ones are often equal by nature."""
MOST_NAMES = 20
"""How many names a report has of each kind of finding."""


@dataclass(frozen=True)
class Report:
    """What is in the numbers of a model. `nan`, `infinite` and `zeros` count tensors; the lists have some of their names.

    `numbers_nan` and `numbers_infinite` count numbers. `duplicates` are groups of tensors with equal numbers.
    """

    tensors: int
    numbers: int
    nan: int
    numbers_nan: int
    names_nan: tuple[str, ...]
    infinite: int
    numbers_infinite: int
    names_infinite: tuple[str, ...]
    zeros: int
    names_zeros: tuple[str, ...]
    duplicates: tuple[tuple[str, ...], ...]

    @property
    def is_sound(self) -> bool:
        """Whether no number is NaN or infinite."""
        return not (self.nan or self.infinite)


def check(path: Path, progress: Callable[[int, int], None]) -> Report:
    """The report on a model. `progress` hears the bytes read and their total.

    Raises:
        HeaderError: it cannot be read, is cut short, or is no model.
        WeightsError: its numbers cannot be read.
    """
    nan: dict[str, int] = {}
    infinite: dict[str, int] = {}
    zeros: list[str] = []
    equal: dict[tuple[str, bytes], list[str]] = {}
    numbers = done = 0
    with Weights(path, dequantise=True) as model:
        total = sum(info.size_bytes for info in model.tensors.values())
        for name, info in model.tensors.items():
            digest, is_zero, count = hashlib.blake2b(digest_size=16), True, 0
            for chunk in _chunks(model, name):
                digest.update(chunk.view(np.uint8).data)
                count += chunk.size
                if info.dtype in FLOATS:
                    _count(name, chunk, nan, infinite)
                is_zero = is_zero and not chunk.any()
            numbers += count
            if is_zero and count:
                zeros.append(name)
            if count >= SMALLEST_DUPLICATE and not is_zero:
                equal.setdefault((info.dtype, digest.digest()), []).append(name)
            done += info.size_bytes
            progress(done, total)
        model.check_unchanged()
        held = len(model.tensors)
    twice = tuple(tuple(names) for names in equal.values() if len(names) > 1)
    return Report(
        held,
        numbers,
        len(nan),
        sum(nan.values()),
        tuple(nan)[:MOST_NAMES],
        len(infinite),
        sum(infinite.values()),
        tuple(infinite)[:MOST_NAMES],
        len(zeros),
        tuple(zeros[:MOST_NAMES]),
        twice[:MOST_NAMES],
    )


def _chunks(model: Weights, name: str) -> Iterator[NDArray[np.generic]]:
    """The numbers of a tensor: as float32 where they are floats, else as they are stored."""
    if model.tensors[name].dtype in FLOATS:
        yield from model.chunks(name, CHUNK)
    else:
        yield model.read(name).reshape(-1)


def _count(name: str, chunk: NDArray[np.generic], nan: dict[str, int], infinite: dict[str, int]) -> None:
    finite = np.isfinite(chunk)
    if finite.all():
        return
    found = int(np.count_nonzero(np.isnan(chunk)))
    if found:
        nan[name] = nan.get(name, 0) + found
    if endless := int(np.count_nonzero(~finite)) - found:
        infinite[name] = infinite.get(name, 0) + endless

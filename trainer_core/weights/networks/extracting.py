"""The difference of two models as a low-rank network: a singular value decomposition of each layer's difference."""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass

import numpy as np

from trainer_core.weights.networks.baking import gathered
from trainer_core.weights.networks.places import Layer
from trainer_core.weights.numbers import Floats
from trainer_core.weights.reading import Weights

MORE_DIRECTIONS = 10
"""The directions that are computed beyond the rank. Source: Halko, Martinsson, Tropp, Finding structure with randomness, 2011, 4.2."""
POWER_ITERATIONS = 3
SMALL = 192
"""Below this number of rows or columns, all singular values are computed."""
# The largest relative error of one rounding, by dtype.
ROUNDING = {"F64": 2.0**-53, "F32": 2.0**-24, "F16": 2.0**-11, "BF16": 2.0**-8}


@dataclass(frozen=True)
class Approximation:
    """A matrix as `up @ down`, and the relative error of that: the norm of what is missing, divided by the norm of the matrix."""

    up: Floats
    down: Floats
    error: float

    @property
    def rank(self) -> int:
        """The rank."""
        return len(self.down)


@dataclass(frozen=True)
class Difference:
    """The difference of a layer in two models, and its norm divided by the norm of the base layer."""

    values: Floats
    relative: float


def difference(tuned: tuple[Weights, Layer], base: tuple[Weights, Layer]) -> Difference:
    """The difference of a layer between a tuned model and its base."""
    before = gathered(*base)
    values = gathered(*tuned)
    values -= before
    norm = float(np.linalg.norm(before))
    return Difference(values, float(np.linalg.norm(values)) / norm if norm else math.inf if values.any() else 0.0)


def noise(one: str, other: str) -> float:
    """The relative difference that two dtypes alone cause, 0 for the same dtype: the error of rounding to the coarser one."""
    if one == other:
        return 0.0
    # The errors of rounding are spread evenly, so their root mean square is the largest one divided by the square root of 3.
    return max(ROUNDING.get(one, 2.0**-3), ROUNDING.get(other, 2.0**-3)) / math.sqrt(3)


def approximate(matrix: Floats, rank: int, energy: float, name: str) -> Approximation:
    """The best product of two matrices of at most this rank.

    With an energy (a share of the sum of the squared singular values, 0 for none) the rank is the smallest that has it. `name`
    determines the random numbers, so that the same matrix always gives the same result.
    """
    left, values, right = _singular(matrix, min(rank, *matrix.shape), name)
    total = float(np.sum(np.square(matrix, dtype=np.float64)))
    squares = np.cumsum(np.square(values[: min(rank, len(values))], dtype=np.float64))
    kept = len(squares)
    if energy and total:
        kept = min(int(np.searchsorted(squares, energy * total)) + 1, kept)
    roots = np.sqrt(values[:kept])
    missing = max(total - float(squares[kept - 1]), 0.0) if total else 0.0
    error = math.sqrt(missing / total) if total else 0.0
    return Approximation(left[:, :kept] * roots, roots[:, None] * right[:kept], error)


def _singular(matrix: Floats, rank: int, name: str) -> tuple[Floats, Floats, Floats]:
    """The largest singular values and their directions, at least `rank` of them.

    Source: Halko, Martinsson, Tropp, Finding structure with randomness, 2011, algorithms 4.4 and 5.1.
    """
    if min(matrix.shape) <= max(SMALL, 2 * (rank + MORE_DIRECTIONS)):
        return np.linalg.svd(matrix, full_matrices=False)
    if matrix.shape[0] < matrix.shape[1]:
        left, values, right = _singular(np.ascontiguousarray(matrix.T), rank, name)
        return right.T, values, left.T
    random = np.random.Generator(np.random.Philox(zlib.crc32(name.encode())))
    basis = matrix @ random.standard_normal((matrix.shape[1], rank + MORE_DIRECTIONS), np.float32)
    for _ in range(POWER_ITERATIONS):
        basis = np.linalg.qr(basis)[0]
        basis = matrix @ np.linalg.qr(matrix.T @ basis)[0]
    basis = np.linalg.qr(basis)[0]
    inner, values, right = np.linalg.svd(basis.T @ matrix, full_matrices=False)
    return basis @ inner, values, right

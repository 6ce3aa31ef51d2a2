"""The singular values of a product of two thin matrices, and the nearest product of a smaller rank, without the large matrix between.

`up` is (out, r) and `down` is (r, in). With up = Q1 R1 and down^T = Q2 R2 the product is Q1 (R1 R2^T) Q2^T, so only the r x r matrix
in the middle is decomposed. The truncated result is the best one of its rank (Eckart and Young, 1936).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trainer_core.weights.numbers import Floats


@dataclass(frozen=True)
class Decomposed:
    """A matrix as left @ diag(values) @ right, values in descending order. `left` is outer_left @ inner_left, and `right` likewise."""

    values: Floats
    outer_left: Floats | None
    inner_left: Floats
    inner_right: Floats
    outer_right: Floats | None

    def left(self, rank: int) -> Floats:
        """The first left vectors, (out, rank)."""
        inner = self.inner_left[:, :rank]
        return inner if self.outer_left is None else self.outer_left @ inner

    def right(self, rank: int) -> Floats:
        """The first right vectors, (rank, in)."""
        inner = self.inner_right[:rank]
        return inner if self.outer_right is None else inner @ self.outer_right

    def factors(self, rank: int) -> tuple[Floats, Floats]:
        """The nearest product of this rank. Both factors get the root of each value, so that neither is out of the range of fp16."""
        root = np.sqrt(self.values[:rank])
        return self.left(rank) * root, root[:, None] * self.right(rank)


def decomposed(up: Floats, down: Floats) -> Decomposed:
    """The singular values and vectors of up @ down."""
    rank = up.shape[1]
    if rank >= min(len(up), down.shape[1]):
        return of_matrix(up @ down)
    outer_left, first = np.linalg.qr(up)
    outer_right, second = np.linalg.qr(down.T)
    left, values, right = np.linalg.svd(first @ second.T, full_matrices=False)
    return Decomposed(values, outer_left, left, right, outer_right.T)


def of_matrix(matrix: Floats) -> Decomposed:
    """The singular values and vectors of a matrix."""
    left, values, right = np.linalg.svd(matrix, full_matrices=False)
    return Decomposed(values, None, left, right, None)


def values(up: Floats, down: Floats) -> Floats:
    """The singular values of up @ down, in descending order; without the vectors it takes about half the time."""
    if up.shape[1] >= min(len(up), down.shape[1]):
        return np.linalg.svd(up @ down, compute_uv=False)
    first, second = (np.asarray(np.linalg.qr(each, mode="r"), np.float32) for each in (up, down.T))
    return np.linalg.svd(first @ second.T, compute_uv=False)


def energy(found: Floats) -> float:
    """The sum of the squares of singular values, which is that of all numbers of the matrix."""
    return float(np.sum(np.square(found, dtype=np.float64)))

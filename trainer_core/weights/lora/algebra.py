"""The singular values of a product of two thin matrices, and the nearest product of a smaller rank, without the large matrix between.

`up` is (out, r) and `down` is (r, in). With the small matrices up^T up = V1 D1 V1^T and down down^T = V2 D2 V2^T, the product has the singular
values of the r x r matrix (V1 sqrt(D1))^T (V2 sqrt(D2)), and up and down times small matrices are its vectors. The small matrices are in
float64, so the squares lose nothing that float32 has. The truncated result is the best one of its rank (Eckart and Young, 1936).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainer_core.weights.numbers import Floats

Doubles = NDArray[np.float64]
SMALLEST = 1e-14
"""Eigenvalues of a small matrix that are so much smaller than the largest one are rounding, and stand for no direction."""


@dataclass(frozen=True)
class Decomposed:
    """A matrix as left @ diag(values) @ right, values in descending order.

    `outer_left` @ `inner_left` are its left vectors, and `inner_right` @ `outer_right` the right ones; an outer matrix is None where it is
    not needed.
    """

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
    if up.shape[1] >= min(len(up), down.shape[1]):
        return of_matrix(up @ down)
    first, second = _rooted(up), _rooted(down.T)
    left, found, right = np.linalg.svd(first.roots.T @ second.roots, full_matrices=False)
    inner_left = first.inverse @ left
    inner_right = right @ second.inverse.T
    return Decomposed(found.astype(np.float32), up, inner_left.astype(np.float32), inner_right.astype(np.float32), down)


def of_matrix(matrix: Floats) -> Decomposed:
    """The singular values and vectors of a matrix."""
    left, found, right = np.linalg.svd(matrix, full_matrices=False)
    return Decomposed(found, None, left, right, None)


def values(up: Floats, down: Floats) -> Floats:
    """The singular values of up @ down, in descending order."""
    if up.shape[1] >= min(len(up), down.shape[1]):
        return np.linalg.svd(up @ down, compute_uv=False)
    found = np.linalg.svd(_rooted(up).roots.T @ _rooted(down.T).roots, compute_uv=False)
    return found.astype(np.float32)


def energy(found: Floats) -> float:
    """The sum of the squares of singular values, which is that of all numbers of the matrix."""
    return float(np.sum(np.square(found, dtype=np.float64)))


@dataclass(frozen=True)
class _Rooted:
    """A thin matrix as an orthonormal one times `roots`^T; times `inverse` it is the orthonormal one."""

    roots: Doubles
    inverse: Doubles


def _rooted(matrix: Floats) -> _Rooted:
    wide = matrix.astype(np.float64)
    found, vectors = np.linalg.eigh(wide.T @ wide)
    kept = found > max(float(found[-1]), 0.0) * SMALLEST
    if not kept.any():
        kept[-1] = True
    root = np.sqrt(np.maximum(found[kept], np.finfo(np.float64).tiny))
    return _Rooted(vectors[:, kept] * root, vectors[:, kept] / root)

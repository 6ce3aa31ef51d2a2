"""The change that a module makes as a product of two matrices, exactly: of a LoRA as it is stored, and of LoHa, LoKr and full differences.

A LoHa of rank r is a product of rank r * r, because a product of two sums is a sum of products. A LoKr has as singular values all products of
those of its two sides. So neither needs the large matrix.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from trainer_core.errors import WeightsError
from trainer_core.text import printable
from trainer_core.weights.lora import algebra
from trainer_core.weights.networks.modules import Module
from trainer_core.weights.numbers import Floats

PLAIN = "lora"
AS_PRODUCT = ("lora", "loha", "lokr", "full")
"""The layouts whose change is, or can be brought into, a product; that of `full` only by its singular values."""
SMALLEST = 1e-6
"""Directions of a LoKr that are so much weaker than the strongest one are its rounding, and are left out."""


@dataclass(frozen=True)
class Term:
    """A change as scale * up @ down, up (out, rank) and down (rank, inputs); `kernel` is that of a convolution."""

    up: Floats
    down: Floats
    scale: float
    kernel: tuple[int, ...] = ()

    @property
    def rank(self) -> int:
        """The rank of the product."""
        return self.up.shape[1]

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the weight that it changes."""
        return (len(self.up), self.down.shape[1] // math.prod(self.kernel), *self.kernel)

    @property
    def is_conv(self) -> bool:
        """Whether the layer has a kernel of more than one pixel."""
        return math.prod(self.kernel) > 1


def of(module: Module) -> Term:
    """The change of a module as a product.

    Raises:
        WeightsError: its change depends on the model, its parts do not fit together, or contain numbers that are not finite.
    """
    _ = module.shape
    if module.layout == PLAIN and "lora_mid" not in module.parts:
        return _lora(module)
    if module.layout == "loha" and not {"hada_t1", "hada_t2"} & module.parts.keys():
        return _loha(module)
    if module.layout == "lokr" and "lokr_t2" not in module.parts:
        return _lokr(module)
    if (found := module.factors()) is not None:
        return Term(found.up, found.down, 1.0, found.kernel)
    change = module.delta()
    if change.ndim < 2:
        raise WeightsError(f"The change of {printable(module.key, 80)} is no matrix.", "It can only be copied.")
    parts = algebra.of_matrix(change.reshape(len(change), -1))
    up, down = parts.factors(_count(parts.values))
    return Term(up, down, 1.0, change.shape[2:])


def _lora(module: Module) -> Term:
    up, down = module.array("up"), module.array("down")
    return Term(_flat(up), _flat(down), module.scale, down.shape[2:])


def _loha(module: Module) -> Term:
    """Each column of the new matrices is a product of two columns of the old ones."""
    left = [_flat(module.array(f"hada_w{number}_a")) for number in "12"]
    right = [_flat(module.array(f"hada_w{number}_b")) for number in "12"]
    up = np.einsum("ir,is->irs", *left).reshape(len(left[0]), -1)
    down = np.einsum("rj,sj->rsj", *right).reshape(-1, right[0].shape[1])
    shape = module.shape or ()
    return Term(up, down, module.scale, shape[2:])


def _lokr(module: Module) -> Term:
    first, second = _side(module, "1"), _side(module, "2")
    pairs = np.multiply.outer(first.values, second.values).reshape(-1)
    count = _count(np.sort(pairs)[::-1])
    chosen = np.argsort(-pairs, kind="stable")[:count]
    rows, columns = np.divmod(chosen, len(second.values))
    root = np.sqrt(pairs[chosen])
    up = _kron(first.left(len(first.values))[:, rows].T, second.left(len(second.values))[:, columns].T).T * root
    down = root[:, None] * _kron(first.right(len(first.values))[rows], second.right(len(second.values))[columns])
    shape = module.shape or ()
    return Term(up, down, module.scale, shape[2:])


def _side(module: Module, number: str) -> algebra.Decomposed:
    if f"lokr_w{number}" in module.parts:
        return algebra.of_matrix(_flat(module.array(f"lokr_w{number}")))
    return algebra.decomposed(_flat(module.array(f"lokr_w{number}_a")), _flat(module.array(f"lokr_w{number}_b")))


def _kron(first: Floats, second: Floats) -> Floats:
    """The Kronecker product of each row of one matrix with the same row of another."""
    return (first[:, :, None] * second[:, None, :]).reshape(len(first), -1)


def _count(values: Floats) -> int:
    return max(1, int(np.count_nonzero(values > values[:1] * SMALLEST)))


def _flat(values: Floats) -> Floats:
    return values.reshape(len(values), -1)

"""LoHa: two low-rank products, multiplied number by number.

Source: lycoris-lora 4.1.3, functional/loha.py, HadaWeight and HadaWeightTucker. At another strength the whole change is multiplied.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainer_core.weights.networks.kinds.kind import Kind, Parts, Shape, Shapes, lacking, matrix, needed, product

if TYPE_CHECKING:
    from trainer_core.weights.numbers import Floats


class Loha(Kind):
    """The kind of LoHa."""

    layouts = ("loha",)

    def rank(self, shapes: Shapes) -> int:
        """The rank of each of the two products."""
        return shapes["hada_w1_b"][0] if shapes.get("hada_w1_b") else 0

    def shape(self, shapes: Shapes, key: str) -> Shape:
        """The shape that both products have."""
        first, second = (_shape(shapes, key, number) for number in "12")
        if first != second:
            raise lacking(key, f"has products of the shapes {list(first)} and {list(second)}, which do not fit")
        return first

    def delta(self, module: Parts, base: Floats | None) -> Floats:
        """The products, multiplied."""
        del base
        self.shape(module.shapes, module.key)
        return _product(module, "1") * _product(module, "2") * module.scale


def _shape(shapes: Shapes, key: str, number: str) -> Shape:
    left, right = needed(shapes, key, f"hada_w{number}_a", f"hada_w{number}_b")
    if f"hada_t{number}" not in shapes:
        return product(left, right, key)
    (core,) = needed(shapes, key, f"hada_t{number}")
    # The outer matrix is (rank, out) here.
    if len(core) < 3 or len(left) != 2 or len(right) != 2 or core[:2] != (left[0], right[0]):
        raise lacking(key, f"has parts that do not fit: {list(core)}, {list(left)} and {list(right)}")
    return (left[1], right[1], *core[2:])


def _product(module: Parts, number: str) -> Floats:
    left, right = module.array(f"hada_w{number}_a"), module.array(f"hada_w{number}_b")
    if f"hada_t{number}" in module.shapes:
        return tucker(module.array(f"hada_t{number}"), left, right)
    return (
        left.reshape(left.shape[:2]) @ right
        if right.ndim == 2
        else ((matrix(left) @ matrix(right)).reshape(len(left), *right.shape[1:]))
    )


def tucker(core: Floats, left: Floats, right: Floats) -> Floats:
    """The product of a core (rank, rank, kernel) with matrices (rank, out) and (rank, in): (out, in, kernel)."""
    import numpy as np

    # Source: lycoris-lora 4.1.3, functional/general.py, rebuild_tucker.
    return np.einsum("ij...,ip,jr->pr...", core, left, right, optimize=True)


kind = Loha()

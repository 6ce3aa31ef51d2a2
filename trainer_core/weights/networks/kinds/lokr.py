"""LoKr: the Kronecker product of a small and a larger matrix, each whole or a low-rank product.

Source: lycoris-lora 4.1.3, functional/lokr.py, _kron_weight, and modules/lokr.py: alpha / rank counts only where one of the two is
stored as a product. At another strength the whole change is multiplied.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from trainer_core.weights.networks.kinds.kind import Kind, Parts, Shape, Shapes, lacking, matrix, needed, product
from trainer_core.weights.networks.kinds.loha import tucker

if TYPE_CHECKING:
    from trainer_core.weights.numbers import Floats


class Lokr(Kind):
    """The kind of LoKr."""

    layouts = ("lokr",)

    def rank(self, shapes: Shapes) -> int:
        """The rank of the side that is stored as a product; 0 if both are whole."""
        part = next((part for part in ("lokr_w2_b", "lokr_w1_b") if shapes.get(part)), "")
        return shapes[part][0] if part else 0

    def shape(self, shapes: Shapes, key: str) -> Shape:
        """The product of the two shapes."""
        first, second = _shape(shapes, key, "1"), _shape(shapes, key, "2")
        if len(first) != 2 or len(second) < 2:
            raise lacking(key, f"has parts of the shapes {list(first)} and {list(second)}, which do not fit")
        return (first[0] * second[0], first[1] * second[1], *second[2:])

    def delta(self, module: Parts, base: Floats | None) -> Floats:
        """The Kronecker product."""
        import numpy as np

        del base
        self.shape(module.shapes, module.key)
        first, second = _side(module, "1"), _side(module, "2")
        return np.kron(first.reshape(first.shape + (1,) * (second.ndim - 2)), second) * np.float32(module.scale)


def _shape(shapes: Shapes, key: str, number: str) -> Shape:
    if f"lokr_w{number}" in shapes:
        return needed(shapes, key, f"lokr_w{number}")[0]
    left, right = needed(shapes, key, f"lokr_w{number}_a", f"lokr_w{number}_b")
    if number == "1" or "lokr_t2" not in shapes:
        return product(left, right, key)
    (core,) = needed(shapes, key, "lokr_t2")
    if len(core) < 3 or len(left) != 2 or len(right) != 2 or core[:2] != (left[0], right[0]):
        raise lacking(key, f"has parts that do not fit: {list(core)}, {list(left)} and {list(right)}")
    return (left[1], right[1], *core[2:])


def _side(module: Parts, number: str) -> Floats:
    if f"lokr_w{number}" in module.shapes:
        return module.array(f"lokr_w{number}")
    left, right = module.array(f"lokr_w{number}_a"), module.array(f"lokr_w{number}_b")
    if number == "2" and "lokr_t2" in module.shapes:
        return tucker(module.array("lokr_t2"), left, right)
    shape = (len(left), *right.shape[1:])
    return (matrix(left) @ matrix(right)).reshape(shape) if math.prod(shape) else left @ right


kind = Lokr()

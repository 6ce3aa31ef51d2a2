"""IA3: one number for each output or input of a layer, by which its weight is multiplied in addition.

Source: lycoris-lora 4.1.3, modules/ia3.py, _ia3_weight: W * (1 + strength * w).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainer_core.weights.networks.kinds.kind import Kind, Parts, Shape, Shapes, lacking, needed

if TYPE_CHECKING:
    from trainer_core.weights.numbers import Floats


class Ia3(Kind):
    """The kind of IA3."""

    layouts = ("ia3",)
    needs_base = True

    def shape(self, shapes: Shapes, key: str) -> Shape | None:
        """None: the numbers belong to one side of the weight."""
        needed(shapes, key, "weight", "on_input")

    def delta(self, module: Parts, base: Floats | None) -> Floats:
        """The weight, multiplied."""
        self.shape(module.shapes, module.key)
        assert base is not None
        factors, on_input = module.array("weight").reshape(-1), module.array("on_input").reshape(-1)
        axis = 1 if on_input.size and on_input[0] else 0
        if base.ndim <= axis or base.shape[axis] != factors.size:
            side = "inputs" if axis else "outputs"
            raise lacking(module.key, f"has {factors.size} numbers for a weight of {list(base.shape)} by its {side}")
        return base * factors.reshape([-1 if each == axis else 1 for each in range(base.ndim)])


kind = Ia3()

"""LoRA and LoCon: the product of two matrices, with a third one between them for a convolution in Tucker form.

Source: lycoris-lora 4.1.3, functional/locon.py and functional/general.py (rebuild_tucker); sd-scripts networks/lora.py; PEFT 0.21.2,
tuners/lora/layer.py. At another strength the whole change is multiplied, in all of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainer_core.weights.networks.kinds.kind import (
    Factors,
    Kind,
    Parts,
    Shape,
    Shapes,
    lacking,
    matrix,
    needed,
    product,
)

if TYPE_CHECKING:
    from trainer_core.weights.numbers import Floats


class Lora(Kind):
    """The kind of LoRA and LoCon."""

    layouts = ("lora",)

    def rank(self, shapes: Shapes) -> int:
        """The number of rows of the matrix on the side of the input."""
        return shapes["down"][0] if shapes.get("down") else 0

    def shape(self, shapes: Shapes, key: str) -> Shape:
        """The outputs of one matrix and the inputs of the other, with the kernel."""
        up, down = needed(shapes, key, "up", "down")
        if "lora_mid" not in shapes:
            return product(up, down, key)
        (mid,) = needed(shapes, key, "lora_mid")
        if len(mid) < 3 or mid[:2] != (up[1], down[0]):
            raise lacking(key, f"has a middle part of the shape {list(mid)}, which does not fit")
        return (*product((up[0], mid[0], *up[2:]), (mid[0], *down[1:]), key)[:2], *mid[2:])

    def factors(self, module: Parts) -> Factors:
        """The two matrices, the middle one multiplied into that of the input, and the scale into that of the output."""
        shape = self.shape(module.shapes, module.key)
        up, down = matrix(module.array("up")) * module.scale, module.array("down")
        if "lora_mid" in module.shapes:
            mid = module.array("lora_mid")
            # (rank, rank, kernel) and (rank, in): over the second rank.
            spread = mid.transpose(0, *range(2, mid.ndim), 1) @ matrix(down)
            down = spread.transpose(0, spread.ndim - 1, *range(1, spread.ndim - 1))
        return Factors(up, matrix(down), shape[2:])

    def delta(self, module: Parts, base: Floats | None) -> Floats:
        """The product."""
        del base
        found = self.factors(module)
        return (found.up @ found.down).reshape(found.shape)


kind = Lora()

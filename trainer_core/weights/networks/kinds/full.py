"""A full difference: the change itself, of the weight and perhaps of the bias; or the new weight itself.

Source: lycoris-lora 4.1.3, modules/full.py; ComfyUI comfy/lora.py, load_lora: diff, diff_b and set_weight.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainer_core.weights.networks.kinds.kind import Kind, Parts, Shape, Shapes, needed

if TYPE_CHECKING:
    from trainer_core.weights.numbers import Floats


class Full(Kind):
    """The kind of a full difference, and of the norms that any algorithm may train in addition."""

    def __init__(self, layout: str, part: str) -> None:
        self.layouts, self._part = (layout,), part

    def shape(self, shapes: Shapes, key: str) -> Shape | None:
        """The shape of the difference; None for a module that changes only the bias."""
        return needed(shapes, key, self._part)[0] if self._part in shapes else None

    def delta(self, module: Parts, base: Floats | None) -> Floats:
        """The difference."""
        del base
        needed(module.shapes, module.key, self._part)
        return module.array(self._part)


kind = Full("full", "diff")

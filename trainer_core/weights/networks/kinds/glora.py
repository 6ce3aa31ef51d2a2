"""GLoRA: a low-rank product, and the weight itself times another one.

Source: lycoris-lora 4.1.3, modules/glora.py, _glora_weight: W a1 a2 + b1 b2. Files of its first versions have the factors the other
way round: W a2 a1 + b2 b1 (ComfyUI comfy/weight_adapter/glora.py). At another strength the whole change is multiplied.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainer_core.weights.networks.kinds.kind import Kind, Parts, Shape, Shapes, lacking, matrix, needed

if TYPE_CHECKING:
    from trainer_core.weights.numbers import Floats


class Glora(Kind):
    """The kind of GLoRA."""

    layouts = ("glora",)
    needs_base = True

    def rank(self, shapes: Shapes) -> int:
        """The rank of both products."""
        if not shapes.get("a2") or not shapes.get("a1"):
            return 0
        return shapes["a1"][0] if self._is_old(shapes) else shapes["a2"][0]

    def shape(self, shapes: Shapes, key: str) -> Shape:
        """The shape of the product that does not use the weight."""
        a1, a2, b1, b2 = needed(shapes, key, "a1", "a2", "b1", "b2")
        if any(len(part) < 2 for part in (a1, a2, b1, b2)):
            raise lacking(key, "has parts that are not matrices")
        if self._is_old(shapes):
            a1, a2, b1, b2 = a2, a1, b2, b1
        if not a1[1] == a2[0] == b1[1] == b2[0] or a1[0] != a2[1] or a1[0] != b2[1]:
            raise lacking(key, f"has parts that do not fit: {list(a1)}, {list(a2)}, {list(b1)} and {list(b2)}")
        if "bm" in shapes:
            (core,) = needed(shapes, key, "bm")
            return (b1[0], b2[1], *core[2:])
        return (b1[0], *b2[1:])

    def delta(self, module: Parts, base: Floats | None) -> Floats:
        """Both products together."""
        import numpy as np

        shape = self.shape(module.shapes, module.key)
        assert base is not None
        names = ("a2", "a1", "b2", "b1") if self._is_old(module.shapes) else ("a1", "a2", "b1", "b2")
        a1, a2, b1, b2 = (module.array(name) for name in names)
        # The input channels are the second dimension of the weight, whatever the kernel.
        moved = np.moveaxis(base.reshape(shape), 1, -1)
        own = np.moveaxis((moved @ matrix(a1)) @ matrix(a2), -1, 1)
        if "bm" in module.shapes:
            core = module.array("bm")
            added = np.einsum("mn...,im,nj->ij...", core, matrix(b1), matrix(b2), optimize=True)
        else:
            added = (matrix(b1) @ matrix(b2)).reshape(shape)
        return ((own + added) * np.float32(module.scale)).astype(np.float32, copy=False)

    def _is_old(self, shapes: Shapes) -> bool:
        """Whether the factors are the other way round: a1 is then (rank, in), which has as many columns as the layer has inputs."""
        a1, a2, b1, b2 = (shapes.get(part, ()) for part in ("a1", "a2", "b1", "b2"))
        if any(len(part) < 2 for part in (a1, a2, b1, b2)):
            return False
        return not a1[1] == a2[0] == b1[1] == b2[0] and a1[0] == a2[1] == b1[0] == b2[1]


kind = Glora()

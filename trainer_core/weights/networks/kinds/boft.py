"""BOFT: rotations of the outputs of a layer in several stages, each of which mixes other outputs, as in a butterfly.

Source: lycoris-lora 4.1.3, functional/boft.py, _diff_weight. At another strength s the rotations of each stage are 1 + s (R - 1). Alpha
limits the norm as for OFT.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainer_core.weights.networks.kinds.kind import Kind, Parts, Shape, Shapes, lacking, needed
from trainer_core.weights.networks.kinds.oft import rescaled, rotations

if TYPE_CHECKING:
    from trainer_core.weights.numbers import Floats


class Boft(Kind):
    """The kind of BOFT."""

    layouts = ("boft",)
    needs_base = True

    def shape(self, shapes: Shapes, key: str) -> Shape | None:
        """None: only the outputs are known."""
        (blocks,) = needed(shapes, key, "oft_blocks")
        if len(blocks) != 4 or blocks[2] != blocks[3] or blocks[2] % 2:
            raise lacking(key, f"has blocks of the shape {list(blocks)}, which are no squares of an even size")

    def delta(self, module: Parts, base: Floats | None) -> Floats:
        """The rotated weight minus the weight."""
        return self.effect(module, base, 1.0)

    def effect(self, module: Parts, base: Floats | None, strength: float) -> Floats:
        """The change at a strength."""
        import numpy as np

        self.shape(module.shapes, module.key)
        assert base is not None
        blocks = module.array("oft_blocks")
        stages, count, size, _ = blocks.shape
        outputs = count * size
        if outputs != len(base) or outputs % (size << max(stages - 1, 0)):
            raise lacking(module.key, f"turns {outputs} outputs in {stages} stages, but the layer has {len(base)}")
        one = np.eye(size, dtype=np.float32)
        turns = one + np.float32(strength) * (rotations(blocks, (module.alpha or 0) * outputs) - one)
        now = base.reshape(outputs, -1)
        for stage in range(stages):
            distance = size // 2 << stage
            mixed = now.reshape(-1, 2, distance, now.shape[1]).swapaxes(1, 2).reshape(count, size, -1)
            now = (turns[stage] @ mixed).reshape(-1, distance, 2, now.shape[1]).swapaxes(1, 2).reshape(outputs, -1)
        return rescaled(module, base, (now - base.reshape(outputs, -1)).reshape(base.shape))


kind = Boft()

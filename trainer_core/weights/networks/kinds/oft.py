"""OFT: a rotation of the outputs of a layer, block by block.

Source: lycoris-lora 4.1.3, modules/diag_oft.py, make_weight; sd-scripts networks/oft.py and oft_flux.py. The rotation of a block is
R = (1 + Q) (1 - Q)^-1 with Q = B - B^T, and the outputs become R^T W; the norm of all Q together is at most alpha times the number of
outputs. At another strength s the rotation is 1 + s (R - 1); a scale of the outputs (rescale) has its full effect at any strength.
ComfyUI multiplies by the strength twice and leaves the scale out, so it agrees at strength 1 and without a scale only.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from trainer_core.weights.networks.kinds.kind import Kind, Parts, Shape, Shapes, lacking, needed

if TYPE_CHECKING:
    from trainer_core.weights.numbers import Floats


class Oft(Kind):
    """The kind of OFT."""

    layouts = ("oft", "oft_pieces")
    needs_base = True

    def shape(self, shapes: Shapes, key: str) -> Shape | None:
        """None: only the outputs are known."""
        (blocks,) = needed(shapes, key, "oft_blocks" if "oft_blocks" in shapes else "oft_blocks_0")
        if len(blocks) != 3 or blocks[1] != blocks[2]:
            raise lacking(key, f"has blocks of the shape {list(blocks)}, which are no squares")

    def delta(self, module: Parts, base: Floats | None) -> Floats:
        """The rotated weight minus the weight."""
        return self.effect(module, base, 1.0)

    def effect(self, module: Parts, base: Floats | None, strength: float) -> Floats:
        """The change at a strength."""
        import numpy as np

        self.shape(module.shapes, module.key)
        assert base is not None
        made: Floats = np.zeros(base.shape, np.float32)
        row = 0
        for name in module.pieces():
            blocks = module.tensor(name)
            if blocks.ndim != 3 or blocks.shape[1] != blocks.shape[2]:
                raise lacking(module.key, f"has blocks of the shape {list(blocks.shape)}, which are no squares")
            rows = math.prod(blocks.shape[:2])
            made[row : row + rows] = _turned(blocks, base[row : row + rows], (module.alpha or 0) * rows, strength)
            row += rows
        if row != len(base):
            raise lacking(module.key, f"turns {row} outputs, but the layer has {len(base)}")
        return rescaled(module, base, made)


def rescaled(module: Parts, base: Floats, change: Floats) -> Floats:
    """A change with the scale of the outputs, if the module has one."""
    if "rescale" not in module.shapes:
        return change
    scale = module.array("rescale").reshape(-1)
    if scale.size != len(base):
        raise lacking(module.key, f"has {scale.size} scales for {len(base)} outputs")
    scale = scale.reshape(-1, *(1,) * (base.ndim - 1))
    one: Floats = scale - scale.dtype.type(1)
    return (scale * change + one * base).astype(change.dtype, copy=False)


def rotations(blocks: Floats, most: float) -> Floats:
    """The rotations of blocks; `most` is the largest norm of what they are made from, 0 for none."""
    import numpy as np

    turn = blocks - np.swapaxes(blocks, -1, -2)
    norm = float(np.linalg.norm(turn)) + 1e-8
    if most > 0 and norm > most:
        turn = turn * np.float32(most / norm)
    one = np.eye(blocks.shape[-1], dtype=np.float32)
    # (1 + Q) and (1 - Q)^-1 commute, so the order of the product does not matter.
    return np.linalg.solve(one - turn, one + turn).astype(np.float32, copy=False)


def _turned(blocks: Floats, base: Floats, most: float, strength: float) -> Floats:
    import numpy as np

    if len(base) != math.prod(blocks.shape[:2]):
        return np.zeros(base.shape, np.float32)
    turn: Floats = (rotations(blocks, most) - np.eye(blocks.shape[-1], dtype=np.float32)) * np.float32(strength)
    turned: Floats = np.swapaxes(turn, -1, -2) @ base.reshape(*blocks.shape[:2], -1)
    return turned.reshape(base.shape)


kind = Oft()

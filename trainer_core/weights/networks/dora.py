"""DoRA: a module of any kind whose changed weight gets a learned magnitude for each output, or each input.

Source: lycoris-lora 4.1.3, functional/general.py, weight_decompose; PEFT 0.21.2, tuners/lora/dora.py: the weight is multiplied by
magnitude / norm, with the norm of the changed weight. At another strength the whole effect is multiplied, as in ComfyUI
(comfy/weight_adapter/base.py, weight_decompose); LyCORIS keeps the change itself even at strength 0. ComfyUI divides by the norm of
the weight before its change where the magnitude is that of the outputs, which is not what was trained.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from trainer_core.weights.networks.kinds.kind import Parts, Shape, lacking

if TYPE_CHECKING:
    from trainer_core.weights.numbers import Floats

SMALLEST = 1.1920929e-07
"""What is added to a norm, so that it is never 0. Source: torch.finfo(torch.float32).eps, as in LyCORIS."""


def delta(module: Parts, base: Floats, change: Floats, magnitude: Floats, *, by_output: bool) -> Floats:
    """The whole effect at strength 1 of a change and a magnitude on a weight."""
    import numpy as np

    changed = base + change.reshape(base.shape)
    axis = 0 if by_output else 1
    if base.ndim < 2 or magnitude.size != base.shape[axis]:
        raise lacking(module.key, f"has {magnitude.size} magnitudes for a weight of the shape {list(base.shape)}")
    others = tuple(each for each in range(base.ndim) if each != axis)
    norm = np.sqrt(np.sum(np.square(changed, dtype=np.float32), axis=others, keepdims=True))
    return changed * (magnitude.reshape(norm.shape) / (norm + np.float32(SMALLEST))) - base


def is_by_output(key: str, shape: Shape, out: int) -> bool:
    """Whether a magnitude belongs to the outputs of a layer. PEFT and ai-toolkit have no other; LyCORIS and OneTrainer show it by the shape."""
    return not key.endswith(".dora_scale") or len(shape) < 2 or (shape[0] == out and math.prod(shape) == out)

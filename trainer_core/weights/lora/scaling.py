"""Multiplies the change of each module of a network, exactly where its file has an alpha, and without touching what stays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from trainer_core.errors import WeightsError
from trainer_core.text import printable
from trainer_core.weights.lora import proportional
from trainer_core.weights.lora.making import Layer, Tensor
from trainer_core.weights.networks.modules import BIASES, Module


class Stored(NamedTuple):
    """A module's tensors as they are stored, by part."""

    module: Module
    tensors: Mapping[str, Tensor]


def layer(stored: Stored, block: str, times: float) -> Layer:
    """A module with its change multiplied by `times`. With 0 it has no tensors: the layer is left out.

    Alpha carries the size, in float32. A sign goes into a matrix, because programs may not expect a negative alpha.

    Raises:
        WeightsError: the change is not proportional to anything in the file, or a number would be too large for its dtype.
    """
    module = stored.module
    proportional.check(module, times)
    if times == 0:
        return Layer(module.key, block, 0, module.rank, 0.0, 0.0, ())
    if times == 1:
        return Layer(module.key, block, module.rank, module.rank, 0.0, 0.0, tuple(stored.tensors.values()), True)
    found = dict(stored.tensors)
    left = times
    if module.layout in proportional.BY_ALPHA and "alpha" in found and module.alpha:
        alpha = np.float32(module.alpha) * np.float32(abs(times))
        found["alpha"] = Tensor(found["alpha"].name, "F32", np.array(alpha, np.float32))
        left = float(np.sign(times))
    carrier = next((part for part in proportional.CARRIERS[module.layout] if part in found), "")
    for part, factor in ((carrier, left), *((part, times) for part in BIASES if part != carrier)):
        if part in found and factor != 1:
            found[part] = _multiplied(found[part], factor)
    return Layer(module.key, block, module.rank, module.rank, 0.0, 0.0, tuple(found.values()))


def _multiplied(tensor: Tensor, factor: float) -> Tensor:
    with np.errstate(over="ignore"):
        made = (tensor.values.astype(np.float32) * np.float32(factor)).astype(tensor.values.dtype)
    if not np.isfinite(made).all():
        raise WeightsError(
            f"{printable(tensor.name, 120)} would contain numbers that are too large for {tensor.dtype}.",
            "Convert the file to bf16 or fp32 first.",
        )
    return Tensor(tensor.name, tensor.dtype, made)

"""The weights of a model with the changes of networks: added in float32, and rounded once."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from trainer_core.errors import WeightsError
from trainer_core.text import printable
from trainer_core.weights import numbers, reading
from trainer_core.weights.dtypes import CHUNK, FLOATS
from trainer_core.weights.networks.kinds.kind import Factors, matrix
from trainer_core.weights.networks.mixing import Mix, Use
from trainer_core.weights.networks.places import Layer
from trainer_core.weights.numbers import Floats
from trainer_core.weights.reading import Weights

WIDER = "Choose bf16 or fp32 instead."


class Baker:
    """Computes the changed tensors of an open model, one after another.

    Each network is computed from the weights of the model before any change, and the changes are added: the order of the networks
    has no effect.
    """

    def __init__(self, model: Weights, mix: Mix) -> None:
        self._model, self._mix = model, mix

    def chunks(self, name: str, dtype: str) -> Iterator[NDArray[np.generic]]:
        """The numbers of a tensor in the dtype of the new file, in order; changed if a network changes it.

        Raises:
            WeightsError: a number is too large for the dtype, or is none because the model is damaged.
        """
        info = self._model.tensors[name]
        if name in self._mix.biases or len(info.shape) < 2:
            yield self._stored(name, self._whole(name), dtype)
            return
        width = math.prod(info.shape[1:])
        rows = max(CHUNK // max(width, 1), 1)
        changes = [_Change(use, self._model) for use in self._mix.weights.get(name, ())]
        row = 0
        for chunk in self._model.chunks(name, rows * width):
            block = chunk.reshape(-1, width)
            for change in changes:
                change.add(block, row)
            row += len(block)
            yield self._stored(name, chunk, dtype)

    def _whole(self, name: str) -> Floats:
        """A bias or a norm: small, so in one piece."""
        found = self._model.floats(name).copy()
        for use in self._mix.weights.get(name, ()):
            _Change(use, self._model).add(found.reshape(len(found), -1), 0)
        for use in self._mix.biases.get(name, ()):
            bias = use.module.bias(use.strength)
            assert bias is not None
            target = use.target
            found[target.start : target.start + target.rows] += bias.reshape(-1)[
                target.first : target.first + target.rows
            ]
        return found

    def _stored(self, name: str, values: Floats, dtype: str) -> NDArray[np.generic]:
        made = numbers.stored(values, dtype)
        if dtype not in FLOATS or numbers.is_finite(made, dtype):
            return made
        if math.isfinite(float(np.abs(values).max())):
            advice = "Convert the model to bf16 or fp32 first." if self._model.header.is_folder else WIDER
            raise WeightsError(f"A number of {printable(name, 120)} is too large for {dtype}.", advice)
        if not self._model.is_finite(name):
            raise reading.damaged(name, [self._model])
        raise WeightsError(
            f"{printable(name, 120)} would have numbers that are not finite (NaN or infinite): a strength is too large.",
            "Use a smaller strength.",
        )


class _Change:
    """The change that one module makes to rows of a tensor."""

    def __init__(self, use: Use, model: Weights) -> None:
        self._target = use.target
        module, first, rows = use.module, use.target.first, use.target.rows
        factors = None if module.needs_base else module.factors()
        self._factors: Factors | None = None
        self._whole: Floats | None = None
        if factors is not None:
            up = factors.up[first : first + rows] * np.float32(use.strength)
            self._factors = Factors(up, factors.down)
        else:
            base = gathered(model, use.layer) if module.needs_base else None
            effect = module.effect(base, use.strength)
            self._whole = matrix(effect)[first : first + rows]

    def add(self, block: Floats, row: int) -> None:
        """Adds the change to a block of rows of the tensor that begins at `row`."""
        start, stop = max(self._target.start, row), min(self._target.start + self._target.rows, row + len(block))
        if start >= stop:
            return
        into, own = block[start - row : stop - row], slice(start - self._target.start, stop - self._target.start)
        if self._factors is not None:
            into += self._factors.up[own] @ self._factors.down
        elif self._whole is not None:
            into += self._whole[own]


def gathered(model: Weights, layer: Layer) -> Floats:
    """The weight of a layer, from all the tensors that it is in."""
    (first, *more) = layer.targets
    if not more and layer.shape == model.tensors[first.tensor].shape:
        return model.floats(first.tensor)
    found = np.empty(layer.shape, np.float32)
    for target in layer.targets:
        rows = model.floats(target.tensor)[target.start : target.start + target.rows]
        found[target.first : target.first + target.rows] = rows.reshape(target.rows, *layer.shape[1:])
    return found

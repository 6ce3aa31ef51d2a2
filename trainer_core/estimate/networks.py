"""The size of a network: parameters, tensors and bytes, from its algorithm and its target layers.

Source: lycoris-lora 4.1.3, modules/*.py and functional/general.py; sd-scripts networks/lora.py, dylora.py, lora_fa.py; PEFT for
SimpleTuner's plain LoRA. `tests/core/test_estimate_networks.py` compares it with networks that these classes wrote.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from trainer_core.estimate.models import Layers
from trainer_core.plan.sections import NetworkSettings

NAME_BYTES = 150
"""Bytes per tensor in the header of a file, including its name."""


@dataclass(frozen=True)
class Network:
    """The numbers of parameters, of trained parameters and of tensors of a network.

    `weights` is the number of parameters of its target layers.
    """

    parameters: int
    trained: int
    tensors: int
    weights: int

    def scaled(self, parameters: float, layers: float, sides: float) -> Network:
        """This network on a model of another size, whose parameters, layers and sides are multiplied by these factors."""
        own, trained = round(self.parameters * sides), round(self.trained * sides)
        return Network(own, trained, round(self.tensors * layers), round(self.weights * parameters))

    def file_bytes(self, number_bytes: int) -> int:
        """The size of its file, from the bytes per number."""
        return self.parameters * number_bytes + self.tensors * NAME_BYTES


@dataclass(frozen=True)
class _Layer:
    """One target layer and its rank. `kernel` is the product of the sides of a convolution's kernel."""

    out: int
    into: int
    kernel: int
    rank: int
    is_convolution: bool

    @property
    def weight(self) -> int:
        return self.out * self.into * self.kernel


def network(settings: NetworkSettings, layers: Layers) -> Network:
    """The size of the network with these settings on these layers."""
    count = _COUNTS.get(settings.algorithm, _lora)
    parameters = tensors = weights = trained = 0
    for size, number in layers.items():
        layer = _layer(size, settings)
        numbers, own = count(layer, settings)
        extra, more = _scale(layer, settings)
        parameters += number * (numbers + extra)
        # LoRA-FA freezes the down-projection.
        trained += number * (layer.rank * layer.out if settings.algorithm == "lora_fa" else numbers + extra)
        tensors += number * (own + more)
        weights += number * layer.weight
    return Network(parameters, trained, tensors, weights)


def _layer(size: str, settings: NetworkSettings) -> _Layer:
    out, into, *kernel = (int(each) for each in size.split("x"))
    spread = math.prod(kernel)
    rank = (settings.conv_rank or settings.rank) if spread > 1 else settings.rank
    return _Layer(out, into, spread, rank, bool(kernel))


def _scale(layer: _Layer, settings: NetworkSettings) -> tuple[int, int]:
    """(parameters, tensors) of the magnitudes that DoRA learns, one for each input or output."""
    decomposed = settings.weight_decompose and settings.algorithm in ("locon", "loha", "lokr")
    return (layer.out, 1) if decomposed or settings.algorithm == "dora" else (0, 0)


def _lora(layer: _Layer, settings: NetworkSettings) -> tuple[int, int]:
    if _is_tucker(layer, settings, ("locon",)):
        return layer.rank * (layer.into + layer.out + layer.rank * layer.kernel), 4
    return layer.rank * (layer.into * layer.kernel + layer.out), 3


def _loha(layer: _Layer, settings: NetworkSettings) -> tuple[int, int]:
    if _is_tucker(layer, settings, ("loha",)):
        return 2 * layer.rank * (layer.into + layer.out + layer.rank * layer.kernel), 7
    return 2 * layer.rank * (layer.into * layer.kernel + layer.out), 5


def _lokr(layer: _Layer, settings: NetworkSettings) -> tuple[int, int]:
    (out_small, out_large), (in_small, in_large) = (
        factorization(size, settings.factor) for size in (layer.out, layer.into)
    )
    rank, numbers, tensors = layer.rank, out_small * in_small, 2
    thin = settings.decompose_both and not settings.full_matrix and rank < max(out_small, in_small) / 2
    if thin:
        numbers, tensors = rank * (out_small + in_small), 3
    if settings.full_matrix or rank >= max(out_large, in_large) / 2:
        return numbers + out_large * in_large * layer.kernel, tensors + 1
    if _is_tucker(layer, settings, ("lokr",)):
        return numbers + rank * (out_large + in_large + rank * layer.kernel), tensors + 3
    return numbers + rank * (out_large + in_large * layer.kernel), tensors + 2


def _glora(layer: _Layer, _: NetworkSettings) -> tuple[int, int]:
    return layer.rank * (2 * layer.into + layer.into * layer.kernel + layer.out), 5


def _ia3(layer: _Layer, _: NetworkSettings) -> tuple[int, int]:
    return layer.out, 2


def _oft(layer: _Layer, settings: NetworkSettings) -> tuple[int, int]:
    size, number = factorization(layer.out, layer.rank)
    return number * size**2 + (layer.out if settings.rescaled else 0), 3 if settings.rescaled else 2


def _boft(layer: _Layer, settings: NetworkSettings) -> tuple[int, int]:
    size, number = _power_of_two(layer.out, layer.rank)
    rounds = max(number - 1, 0).bit_count() + 1
    return rounds * number * size**2 + (layer.out if settings.rescaled else 0), 3 if settings.rescaled else 2


def _full(layer: _Layer, _: NetworkSettings) -> tuple[int, int]:
    return layer.weight + layer.out, 2


_COUNTS: Mapping[str, Callable[[_Layer, NetworkSettings], tuple[int, int]]] = {
    "loha": _loha,
    "lokr": _lokr,
    "glora": _glora,
    "ia3": _ia3,
    "oft": _oft,
    "boft": _boft,
    "full": _full,
}
"""Functions that return (parameters, tensors) of one layer; the other algorithms have the shape of a LoRA."""


def _is_tucker(layer: _Layer, settings: NetworkSettings, algorithms: tuple[str, ...]) -> bool:
    return settings.tucker and layer.kernel > 1 and settings.algorithm in algorithms


def factorization(size: int, factor: int) -> tuple[int, int]:
    """Two factors of `size`, the smaller first: it is at most `factor`, or as large as possible if `factor` is -1.

    Source: lycoris functional/general.py, factorization.
    """
    if factor > 0 and size % factor == 0:
        return min(factor, size // factor), max(factor, size // factor)
    limit = size if factor < 0 else factor
    small, large = 1, size
    while small < large:
        more = next(number for number in range(small + 1, size + 1) if size % number == 0)
        if more + size // more > small + large or more > limit:
            break
        small, large = more, size // more
    return min(small, large), max(small, large)


def _power_of_two(size: int, factor: int) -> tuple[int, int]:
    """(size of a block, number of blocks), the number a power of two. Source: power2factorization, in the same file."""
    number = 0
    for block in range(2, min(factor, size) + 1, 2):
        if size % block == 0 and (size // block).bit_count() == 1:
            number = size // block
    return (size // number, number) if number else (min(factor, size), math.ceil(size / max(factor, 1)))

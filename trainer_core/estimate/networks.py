"""How large a network is: numbers, tensors and bytes, by its algorithm and the layers it is put on.

Source: lycoris-lora 4.1.3, modules/*.py and functional/general.py; sd-scripts networks/lora.py, dylora.py, lora_fa.py; PEFT for
SimpleTuner's plain LoRA. `tests/core/test_estimate_networks.py` holds it to networks that these classes wrote.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from trainer_core.estimate.models import Layers
from trainer_core.plan.sections import NetworkSettings

NAME_BYTES = 150
"""What a tensor takes in the header of a file, with its name."""


@dataclass(frozen=True)
class Network:
    """`parameters` are all its numbers, `trained` those that are trained, `tensors` the tensors of its file.

    `weights` are the numbers of the layers it is put on.
    """

    parameters: int
    trained: int
    tensors: int
    weights: int

    def file_bytes(self, number_bytes: int) -> int:
        """The size of its file."""
        return self.parameters * number_bytes + self.tensors * NAME_BYTES


@dataclass(frozen=True)
class _Layer:
    """One layer and the rank it gets. `kernel` is the product of the sides of a convolution's kernel."""

    out: int
    into: int
    kernel: int
    rank: int
    is_convolution: bool

    @property
    def weight(self) -> int:
        return self.out * self.into * self.kernel


def network(settings: NetworkSettings, layers: Layers) -> Network:
    """The network that these settings put on these layers."""
    count = _COUNTS.get(settings.algorithm, _lora)
    parameters = tensors = weights = trained = 0
    for size, number in layers.items():
        layer = _layer(size, settings)
        numbers, own = count(layer, settings)
        extra, more = _scale(layer, settings)
        parameters += number * (numbers + extra)
        # LoRA-FA freezes the matrix that looks at the input.
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
    """(numbers, tensors) of the lengths that DoRA learns, one for each input or output."""
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
"""(numbers, tensors) of one layer; the others are LoRAs in shape."""


def _is_tucker(layer: _Layer, settings: NetworkSettings, algorithms: tuple[str, ...]) -> bool:
    return settings.tucker and layer.kernel > 1 and settings.algorithm in algorithms


def factorization(size: int, factor: int) -> tuple[int, int]:
    """Two numbers whose product is `size`, the first near to `factor` and not above the second; -1: as near as can be.

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
    """(size of a block, number of blocks) where the number is a power of two. Source: power2factorization, as above."""
    number = 0
    for block in range(2, min(factor, size) + 1, 2):
        if size % block == 0 and (size // block).bit_count() == 1:
            number = size // block
    return (size // number, number) if number else (min(factor, size), math.ceil(size / max(factor, 1)))

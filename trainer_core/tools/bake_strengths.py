"""The strengths of baking: of each network, and by block of the model with the names that merging and scaling have."""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Mapping, Sequence

from trainer_core.errors import WeightsError, wrong_use
from trainer_core.text import printable
from trainer_core.weights.lora import blocks as labels
from trainer_core.weights.networks.mixing import Strengths, begins
from trainer_core.weights.networks.modules import Network
from trainer_core.weights.networks.places import Index

STRONGEST = 100.0


def of_each(
    networks: Sequence[Network],
    strengths: tuple[tuple[float, ...], tuple[float, ...]],
    blocks: Mapping[str, float],
    index: Index,
) -> list[Strengths]:
    """The strengths of each network: `strengths` for the denoiser and for the text encoders, and factors by block.

    A name in `blocks` is that of a block, such as IN04 or OUT*, or else the beginning of the names of layers of the model.

    Raises:
        WeightsError: there are not as many as networks, one is no number between -100 and 100, or a name fits nothing.
    """
    count = len(networks)
    denoiser = strengths[0] or (1.0,) * count
    text = strengths[1] or denoiser
    for values in (denoiser, text):
        if len(values) != count:
            raise WeightsError(
                f"There are {count} networks, but {len(values)} strengths.", "Give one strength for each network."
            )
    for value in (*denoiser, *text, *blocks.values()):
        if not math.isfinite(value) or abs(value) > STRONGEST:
            raise WeightsError(f"A strength is {value}.", f"It can be from -{STRONGEST:g} to {STRONGEST:g}.")
    named, starts = _sorted(networks, blocks, index)
    return [
        Strengths(one, other, starts, _by_module(network, named, index.family))
        for network, one, other in zip(networks, denoiser, text, strict=True)
    ]


def _sorted(
    networks: Sequence[Network], wanted: Mapping[str, float], index: Index
) -> tuple[dict[str, float], dict[str, float]]:
    """The factors whose names are those of blocks, and those whose names are beginnings of names of layers.

    Raises:
        WeightsError: a name is neither.
    """
    if not wanted:
        return {}, {}
    found = {labels.block_of(module.key, index.family) for network in networks for module in network.modules}
    if any(labels.is_text(block, index.family) for block in found):
        found.add(labels.BASE)
    layers = [index.layer(module.key) for network in networks for module in network.modules]
    named, starts = {}, {}
    for name, factor in wanted.items():
        if any(fnmatch.fnmatchcase(block, name) for block in found):
            named[name] = factor
        elif name and any(layer is not None and begins(layer, name) for layer in layers):
            starts[name] = factor
        else:
            raise wrong_use(
                WeightsError(
                    f"The networks change no block called {printable(name, 40)}, and no layer whose name begins so.",
                    f"Their blocks: {', '.join(labels.in_order(found, index.family))}.",
                )
            )
    return named, starts


def _by_module(network: Network, named: Mapping[str, float], family: str) -> dict[str, float]:
    """The factor of each module by its key."""
    if not named:
        return {}
    return {module.key: labels.factor(labels.block_of(module.key, family), named, family) for module in network.modules}

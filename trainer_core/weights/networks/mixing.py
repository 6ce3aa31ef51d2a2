"""What one or several networks with strengths change in a model: each tensor, and by which modules. Known from the headers alone."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from trainer_core.errors import WeightsError
from trainer_core.models.families import load_families
from trainer_core.models.header import Header
from trainer_core.models.header.tensors import shown
from trainer_core.text import printable
from trainer_core.weights.dtypes import CHUNK, FLOATS
from trainer_core.weights.networks.kinds.kind import lacking
from trainer_core.weights.networks.modules import BIASES, Module, Network
from trainer_core.weights.networks.places import Index, Layer, Target, bias_of

NAMED = 3
_TEXT = re.compile(r"lora_te\d?_|text_encoder(?:_\d)?\.")
_PREFIX = re.compile(r"(?:model\.diffusion_model\.|diffusion_model\.|net\.|unet/|transformer/)?(.*)")


@dataclass(frozen=True)
class Strengths:
    """How strongly a network is applied: to the denoiser, to the text encoders, and what the parts of the model multiply this by.

    `blocks` has the beginnings of the names of layers, such as "double_blocks.3"; the longest that fits counts. Where none does,
    the factor in `modules` counts, which is by the key of a module.
    """

    denoiser: float = 1.0
    text: float = 1.0
    blocks: Mapping[str, float] = field(default_factory=dict)
    modules: Mapping[str, float] = field(default_factory=dict)

    def of(self, layer: Layer, key: str) -> float:
        """The strength of the module with this key for its layer."""
        fitting = [each for each in self.blocks if begins(layer, each)]
        times = self.blocks[max(fitting, key=len)] if fitting else self.modules.get(key, 1.0)
        return (self.text if layer.text else self.denoiser) * times


def begins(layer: Layer, start: str) -> bool:
    """Whether the name of a layer in the model begins with these parts, such as "double_blocks.3"."""
    tensor = layer.targets[0].tensor
    found = _PREFIX.fullmatch(tensor)
    name = found[1] if found else tensor
    return name == start or name.startswith(f"{start.rstrip('.')}.")


class Use(NamedTuple):
    """A module that changes rows of a tensor."""

    module: Module
    layer: Layer
    target: Target
    strength: float


@dataclass(frozen=True)
class Mix:
    """What changes in a model: the modules for each weight and for each bias, and the modules without a layer, by network."""

    weights: Mapping[str, Sequence[Use]]
    biases: Mapping[str, Sequence[Use]]
    missing: Sequence[tuple[Network, tuple[Module, ...]]]

    @property
    def changed(self) -> set[str]:
        """The names of the changed tensors."""
        return {*self.weights, *self.biases}


def mixed(model: Header, networks: Sequence[tuple[Network, Strengths]], family: str = "") -> Mix:
    """What networks change in a model. `family` is the model's, if the header does not show it.

    Raises:
        WeightsError: a network was made for another family, or a module does not fit the weight that it changes.
    """
    index = Index(model, family)
    weights: dict[str, list[Use]] = {}
    biases: dict[str, list[Use]] = {}
    missing = []
    for network, strengths in networks:
        _check_family(network, index.family, model)
        without = []
        for module in network.modules:
            layer = index.layer(module.key)
            if layer is None:
                if strengths.text if _TEXT.match(module.key) else strengths.denoiser:
                    without.append(module)
                continue
            strength = strengths.of(layer, module.key)
            if not strength:
                continue
            _check(module, layer, model)
            for target in layer.targets:
                if module.has_weight:
                    weights.setdefault(target.tensor, []).append(Use(module, layer, target, strength))
                if set(BIASES) & set(module.parts):
                    _add_bias(biases, model, Use(module, layer, target, strength))
        missing.append((network, tuple(without)))
    return Mix(weights, biases, missing)


def lacking_layers(mix: Mix) -> Iterator[str]:
    """A sentence for each network some of whose modules have no layer in the model."""
    for network, modules in mix.missing:
        if modules:
            names = ", ".join(printable(module.key, 120) for module in modules[:NAMED])
            more = ", ..." if len(modules) > NAMED else ""
            yield (
                f"{shown(network.header.path)}: the model has no layers for {len(modules)} of its "
                f"{len(network.modules)} modules ({names}{more})."
            )


def largest_memory(model: Header, mix: Mix) -> int:
    """The most bytes that the changes of one tensor need: the factors, or the weight and its change for a kind that needs it."""
    most = 0
    for name, uses in mix.weights.items():
        whole = 4 * math.prod(model.tensors[name].shape)
        heavy = any(use.module.needs_base or use.module.layout != "lora" for use in uses)
        most = max(most, 4 * whole if heavy else sum(4 * use.module.rank * sum(use.layer.shape[:2]) for use in uses))
    return most + 32 * CHUNK


def _check_family(network: Network, family: str, model: Header) -> None:
    if network.family and family and network.family != family:
        raise WeightsError(
            f"{shown(network.header.path)} was made for {_title(network.family)}, but {shown(model.path)} is {_title(family)}.",
            "Choose a model of the family of the network.",
        )


def _title(family: str) -> str:
    found = load_families().get(family)
    return found.title if found else printable(family, 60)


def _check(module: Module, layer: Layer, model: Header) -> None:
    if module.has_weight:
        module.check(layer.shape)
    for target in layer.targets:
        dtype = model.tensors[target.tensor].dtype
        if dtype not in FLOATS:
            raise WeightsError(
                f"{printable(target.tensor, 120)} has weights of the type {dtype}, to which a network cannot be added.",
                "Convert the model to fp16 or bf16 first.",
            )


def _add_bias(biases: dict[str, list[Use]], model: Header, use: Use) -> None:
    name = bias_of(use.target.tensor)
    info = model.tensors.get(name)
    part = next(part for part in BIASES if part in use.module.parts)
    rows = math.prod(use.module.shapes[part])
    if info is None or info.dtype not in FLOATS or rows != use.layer.shape[0] or len(info.shape) != 1:
        raise lacking(
            use.module.key, f"changes the bias {printable(name, 120)}, which the model does not have in this form"
        )
    biases.setdefault(name, []).append(use)

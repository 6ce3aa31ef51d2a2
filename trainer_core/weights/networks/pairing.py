"""The layers of two models that are compared to extract a LoRA. Known from the headers alone."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from trainer_core.errors import WeightsError
from trainer_core.models.families import load_families
from trainer_core.models.header import Header
from trainer_core.models.header.tensors import shown
from trainer_core.text import printable
from trainer_core.weights.dtypes import FLOATS
from trainer_core.weights.networks import naming
from trainer_core.weights.networks.naming import Trained
from trainer_core.weights.networks.places import Index, Layer


@dataclass(frozen=True)
class Choice:
    """What is compared: one of `naming.NAMINGS`, the parts, and whether convolutions over several pixels are."""

    naming: str
    denoiser: bool
    text: bool
    convs: bool


@dataclass(frozen=True)
class Pair:
    """A layer to compare: as the tuned model has it, and as the base has it."""

    tuned: Trained
    base: Layer


@dataclass(frozen=True)
class Plan:
    """An extraction that has been checked: the family, the layers to compare, and sentences for the user."""

    tuned: Header
    base: Header
    family: str
    pairs: Sequence[Pair]
    notes: tuple[str, ...]


def planned(tuned: Header, base: Header, family: str, choice: Choice) -> Plan:
    """The layers of two models that are compared; "" stands for the family that their headers show.

    Raises:
        WeightsError: they are of different families, a layer has another shape, or there are none to compare.
    """
    one, other = Index(tuned, family), Index(base, family)
    if one.family != other.family or one.family not in load_families():
        raise WeightsError(
            f"{shown(tuned.path)} is {_title(one.family)}, and {shown(base.path)} is {_title(other.family)}.",
            "Choose two models of one family.",
        )
    found, unloaded = naming.trained(one, choice.naming)
    pairs, lacking, convs = [], 0, 0
    for row in found:
        if not (choice.text if row.layer.text else choice.denoiser):
            continue
        if row.is_conv and not choice.convs:
            convs += 1
            continue
        layer = other.layer(row.key)
        if layer is None or not _is_computed(tuned, row.layer) or not _is_computed(base, layer):
            lacking += 1
            continue
        if layer.shape[0] != row.layer.shape[0] or math.prod(layer.shape) != math.prod(row.layer.shape):
            raise WeightsError(
                f"{printable(row.key, 120)} is {list(row.layer.shape)} in {shown(tuned.path)}, but {list(layer.shape)} in {shown(base.path)}.",
                "Choose the model that was tuned, and the one that it was tuned from.",
            )
        pairs.append(Pair(row, layer))
    if not pairs:
        raise WeightsError("The models share no layers that a LoRA can change.", "Check that both are of one family.")
    return Plan(tuned, base, one.family, pairs, tuple(_notes(len(pairs), lacking, convs, unloaded)))


def _notes(pairs: int, lacking: int, convs: int, unloaded: int) -> Iterator[str]:
    yield f"{pairs} layers are compared; those that are the same are left out."
    if convs:
        yield f"{convs} convolutions over several pixels are left out: --conv-rank includes them."
    if lacking:
        yield f"{lacking} layers are left out, because the base lacks them or one of the files has them in a packed form."
    if unloaded:
        yield f"{unloaded} layers are left out, because ComfyUI and diffusers would not load them in a LoRA."


def _is_computed(model: Header, layer: Layer) -> bool:
    return all(model.tensors[target.tensor].dtype in FLOATS for target in layer.targets)


def _title(family: str) -> str:
    found = load_families().get(family)
    return found.title if found else "of no family that Easel knows"

"""What is known of models, VAEs and text encoders: sizes, layers, and what a training step holds and computes.

`layers.toml` comes from the recorded headers, `activations.toml` from the real model classes; `tests/core/record_layers.py` and
`record_activations.py` write them.
"""

from __future__ import annotations

import functools
import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trainer_core.errors import EaselError

FOLDER = Path(__file__).parent
MEASURED_PX = (512, 1024)
"""The sides of the pictures that the operations were counted for."""
Layers = Mapping[str, int]
"""How many layers there are of each size: {"320x320x3x3": 2} with the outputs first."""


@dataclass(frozen=True)
class Part:
    """A VAE or text encoder. Of a VAE: bytes it holds for a pixel in 16 bits, and operations for one."""

    id: str
    parameters: int
    layers: Layers = field(default_factory=dict)
    encode: int = 0
    encode_operations: int = 0
    decode: int = 0
    decode_operations: int = 0


@dataclass(frozen=True)
class Model:
    """The diffusion model of a family, or of a variant of it.

    `kind` is "unet" or "transformer". `blocks` are those that can be swapped: by kind how many, and the numbers in each.
    `targets` and `layers` are by layout ("original", "diffusers"). `pixels` along a side are one place of the calculation.
    The four that end in _checkpointed and _kept are bytes of a step on one picture in 16 bits, [base, for each place], with
    gradient checkpointing and without, when a network is trained and when the model is. `operations` are those of a forward
    pass on a picture of each of `MEASURED_PX`.
    """

    id: str
    family: str
    variant: str
    kind: str
    parameters: int
    encoders: tuple[str, ...]
    trained_encoders: tuple[str, ...]
    vae: str
    blocks: Mapping[str, tuple[int, int]]
    targets: Mapping[str, Mapping[str, tuple[str, ...]]]
    layers: Mapping[str, Mapping[str, Layers]]
    pixels: int
    network_checkpointed: tuple[int, int]
    network_kept: tuple[int, int]
    model_checkpointed: tuple[int, int]
    model_kept: tuple[int, int]
    operations: tuple[int, int]

    def places(self, side_px: int) -> float:
        """How many places a square picture of this side has."""
        return (side_px / self.pixels) ** 2

    def step_bytes(self, side_px: int, *, trains_model: bool, checkpointing: bool) -> float:
        """What a step on one picture holds in 16 bits, beside weights and gradients."""
        name = f"{'model' if trains_model else 'network'}_{'checkpointed' if checkpointing else 'kept'}"
        base, slope = getattr(self, name)
        return max(base, 0) + slope * self.places(side_px)

    def forward_operations(self, side_px: int) -> float:
        """The operations of a forward pass on one picture: a curve through the two that were counted.

        Attention makes them grow faster than the picture in a U-Net; where a long text goes along, they grow slower.
        """
        (small, large), (few, many) = (self.places(side) for side in MEASURED_PX), self.operations
        places, square = self.places(side_px), (many / large - few / small) / (large - small)
        if square > 0:
            return (few / small - square * small) * places + square * places**2
        slope = (many - few) / (large - small)
        return few - slope * small + slope * places

    def layers_of(self, layout: str, target: str) -> Layers:
        """The layers behind a choice of layers ("lora", "attention", "attention_mlp", "full") in a layout."""
        groups = self.targets.get(layout, self.targets["original"])[target]
        known = self.layers.get(layout, self.layers["original"])
        return added(known.get(group, {}) for group in groups)

    def swapped_parameters(self, blocks: int, *, paired: bool) -> int:
        """How many numbers wait in the computer's own memory when so many blocks are swapped.

        `paired`: of two kinds of blocks, n swaps n // 2 of the first and twice the rest of the second, as sd-scripts does;
        else blocks count one by one, in their order.
        """
        kinds = list(self.blocks.values())
        if paired and len(kinds) == 2:
            counts = [blocks // 2, 2 * (blocks - blocks // 2)]
        else:
            counts = [min(blocks, kinds[0][0]), max(blocks - kinds[0][0], 0)] if kinds else []
        return sum(min(count, most) * size for count, (most, size) in zip(counts, kinds, strict=False))


def added(tables: Iterable[Layers]) -> Layers:
    """Several tables of layers as one."""
    total: Counter[str] = Counter()
    for table in tables:
        total.update(table)
    return dict(total)


@functools.cache
def models() -> Mapping[str, Model]:
    """The models by id.

    Raises:
        EaselError: a file is damaged.
    """
    tables, measured = _read("layers.toml")["models"], _read("activations.toml")
    return {name: Model(id=name, **_frozen(table), **_frozen(measured[name])) for name, table in tables.items()}


@functools.cache
def parts() -> Mapping[str, Part]:
    """The VAEs and text encoders by id.

    Raises:
        EaselError: a file is damaged.
    """
    tables, measured = _read("layers.toml")["parts"], _read("activations.toml")
    return {name: Part(id=name, **table, **measured.get(name, {})) for name, table in tables.items()}


def find(family: str, variant: str = "") -> Model | None:
    """The model of a family and variant; of an unknown variant the largest of the family; None for an unknown family."""
    found = [model for model in models().values() if model.family == family]
    exact = [model for model in found if model.variant == variant]
    return max(exact or found, key=lambda model: model.parameters, default=None)


def _read(name: str) -> dict[str, Any]:
    try:
        return tomllib.loads((FOLDER / name).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise EaselError(f"{name} of the estimate cannot be used: {error}", "Install Easel again.") from error


def _frozen(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _frozen(each) for key, each in value.items()}
    return tuple(_frozen(each) for each in value) if isinstance(value, list) else value

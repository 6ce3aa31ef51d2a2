"""Data about diffusion models, VAEs and text encoders: sizes, layers, and memory and operations of a training step.

`layers.toml` comes from the recorded headers, `activations.toml` from the real model classes; `scripts/record_layers.py` and
`record_activations.py` write them.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer_core.files import read_toml

if TYPE_CHECKING:
    from trainer_core.models.detection import ModelSize

FOLDER = Path(__file__).parent
MEASURED_PX = (512, 1024)
"""The image sizes (side of a square) for which the operations were counted."""
SAME = 0.02
"""The largest relative difference of two models of the same size: some files have a few tensors more."""
Layers = Mapping[str, int]
"""The number of layers of each size: {"320x320x3x3": 2}, with the output dimension first."""


@dataclass(frozen=True)
class Part:
    """A VAE or text encoder. The fields after `layers` are of a VAE, per pixel: bytes in 16 bits, and operations."""

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

    `kind` is "unet" or "transformer". `blocks` maps each kind of block that can be swapped to (number of blocks, parameters of
    a block). `sizes` are (parameters, layers, sides) by layout, as in `ModelSize`. `targets` and `layers` are by layout ("original", "diffusers"). `pixels` is the side of the pixel square that one
    position covers. The fields that end in _checkpointed (with gradient checkpointing) and _kept (without) are the bytes of a
    step on one image in 16 bits as (base, per position), if a network or if the model is trained. `operations` are those of a
    forward pass on an image of each size in `MEASURED_PX`.
    """

    id: str
    family: str
    variant: str
    kind: str
    parameters: int
    sizes: Mapping[str, tuple[int, int, int]]
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
    scale: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """The size of the file divided by that of the family's model, as in `sizes`; 1 if they are the same."""
    others: int = 0
    """The parameters of text encoders and VAE in a file of another size than the family's model; 0 if they are the usual ones."""

    @property
    def other_parameters(self) -> int:
        """The number of parameters of the text encoders and the VAE."""
        return self.others or self._usual_others

    @property
    def others_scale(self) -> float:
        """The size of the text encoders and the VAE divided by that of the family's."""
        return self.other_parameters / self._usual_others

    @property
    def _usual_others(self) -> int:
        return sum(parts()[name].parameters for name in (*self.encoders, self.vae))

    def of_size(self, size: ModelSize | None, layout: str) -> Model:
        """This model with the size of a file: a pruned or a tiny one has another size than the family's model.

        What was measured is scaled: operations and blocks by the parameters, activations by the sides of the layers.
        """
        known = self.sizes.get("diffusers" if layout in ("diffusers", "pipeline") else layout, self.sizes["original"])
        if size is None or not size.layers or abs(size.parameters / known[0] - 1) < SAME:
            return self
        scale = (size.parameters / known[0], size.layers / known[1], size.sides / known[2])

        def scaled(pair: tuple[int, int], factor: float) -> tuple[int, int]:
            return round(pair[0] * factor), round(pair[1] * factor)

        return replace(
            self,
            parameters=size.parameters,
            scale=scale,
            others=size.others,
            blocks={kind: (count, round(each * scale[0])) for kind, (count, each) in self.blocks.items()},
            network_checkpointed=scaled(self.network_checkpointed, scale[2]),
            network_kept=scaled(self.network_kept, scale[2]),
            model_checkpointed=scaled(self.model_checkpointed, scale[2]),
            model_kept=scaled(self.model_kept, scale[2]),
            operations=scaled(self.operations, scale[0]),
        )

    def positions(self, side_px: int) -> float:
        """The number of positions of a square image of this side."""
        return (side_px / self.pixels) ** 2

    def step_bytes(self, side_px: int, *, trains_model: bool, checkpointing: bool) -> float:
        """The bytes of activations of a step on one image in 16 bits."""
        name = f"{'model' if trains_model else 'network'}_{'checkpointed' if checkpointing else 'kept'}"
        base, slope = getattr(self, name)
        return max(base, 0) + slope * self.positions(side_px)

    def forward_operations(self, side_px: int) -> float:
        """The operations of a forward pass on one image: a curve through the two counted values.

        In a U-Net, attention makes them grow faster than the number of positions; with a long text input, they grow slower.
        """
        (small, large), (few, many) = (self.positions(side) for side in MEASURED_PX), self.operations
        positions, square = self.positions(side_px), (many / large - few / small) / (large - small)
        if square > 0:
            return (few / small - square * small) * positions + square * positions**2
        slope = (many - few) / (large - small)
        return few - slope * small + slope * positions

    def layers_of(self, layout: str, target: str) -> Layers:
        """The layers of a target ("lora", "attention", "attention_mlp", "full") in a layout."""
        groups = self.targets.get(layout, self.targets["original"])[target]
        known = self.layers.get(layout, self.layers["original"])
        return added(known.get(group, {}) for group in groups)

    def convolutions(self, layout: str) -> Layers:
        """The layers of a U-Net that a network of the engine's own also gets if it has a rank for convolutions.

        Source: sd-scripts, networks/lora.py, UNET_TARGET_REPLACE_MODULE_CONV2D_3X3: the residual blocks, and those that scale.
        """
        return self.layers.get(layout, self.layers["original"]).get("residual", {})

    def swapped_parameters(self, blocks: int, *, paired: bool) -> int:
        """The number of parameters in system RAM if this many blocks are swapped.

        If `paired` and the model has two kinds of blocks, n // 2 blocks of the first kind and twice the rest of the second kind
        are swapped, as in sd-scripts; otherwise n blocks in their order.
        """
        kinds = list(self.blocks.values())
        if paired and len(kinds) == 2:
            counts = [blocks // 2, 2 * (blocks - blocks // 2)]
        else:
            counts = [min(blocks, kinds[0][0]), max(blocks - kinds[0][0], 0)] if kinds else []
        return sum(min(count, most) * size for count, (most, size) in zip(counts, kinds, strict=False))


def added(tables: Iterable[Layers]) -> Layers:
    """The sum of several tables of layers."""
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


def find(family: str, *variants: str) -> Model | None:
    """The model of a family and of the first variant that is known; the largest of the family if none is; None for an unknown family."""
    found = [model for model in models().values() if model.family == family]
    exact = ([model for model in found if model.variant == variant] for variant in variants)
    of_variant = next((models_of for models_of in exact if models_of), found)
    return max(of_variant, key=lambda model: model.parameters, default=None)


def _read(name: str) -> dict[str, Any]:
    return read_toml(FOLDER / name, hint="Install Easel again.")


def _frozen(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _frozen(each) for key, each in value.items()}
    return tuple(_frozen(each) for each in value) if isinstance(value, list) else value

"""The layers of a model that a LoRA can have, and the names that its modules get. Known from the headers alone."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from trainer_core.models.loaders import table
from trainer_core.models.renaming import layers
from trainer_core.weights.networks.places import Index, Layer

SD_SCRIPTS, PEFT = "sd-scripts", "diffusers"
NAMINGS = (SD_SCRIPTS, PEFT)
ENDINGS = {SD_SCRIPTS: (".lora_up.weight", ".lora_down.weight"), PEFT: (".lora_B.weight", ".lora_A.weight")}
# Source: sd-scripts networks/lora.py: it names the layers of SD1 and SD2 as diffusers does, and those of every other family as the model.
_AS_DIFFUSERS = ("sd15", "sd2")
_TABLES = ("embed", "embedding", "embeddings", "token_embedding", "position_embedding", "relative_attention_bias", "shared", "embed_tokens")  # fmt: skip
"""The last words of the names of layers that look up rows of a table, which a LoRA does not change."""


@dataclass(frozen=True)
class Trained:
    """A layer that a LoRA can have: the key of its module, without an ending, the layer, and whether it has a kernel."""

    key: str
    layer: Layer

    @property
    def is_conv(self) -> bool:
        """Whether it is a convolution over more than one pixel."""
        return math.prod(self.layer.shape[2:]) > 1

    @property
    def sides(self) -> tuple[int, int]:
        """Its outputs and its inputs, the latter times the kernel."""
        return self.layer.shape[0], math.prod(self.layer.shape[1:])


def trained(index: Index, naming: str) -> tuple[list[Trained], int]:
    """The layers of a model that a LoRA can have, and how many more there are that ComfyUI would not load.

    A layer that one naming joins becomes one module, or several, as the naming has it.
    """
    found: dict[str, Trained] = {}
    for name in dict.fromkeys(each for own, _ in index.denoiser() for each in _names(index, own, naming)):
        layer = index.layer(f"diffusion_model.{name}")
        if layer is not None and _fits(name, layer):
            found[name] = Trained(_key(index.family, name, naming), layer)
    rows = list(found.values())
    count = len({number for number, _, _ in index.texts()})
    for number, name, layer in index.texts():
        if _fits(name, layer):
            rows.append(Trained(_text_key(number, count, name, naming), layer))
    loaded = [row for row in rows if _is_loaded(index.family, row)]
    return loaded, len(rows) - len(loaded)


def _names(index: Index, own: str, naming: str) -> list[str]:
    """The names of the layers that a layer of the model is in this naming."""
    family = index.family
    if naming == PEFT or family in _AS_DIFFUSERS:
        return [part.name for part in layers.parts(family, own)] or [own]
    originals = (each.original for each in layers.joined(family, own))
    return [name for name in originals if index.layer(f"diffusion_model.{name}")] or [own]


def _key(family: str, name: str, naming: str) -> str:
    if naming == PEFT:
        return f"{'unet' if family in table.UNET_FAMILIES else 'transformer'}.{name}"
    return f"lora_unet_{name.replace('.', '_')}"


def _text_key(number: int, count: int, name: str, naming: str) -> str:
    if naming == PEFT:
        return f"{'text_encoder' if number == 1 else f'text_encoder_{number}'}.{name}"
    return f"lora_te{number if count > 1 else ''}_{name.replace('.', '_')}"


def _fits(name: str, layer: Layer) -> bool:
    return len(layer.shape) >= 2 and min(layer.shape) > 0 and name.rpartition(".")[2] not in _TABLES


def _is_loaded(family: str, row: Trained) -> bool:
    if family not in table.families():
        return True
    place = table.places(family).get(row.key)
    return place is not None and (place.in_comfyui or bool(place.in_diffusers))


def shapes(row: Trained, rank: int) -> Iterator[tuple[int, ...]]:
    """The shapes of the two matrices of a module: of the output and of the input."""
    ones = (1,) * (len(row.layer.shape) - 2)
    yield (row.layer.shape[0], rank, *ones)
    yield (rank, *row.layer.shape[1:])

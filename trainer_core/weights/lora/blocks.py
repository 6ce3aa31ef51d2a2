"""The block of the model that a layer of a network belongs to, by its name.

A UNet has IN00 to IN11, MID and OUT00 to OUT11, as in the field's block weights; another denoiser has the names of its own lists, such as
double_blocks.3; a text encoder is one block. Source of the order of the UNet's blocks: sd-scripts networks/svd_merge_lora.py,
get_lbw_block_index; the first convolution is IN00.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from trainer_core.errors import WeightsError, wrong_use
from trainer_core.models.loaders import table
from trainer_core.text import nearest, printable

OTHER = "other"
TEXT = "text"
"""The name that stands for all text encoders."""
_UNET = re.compile(r"(down|up)_blocks\.(\d+)\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)\b")
_ORIGINAL = re.compile(r"(input|output)_blocks\.(\d+)\b")
_LIST = re.compile(r"((?:[A-Za-z_]\w*\.)*?[A-Za-z_]\w*)\.(\d+)(?:\.|$)")
# Names whose dots became underscores, of a family whose layers are not recorded.
_FLAT = re.compile(r"(?:lora_unet|lycoris|lora_transformer)_(\w*?(?:blocks|layers|block|refiner))_(\d+)_")
_FLAT_TEXT = re.compile(r"lora_te(\d?)_|text_encoders?[._](\w+?)?[._]")


def block_of(key: str, family: str) -> str:
    """The block of a module, by its name in the file."""
    place = table.places(family).get(key) if family in table.families() else None
    if place is None:
        return _guessed(key)
    return place.naming if place.naming not in table.DENOISER else _of_layer(place.layer)


def is_text(block: str, family: str) -> bool:
    """Whether a block is a text encoder."""
    known = table.table()["families"].get(family, {})
    return (block in known and block not in table.DENOISER) or block.startswith("te")


def factor(block: str, weights: Mapping[str, float], family: str) -> float:
    """The weight of a block: its own, else that of the longest group it belongs to ("IN", "double_blocks", "text"), else 1."""
    if block in weights:
        return weights[block]
    groups = [name for name in weights if block.startswith(name) and not block[len(name) :][:1].isalpha()]
    if groups:
        return weights[max(groups, key=len)]
    return weights.get(TEXT, 1.0) if is_text(block, family) else 1.0


def check(weights: Mapping[str, float], blocks: Iterable[str], family: str) -> None:
    """Checks that each name is a block, or a group of blocks, of a file.

    Raises:
        WeightsError: one is not.
    """
    found = sorted(set(blocks))
    for name in weights:
        if not any(block == name or name in _groups(block, family) for block in found):
            near = nearest(name, found)
            hint = f"Did you mean {near}?" if near else f"It has: {', '.join(found[:60])}."
            raise wrong_use(WeightsError(f"The network changes no block called {printable(name, 40)}.", hint))


def _groups(block: str, family: str) -> set[str]:
    bare = block.rstrip("0123456789").rstrip(".")
    return {bare} | ({TEXT} if is_text(block, family) else set())


def _of_layer(layer: str) -> str:
    if found := _ORIGINAL.match(layer):
        return f"{'IN' if found[1] == 'input' else 'OUT'}{int(found[2]):02}"
    if layer.startswith(("middle_block.", "mid_block.")):
        return "MID"
    if layer == "conv_in":
        return "IN00"
    if found := _UNET.match(layer):
        level, place = int(found[2]), int(found[4])
        if found[1] == "down":
            return f"IN{3 * level + (3 if found[3] == 'downsamplers' else place + 1):02}"
        return f"OUT{3 * level + (2 if found[3] == 'upsamplers' else place):02}"
    listed = _LIST.match(layer)
    return f"{listed[1]}.{int(listed[2])}" if listed and _is_list(listed[1]) else OTHER


def _is_list(name: str) -> bool:
    """Whether a numbered list of a denoiser is one of blocks; others are steps within a layer, such as time_in.mlp.0."""
    return name.endswith(("layers", "refiner", "blocks", "block"))


def _guessed(key: str) -> str:
    if found := _FLAT_TEXT.match(key):
        return f"te{found[1] or found[2] or ''}"
    if found := _FLAT.match(key):
        return f"{found[1]}.{int(found[2])}"
    bare = re.sub(r"^(?:base_model\.model|diffusion_model|transformer|unet)\.", "", key)
    return _of_layer(bare)

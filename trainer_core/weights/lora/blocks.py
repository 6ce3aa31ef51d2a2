"""The block of the model that a layer of a network belongs to, with the labels that the merger of checkpoints has (`merging.blocks`).

A text encoder is one block, called as in the record of its family, such as clip_l. The weight of BASE counts for text encoders without one of their
own, because BASE is what is in no block of the denoiser.
"""

from __future__ import annotations

import fnmatch
import functools
import re
from collections.abc import Iterable, Mapping

from trainer_core.errors import WeightsError, wrong_use
from trainer_core.models.loaders import table
from trainer_core.text import printable
from trainer_core.weights.lora import sides
from trainer_core.weights.merging.blocks import BASE, labels

# Names of a family whose layers are not recorded: with dots, or with underscores in their place.
_LIST = re.compile(
    r"(?:lora_unet_|lycoris_|lora_transformer_|.*?\.)?(\w*?(?:blocks|layers|block|refiner))[._](\d+)[._]"
)
_TEXT = re.compile(r"lora_te(\d?)_|text_encoders?[._](\w+?)?[._]")


def block_of(key: str, family: str) -> str:
    """The label of the block of a module, by its name in the file."""
    place = table.places(family).get(key) if family in table.families() else None
    if place is None:
        return _guessed(key)
    if place.naming not in table.DENOISER:
        return place.naming
    found = sides.pieces(place, family, sides.ORIGINAL)
    return _labels(family).get(found[0].layer[1], BASE) if found else BASE


def is_text(block: str, family: str) -> bool:
    """Whether a block is a text encoder."""
    known = table.table()["families"].get(family, {})
    return (block in known and block not in table.DENOISER) or block.startswith("te")


def factor(block: str, weights: Mapping[str, float], family: str) -> float:
    """The weight of a block: that of the last pattern that fits (a label, or with * for any letters), else 1."""
    found = weights.get(BASE, 1.0) if is_text(block, family) else 1.0
    for pattern, weight in weights.items():
        if fnmatch.fnmatchcase(block, pattern):
            found = weight
    return found


def check(weights: Mapping[str, float], blocks: Iterable[str], family: str) -> None:
    """Checks that each pattern fits a block of a file.

    Raises:
        WeightsError: one does not.
    """
    found = set(blocks)
    if any(is_text(block, family) for block in found):
        found.add(BASE)
    for pattern in weights:
        if not any(fnmatch.fnmatchcase(block, pattern) for block in found):
            raise wrong_use(
                WeightsError(
                    f"The network changes no block called {printable(pattern, 40)}.",
                    f"Its blocks: {', '.join(in_order(found, family))}.",
                )
            )


def in_order(blocks: Iterable[str], family: str) -> list[str]:
    """Blocks in the order in which an image passes them: text encoders, BASE, then those of the denoiser."""
    order = list(dict.fromkeys(_labels(family).values())) if family in table.families() else []
    return sorted(
        set(blocks),
        key=lambda block: (not is_text(block, family), order.index(block) if block in order else -1, _number(block)),
    )


def _number(block: str) -> tuple[str, int]:
    found = re.fullmatch(r"(.*?)(\d*)", block)
    return (found[1], int(found[2] or -1)) if found else (block, -1)


@functools.cache
def _labels(family: str) -> Mapping[str, str]:
    """The label of each layer of a family's denoiser, in the names of its original code."""
    known = table.layers(family, sides.ORIGINAL)
    layout = "ldm" if family in table.UNET_FAMILIES else "original"
    return {
        name.removesuffix(".weight"): label
        for name, label in labels(family, layout, [f"{layer}.weight" for layer in known]).items()
    }


def _guessed(key: str) -> str:
    if found := _TEXT.match(key):
        return f"te{found[1] or found[2] or ''}"
    found = _LIST.match(key)
    return f"{found[1]}.{int(found[2])}" if found else BASE

"""The same layer under the names of the original code and of diffusers: one layer of one side may be several of the other.

Where the original code has one matrix for queries, keys and values, diffusers has three. A change of the joined matrix is cut into rows; the
changes of the three become one, side by side. Both are exact.
"""

from __future__ import annotations

from typing import NamedTuple

from trainer_core.models.loaders import table
from trainer_core.models.loaders.table import Place
from trainer_core.models.renaming import layers
from trainer_core.models.renaming.layers import Part

ORIGINAL, DIFFUSERS = table.DENOISER
# The side whose names trainers that write kohya's form have. Source: sd-scripts networks/lora.py (diffusers' UNet for SD1 and SD2) and
# networks/lora_sdxl.py, lora_flux.py, lora_sd3.py, lora_lumina.py (the original code).
_KOHYA_DIFFUSERS = ("sd15", "sd2")


class Piece(NamedTuple):
    """A layer on one side that a module is, or is a part of.

    `cut`: the layer is this part of the module's rows. `into`: the module is this part of the layer's rows. Both None: they are the same.
    """

    layer: tuple[str, str]
    cut: Part | None = None
    into: Part | None = None


def preferred(naming: str, family: str) -> str:
    """The side whose names a naming has."""
    if naming == "diffusers" or (naming == "sd-scripts" and family in _KOHYA_DIFFUSERS):
        return DIFFUSERS
    return ORIGINAL


def pieces(place: Place, family: str, side: str) -> list[Piece]:
    """The layers of a side that a layer stands for; [] if that side has none that is known."""
    if place.naming == side or place.naming not in table.DENOISER:
        return [Piece((place.naming, place.layer))]
    known = table.layers(family, side)
    if side == DIFFUSERS:
        found = [Piece((side, part.name), cut=_needed(part)) for part in layers.parts(family, place.layer)]
    else:
        joined = [each for each in layers.joined(family, place.layer) if each.original in known]
        found = [Piece((side, each.original), into=_needed(each.part)) for each in joined[:1]]
    if not found and place.layer in known:
        return [Piece((side, place.layer))]
    return found if all(each.layer[1] in known for each in found) else []


def _needed(part: Part) -> Part | None:
    """The part; None if it is the whole layer."""
    return part if part.size != part.of or part.swapped else None


def rows(part: Part, count: int) -> tuple[int, int]:
    """The first row of a part and the row after its last one, in a layer of so many rows; (0, 0) if it cannot be cut so."""
    if count % part.of:
        return 0, 0
    return count // part.of * part.start, count // part.of * (part.start + part.size)

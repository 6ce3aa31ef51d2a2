"""The blocks of a diffusion model, from blocks.toml, and the weight of each: by name, by the presets of the field, or as their list."""

from __future__ import annotations

import fnmatch
import functools
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from trainer_core.errors import WeightsError
from trainer_core.files import from_table, read_toml
from trainer_core.text import printable

BASE = "BASE"
"""The label of what is in no block, and of the text encoders."""
Ranked = tuple[tuple[int, str, int], str]
"""What a block is sorted by, and its label."""
PRESET_BLOCKS = 25
"""The number of blocks for which the presets are defined: those of SD 1.5."""
_CURVES: Mapping[str, Callable[[float], float]] = {
    "smoothstep": lambda depth: depth * depth * (3 - 2 * depth),
    "reverse smoothstep": lambda depth: (1 - depth) ** 2 * (1 + 2 * depth),
    "cosine": lambda depth: (1 + math.cos(math.pi * depth)) / 2,
    "reverse cosine": lambda depth: (1 - math.cos(math.pi * depth)) / 2,
}
_NUMBERED = re.compile(r"((?:[A-Za-z_]\w*\.){1,2}?)(\d{1,4})\.")


@dataclass(frozen=True, kw_only=True)
class Preset:
    """Weights by depth. `points` are numbers of blocks of SD 1.5 with their weights, between which it is linear; or a `curve`."""

    title: str
    base: float
    points: tuple[tuple[float, float], ...] = ()
    curve: str = ""

    def at(self, depth: float) -> float:
        """The weight at a depth from 0, the entrance, to 1, the exit."""
        if self.curve:
            return _CURVES[self.curve](depth)
        place = depth * (PRESET_BLOCKS - 1)
        for (left, low), (right, high) in zip(self.points, self.points[1:], strict=False):
            if place <= right:
                return low + (high - low) * (place - left) / (right - left)
        return self.points[-1][1]


@functools.cache
def presets() -> Mapping[str, Preset]:
    """The presets by name, in the order of the file."""
    rows = _tables()["presets"].items()
    return {name: from_table(Preset, row, f"blocks.toml [presets.{name}]", WeightsError) for name, row in rows}


def labels(family: str, layout: str, names: Iterable[str]) -> dict[str, str]:
    """The label of the block of each tensor name of a diffusion model, without its prefix, in the order of the blocks."""
    if rows := _rows(f"{family} {layout}"):
        ranked = {name: _by_row(name, rows) for name in names}
    else:
        ranked = _by_number(list(names))
    return {name: label for name, (_, label) in sorted(ranked.items(), key=lambda row: row[1][0])}


def in_order(labelled: Iterable[str]) -> list[str]:
    """The labels of the blocks, without BASE, in the order of `labels`."""
    return [label for label in dict.fromkeys(labelled) if label != BASE]


_MEANINGS = (
    (r"IN\d+", "IN are the blocks on the way into the UNet, from the full size of the image to the smallest"),
    (r"M\d+", "M is the one in its middle, with the smallest size"),
    (r"OUT\d+", "OUT are those on the way out"),
    (r"J\d+", "J are the joint blocks of image and text, in their order"),
    (r"D\d+", "D are the double blocks, where image and text have weights of their own"),
    (r"S\d+", "S are the single blocks after them, where both have the same weights"),
    (r"clip_\w|t5\w*|te\d?", "clip, t5 and te are text encoders"),
    (BASE, "BASE is what is in no block"),
)


def meaning(labelled: Iterable[str]) -> str:
    """What the labels of these blocks mean, in a sentence; "" for names of the model's own code."""
    known = list(labelled)
    found = [text for pattern, text in _MEANINGS if any(re.fullmatch(pattern, label) for label in known)]
    return f"{'; '.join(found)}." if found else ""


def weights(known: Sequence[str], preset: str, given: Mapping[str, float], usual: float) -> dict[str, float]:
    """The weight of each block and of BASE: `usual`, or that of a preset, or that of the last pattern of `given` that fits.

    A pattern is a label, or has * for any letters. `known` are the labels of the blocks in their order.

    Raises:
        WeightsError: there is no such preset, or a pattern fits no block.
    """
    found = dict.fromkeys((BASE, *known), usual)
    if preset:
        row = presets().get(preset)
        if row is None:
            raise WeightsError(f"There is no preset {preset!r:.40}.", f"There are: {', '.join(presets())}.")
        last = max(len(known) - 1, 1)
        found = {BASE: row.base, **{label: row.at(place / last) for place, label in enumerate(known)}}
    for pattern, weight in given.items():
        fitting = [label for label in found if fnmatch.fnmatchcase(label, pattern)]
        if not fitting:
            raise WeightsError(
                f"No block of this model is called {printable(pattern, 40)}.",
                f"Its blocks: {BASE}, {', '.join(known)}.",
            )
        found.update(dict.fromkeys(fitting, weight))
    return found


def from_list(values: Sequence[float], known: Sequence[str]) -> dict[str, float]:
    """The weights of a list as the field writes it: that of BASE, then one for each block in order.

    Raises:
        WeightsError: it has not one number for each.
    """
    if len(values) != len(known) + 1:
        raise WeightsError(
            f"{len(values)} block weights were given, and this model needs {len(known) + 1}.",
            f"One for {BASE}, then one each for {', '.join(known)}.",
        )
    return dict(zip((BASE, *known), values, strict=True))


def _by_row(name: str, rows: Sequence[tuple[str, re.Pattern[str]]]) -> Ranked:
    for place, (label, pattern) in enumerate(rows):
        if found := pattern.match(name):
            number = int(found[1]) if pattern.groups else -1
            return (place, "", number), label.format(number)
    return (-1, "", 0), BASE


def _by_number(names: Sequence[str]) -> dict[str, Ranked]:
    """The numbered blocks that repeat: those of a module whose blocks 0 and 1 have a layer in common. Short stacks come first."""
    inside: dict[str, dict[int, set[str]]] = {}
    for name in names:
        if found := _NUMBERED.match(name):
            inside.setdefault(found[1], {}).setdefault(int(found[2]), set()).add(name[found.end() :])
    stacks = {
        module: len(blocks)
        for module, blocks in inside.items()
        if any("." in name for name in blocks.get(0, set()) & blocks.get(1, set()))
    }
    ranked: dict[str, Ranked] = {}
    for name in names:
        found = _NUMBERED.match(name)
        if found and found[1] in stacks:
            ranked[name] = (stacks[found[1]], found[1], int(found[2])), f"{found[1]}{int(found[2])}"
        else:
            ranked[name] = (-1, "", 0), BASE
    return ranked


@functools.cache
def _rows(form: str) -> tuple[tuple[str, re.Pattern[str]], ...]:
    return tuple((label, re.compile(pattern)) for label, pattern in _tables()["families"].get(form, ()))


@functools.cache
def _tables() -> Mapping[str, Mapping[str, list[tuple[str, str]]]]:
    return read_toml(Path(__file__).with_name("blocks.toml"), WeightsError)

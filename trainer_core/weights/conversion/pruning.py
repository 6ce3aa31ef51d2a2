"""Which tensors of a file are left over from training, and which weights are an average (EMA) of others."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from trainer_core.errors import WeightsError
from trainer_core.files import read_toml
from trainer_core.models.renaming.building import Built

KEEPS = ("", "weights", "ema")
"""What is left of a file with an average of its weights: "" everything, else the weights themselves or their average."""
EMA = "model_ema."
LEAST_EMA = 2
"""The fewest averaged tensors of a file that has an average: `model_ema.decay` alone is none."""


class Pruned(NamedTuple):
    """The tensors that stay, and sentences about those that do not."""

    tensors: dict[str, Built]
    notes: tuple[str, ...]


def pruned(tensors: Mapping[str, Built], sizes: Mapping[str, int], keeps: str) -> Pruned:
    """The tensors without what training left, with the weights or with their average in their place.

    `sizes` are the bytes of each tensor.

    Raises:
        WeightsError: the average is wanted, and the file has none.
    """
    if not keeps:
        return Pruned(dict(tensors), ())
    notes = []
    left, averaged = dict(tensors), averages(tensors)
    if keeps == "ema":
        if not averaged:
            raise WeightsError("The file has no average of its weights (EMA).", "Keep the weights themselves.")
        for name, other in averaged.items():
            left[name] = replace(tensors[other], name=name)
        lacking = sum(name.startswith("model.") and name not in averaged for name in tensors)
        notes.append(f"{len(averaged)} weights are replaced by their average (EMA).")
        if lacking:
            notes.append(f"{lacking} weights of the model have no average, and stay as they are.")
    of_ema = [name for name in left if name.startswith(EMA)]
    if of_ema:
        what = "the average of the weights" if keeps == "weights" else "the average, which is now in the weights' place"
        notes.append(_sentence(what, of_ema, sizes))
    gone = set(of_ema)
    for title, pattern in leftovers():
        found = [name for name in left if name not in gone and pattern.search(name)]
        if found:
            gone.update(found)
            notes.append(_sentence(title, found, sizes))
    return Pruned({name: each for name, each in left.items() if name not in gone}, tuple(notes))


def averages(tensors: Mapping[str, Built]) -> dict[str, str]:
    """The tensors that have an average, each with the name of it.

    Source: CompVis/stable-diffusion ldm/modules/ema.py, LitEma: the name without its dots, and without "model." at its start.
    """
    found: dict[str, str] = {}
    for name, each in tensors.items():
        if not name.startswith("model."):
            continue
        other = EMA + name.removeprefix("model.").replace(".", "")
        if other in tensors and tensors[other].shape == each.shape:
            found[name] = other
    return found if len(found) >= LEAST_EMA else {}


@functools.cache
def leftovers() -> tuple[tuple[str, re.Pattern[str]], ...]:
    """What training leaves in a file: what it is, and the pattern of its names."""
    rows: Mapping[str, Any] = read_toml(
        Path(__file__).with_name("leftovers.toml"), WeightsError, "Install Easel again."
    )
    return tuple((row["title"], re.compile("|".join(row["patterns"]))) for row in rows.values())


def _sentence(title: str, names: list[str], sizes: Mapping[str, int]) -> str:
    size = sum(sizes.get(name, 0) for name in names)
    return f"Left out: {title} ({len(names)} tensors, {size / 1e6:.1f} MB)."

"""How the images of a tagger are prepared, read from the file that comes with its model."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from trainer_core.captioning.labels import text_of
from trainer_core.captioning.taggers import Preparation, Tagger
from trainer_core.errors import DatasetError
from trainer_core.text import printable

RESAMPLING = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}
"""The ways to scale an image, by Pillow's numbers."""
COLOURS = {"white": (255, 255, 255), "black": (0, 0, 0)}
LEAST_PX, MOST_PX = 8, 4096

Stage = Mapping[str, Any]


def read(path: Path, tagger: Tagger) -> Preparation:
    """How the tagger's images are prepared, by the file `preprocess` of its repository.

    Raises:
        DatasetError: the file asks for something that Easel does not do, so that the tags would be wrong.
    """
    try:
        # A file that does not name a square with a background stretches the image.
        found = replace(tagger.preparation, fit="stretch")
        for stage in json.loads(text_of(path))["stages"]:
            found = STAGES[stage["type"]](found, stage)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise DatasetError(
            f"{printable(path.name, 100)} describes the input of {tagger.title} in a way that Easel does not know: "
            f"{printable(str(error), 200)}.",
            "Choose another tagger.",
        ) from error
    return found


def _same(now: Preparation, stage: Stage) -> Preparation:
    del stage
    return now


def _normalized(now: Preparation, stage: Stage) -> Preparation:
    first, second, third = (float(each) for each in stage["mean"])
    one, two, three = (float(each) for each in stage["std"])
    if 0.0 in (one, two, three):
        raise ValueError("it divides by 0")
    return replace(now, mean=(first, second, third), deviation=(one, two, three))


def _resized(now: Preparation, stage: Stage) -> Preparation:
    if isinstance(stage["size"], int) and now.fit == "stretch":
        raise ValueError("it scales the shorter side")
    return replace(now, side=_side(stage), resample=_resample(now, stage))


def _padded(now: Preparation, stage: Stage) -> Preparation:
    named = stage.get("background_color", "white")
    red, green, blue = COLOURS[named] if isinstance(named, str) else (min(255, max(0, int(each))) for each in named)
    return replace(now, side=_side(stage), fit="pad", background=(red, green, blue), resample=_resample(now, stage))


def _cropped(now: Preparation, stage: Stage) -> Preparation:
    # After a scaling to the same square, a crop in the middle changes nothing.
    if _side(stage) != now.side:
        raise ValueError("it cuts off the edges")
    return now


STAGES: Mapping[str, Callable[[Preparation, Stage], Preparation]] = {
    "convert_rgb": _same,
    "to_tensor": _same,
    "maybe_to_tensor": _same,
    "normalize": _normalized,
    "resize": _resized,
    "pad_to_size": _padded,
    "center_crop": _cropped,
}
"""What each kind of stage changes. Source: imgutils, preprocess/pillow.py."""


def _side(stage: Stage) -> int:
    size = stage["size"]
    width, height = (size, size) if isinstance(size, int) else size
    if width != height or not LEAST_PX <= int(width) <= MOST_PX:
        raise ValueError(f"the input is {width}x{height}")
    return int(width)


def _resample(now: Preparation, stage: Stage) -> Any:
    way = stage.get("interpolation", now.resample)
    way = RESAMPLING.get(way, way)
    if way not in RESAMPLING.values():
        raise ValueError(f"it scales by {way!r}")
    return way

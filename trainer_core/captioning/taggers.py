"""The taggers that Easel knows: for each, its files, its input, its output and its tags, as one row of a table."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from trainer_core.errors import DatasetError, wrong_use
from trainer_core.files import read_rows

ENVIRONMENT = "onnx"
"""The environment of tools in which all of them run."""
CATEGORIES = ("character", "copyright", "artist", "general", "meta", "year", "model", "quality", "rating")
"""The categories of tags."""
WRITTEN = ("character", "copyright", "general")
"""The categories whose tags are written unless asked otherwise: the others do not say what is seen."""
ONE_OF = ("rating", "quality")
"""The categories of which an image has one, the most probable; they have no threshold."""


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """How an image becomes the input of a model.

    `side` is that of the square input in pixels, unless the model declares another. `fit` is "pad" for a square with
    `background` around the image, or "stretch". Each value of 0 to 255 is multiplied with `scale`, then `mean` is subtracted and the result divided by
    `deviation`; both are in the order of `channels`.
    """

    side: int
    fit: Literal["pad", "stretch"]
    background: tuple[int, int, int]
    channels: Literal["RGB", "BGR"]
    layout: Literal["NHWC", "NCHW"]
    scale: float
    resample: Literal["nearest", "bilinear", "bicubic", "lanczos"]
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    deviation: tuple[float, float, float] = (1.0, 1.0, 1.0)


@dataclass(frozen=True, kw_only=True)
class Tagger:
    """A tagger: a repository of the Hub with a model in ONNX form, and what must be known to use it.

    `purpose` says in a sentence what it is for. `form` is that of the file with the tags (`labels.read`), `output` the name of the model's output ("" for its first),
    `activation` what turns it into probabilities.
    """

    id: str
    title: str
    purpose: str
    repository: str
    model: str
    labels: str
    form: Literal["csv", "mapping", "metadata"]
    categories: Mapping[str, str]
    thresholds: Mapping[str, float]
    preparation: Preparation
    size_gib: float
    licence: str
    terms: str
    preprocess: str = ""
    output: str = ""
    activation: Literal["none", "sigmoid"] = "none"
    more: tuple[str, ...] = field(default=())

    @property
    def files(self) -> tuple[str, ...]:
        """The files of the repository that are needed."""
        return tuple(filter(None, (self.model, self.labels, self.preprocess, *self.more)))


@functools.cache
def taggers() -> Mapping[str, Tagger]:
    """The taggers by id."""
    return read_rows(Path(__file__).with_suffix(".toml"), Tagger)


def get(name: str) -> Tagger:
    """The tagger with this id.

    Raises:
        DatasetError: there is none.
    """
    if name not in taggers():
        raise wrong_use(DatasetError(f"There is no tagger {name!r:.60}.", f"Known: {', '.join(taggers())}."))
    return taggers()[name]

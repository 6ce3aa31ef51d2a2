"""Figures of a dataset: sizes, shapes, tags and captions of its images."""

from __future__ import annotations

import itertools
import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from trainer_core.curation import captions
from trainer_core.datasets import caption_text
from trainer_core.datasets.scan import Dataset, DatasetImage

SHAPES = ((1, 1), (5, 4), (4, 3), (3, 2), (16, 9), (2, 1), (3, 1))
"""Ratios of sides by which images are counted, each for the nearest images."""


@dataclass(frozen=True)
class Range:
    """The least, middle and largest of some figures, with the images that have the least and the largest."""

    least: float
    middle: float
    most: float
    least_image: str
    most_image: str


@dataclass(frozen=True)
class Figures:
    """The figures of a dataset. `shapes` and `tags` are counts, the most frequent first; ranges are None without images.

    `tokens` are those of captions, as they were counted: without a vocabulary at least so many, because rare words have several.
    """

    images: int
    with_caption: int
    megapixels: Range | None
    shorter_side: Range | None
    tokens: Range | None
    shapes: tuple[tuple[str, int], ...]
    tags: tuple[tuple[str, int], ...]
    pairs: tuple[tuple[str, str, int], ...]
    """Tags that nearly always stand together, with how many captions have both: what the model cannot tell apart."""


def _at_least(caption: str) -> int:
    return caption_text.tokens(caption, "clip")


def figures(dataset: Dataset, tokens: Callable[[str], int] = _at_least) -> Figures:
    """The figures of the images that are trained. `tokens` counts those of a caption."""
    found = dataset.images
    texts = [image.caption for image in found if image.caption]
    tags = Counter(tag for text in texts for tag in {one.casefold() for one in captions.tags(text)})
    counted = sorted(tags.items(), key=lambda one: (-one[1], one[0]))
    return Figures(
        images=len(found),
        with_caption=len(texts),
        megapixels=_range(found, [image.width * image.height / 1e6 for image in found]),
        shorter_side=_range(found, [min(image.width, image.height) for image in found]),
        tokens=_range(
            [image for image in found if image.caption],
            [tokens(text) for text in texts],
        ),
        shapes=tuple(Counter(_shape(image) for image in found).most_common()),
        tags=tuple(counted),
        pairs=tuple(_together(texts, counted)),
    )


def _range(images: Sequence[DatasetImage], values: Sequence[float]) -> Range | None:
    if not values:
        return None
    least, most = values.index(min(values)), values.index(max(values))
    return Range(values[least], statistics.median(values), values[most], images[least].name, images[most].name)


def _shape(image: DatasetImage) -> str:
    wide, high = max(image.width, image.height), max(1, min(image.width, image.height))
    one, other = min(SHAPES, key=lambda shape: abs(shape[0] / shape[1] - wide / high))
    if one == other:
        return "square"
    return f"{one}:{other} landscape" if image.width > image.height else f"{other}:{one} portrait"


def _together(texts: Iterable[str], counted: Sequence[tuple[str, int]], most: int = 20) -> list[tuple[str, str, int]]:
    """Pairs of tags, neither of which all captions have, that at least 90 % of the captions with one of them have both."""
    sets = [{one.casefold() for one in captions.tags(text)} for text in texts]
    common = {tag: number for tag, number in counted[:60] if 3 <= number < len(sets)}
    found = []
    for one, other in itertools.combinations(common, 2):
        both = sum(one in tags and other in tags for tags in sets)
        if both >= 0.9 * (common[one] + common[other] - both):
            found.append((one, other, both))
    return sorted(found, key=lambda pair: -pair[2])[:most]

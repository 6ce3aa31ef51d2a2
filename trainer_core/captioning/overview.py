"""What thresholds do in a whole dataset, in milliseconds: how many images have which tag, and what a change gains and loses.

For sliders: captions are made only for what is shown (`thresholds.preview`). The largest number of tags is not regarded.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from trainer_core.captioning.storage import Probability
from trainer_core.captioning.taggers import ONE_OF
from trainer_core.captioning.thresholds import BARS, LEAST, Thresholds, with_spaces
from trainer_core.curation.captions import matcher

NEVER = 2.0
"""A threshold that no probability reaches."""


@dataclass(frozen=True)
class Moved:
    """What another choice of thresholds changes: how many images, and how many tags over all of them."""

    images: int
    gained: int
    lost: int


class Overview:
    """The probabilities of a dataset as arrays, made once."""

    def __init__(self, found: Mapping[str, Sequence[Probability]]) -> None:
        tags: dict[tuple[str, str], int] = {}
        images, places, values, firsts = [], [], [], []
        for number, row in enumerate(found.values()):
            seen: set[str] = set()
            for each in sorted(row, key=lambda one: -one.value):
                images.append(number)
                places.append(tags.setdefault((each.name, each.category), len(tags)))
                values.append(each.value)
                firsts.append(each.category not in seen)
                seen.add(each.category)
        self.images = len(found)
        self._tags = list(tags)
        self._image = np.array(images, "int64")
        self._tag = np.array(places, "int64")
        self._value = np.array(values, "float64")
        self._is_first = np.array(firsts, "bool")
        self._is_one_of = np.array([category in ONE_OF for _, category in self._tags], "bool")

    def counts(self, by: Thresholds) -> dict[str, int]:
        """How many images have each tag, as it is written, the most frequent first."""
        numbers = np.bincount(self._tag[self._kept(by)], minlength=len(self._tags))
        found = Counter[str]()
        for place in np.flatnonzero(numbers):
            found[self._written(int(place), by)] += int(numbers[place])
        return dict(sorted(found.items(), key=lambda each: (-each[1], each[0])))

    def moved(self, one: Thresholds, other: Thresholds) -> Moved:
        """What changes from one choice to another."""
        before, after = self._kept(one), self._kept(other)
        gained, lost = after & ~before, before & ~after
        changed = np.unique(self._image[gained | lost])
        return Moved(len(changed), int(gained.sum()), int(lost.sum()))

    def histogram(self, tag: str) -> tuple[int, ...]:
        """How many images have a tag with a probability in each of the 19 ranges of 0.05 from 0.05 to 1."""
        folded = tag.casefold()
        names = [folded in (name.casefold(), with_spaces(name).casefold()) for name, _ in self._tags]
        values = self._value[np.array(names, "bool")[self._tag]] if names else self._value
        bars = np.clip(((values - LEAST) / LEAST + 1e-6).astype("int64"), 0, BARS - 1)
        return tuple(np.bincount(bars, minlength=BARS).tolist())

    def _kept(self, by: Thresholds) -> np.ndarray:
        """Which of the probabilities are at or above their threshold."""
        is_unwanted = matcher(by.without)
        least = np.full(len(self._tags), NEVER, "float64")
        for place, (name, category) in enumerate(self._tags):
            if category in by.least and not (
                by.without and (is_unwanted(name) or is_unwanted(self._written(place, by)))
            ):
                least[place] = 0.0 if self._is_one_of[place] else by.least[category]
        kept = self._value >= least[self._tag]
        return kept & (self._is_first | ~self._is_one_of[self._tag])

    def _written(self, place: int, by: Thresholds) -> str:
        name = self._tags[place][0]
        return with_spaces(name) if by.spaces else name

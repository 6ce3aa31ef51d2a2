"""From the probabilities of tags to a caption: pure functions, so that a threshold acts at once on a whole dataset."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from trainer_core.captioning.storage import Probability
from trainer_core.captioning.taggers import CATEGORIES, ONE_OF, WRITTEN, Tagger
from trainer_core.curation.captions import joined, matcher, tags
from trainer_core.errors import DatasetError, wrong_use

LEAST = 0.05
"""Probabilities below this are not kept, so no threshold can be lower."""
BARS = 19
"""The bars of a histogram, each 0.05 wide, from `LEAST` to 1."""
FREQUENT = 0.8
"""From this share of the images on, a tag probably describes the subject itself."""
_LETTERS = re.compile(r"[^\W_]{2}")
SHORTEST = 4


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """Which tags are written, and how.

    `least` has the lowest probability by category; a category without one is not written. Of "rating" and "quality" the most
    probable tag is written if they are in `least`. `without` are patterns of tags that are left out, `first` tags that come first
    if an image has them. A name is compared as it is written, and as the model calls it.
    """

    least: Mapping[str, float]
    without: str = ""
    first: str = ""
    trigger: str = ""
    spaces: bool = True
    """Whether "_" becomes a space, except in faces such as "^_^"."""
    characters_first: bool = True
    most: int = 0
    """The largest number of tags, without the trigger; 0 for any."""

    def checked(self) -> Thresholds:
        """Itself.

        Raises:
            DatasetError: a category is unknown, or a threshold is not a probability that was kept.
        """
        for category, value in self.least.items():
            if category not in CATEGORIES:
                known = ", ".join(CATEGORIES)
                raise wrong_use(DatasetError(f"{category!r:.40} is not a category of tags.", f"Known: {known}."))
            if not LEAST <= value <= 1.0:
                raise wrong_use(
                    DatasetError(f"The threshold of {category} is {value}.", f"It must be from {LEAST} to 1: lower ones are not kept.")
                )  # fmt: skip
        if "," in self.trigger:
            raise wrong_use(DatasetError("A trigger word has no comma: it would be two tags."))
        return self


def usual(tagger: Tagger) -> Thresholds:
    """The thresholds that suit a tagger, for the categories that say what is seen."""
    return Thresholds(least={name: value for name, value in tagger.thresholds.items() if name in WRITTEN})


def tags_at(found: Sequence[Probability], thresholds: Thresholds) -> tuple[str, ...]:
    """The tags of an image at these thresholds, as they are written, the trigger first."""
    return Chooser(thresholds)(found)


def caption_at(found: Sequence[Probability], thresholds: Thresholds) -> str:
    """The caption of an image at these thresholds."""
    return joined(tags_at(found, thresholds))


class Chooser:
    """Chooses tags by thresholds; made once for many images, because patterns are compiled."""

    def __init__(self, thresholds: Thresholds) -> None:
        self._by = thresholds
        self._is_unwanted = matcher(thresholds.without)
        self._first = {name.casefold(): place for place, name in enumerate(tags(thresholds.first))}
        self._written: dict[str, str] = {}

    def __call__(self, found: Sequence[Probability]) -> tuple[str, ...]:
        """The tags of an image, as `tags_at` returns them."""
        by = self._by
        taken: dict[str, tuple[tuple[int, int, float], str]] = {}
        seen: set[str] = set()
        for each in sorted(found, key=lambda one: -one.value):
            if not self._is_kept(each, seen):
                continue
            seen.add(each.category)
            name = self.written(each.name)
            if self._is_unwanted(name) or self._is_unwanted(each.name):
                continue
            folded = name.casefold()
            place = self._first.get(folded, self._first.get(each.name.casefold(), len(self._first)))
            is_character = by.characters_first and each.category == "character"
            taken.setdefault(folded, ((place, 0 if is_character else 1, -each.value), name))
        ordered = [name for _, name in sorted(taken.values(), key=lambda one: one[0])]
        if by.most:
            ordered = ordered[: by.most]
        trigger = by.trigger.strip()
        if not trigger:
            return tuple(ordered)
        return (trigger, *(name for name in ordered if name.casefold() != trigger.casefold()))

    def _is_kept(self, each: Probability, seen: set[str]) -> bool:
        if each.category in ONE_OF:
            return each.category in self._by.least and each.category not in seen
        least = self._by.least.get(each.category)
        return least is not None and each.value >= least

    def written(self, name: str) -> str:
        """A tag as it is written."""
        if not self._by.spaces:
            return name
        known = self._written.get(name)
        if known is None:
            known = self._written[name] = with_spaces(name)
        return known


def with_spaces(name: str) -> str:
    """A tag with spaces for "_", unless it is a face such as "o_o" or "(o)_(o)": those have no two letters together."""
    return name.replace("_", " ") if len(name) >= SHORTEST and _LETTERS.search(name) else name


@dataclass(frozen=True)
class Effect:
    """What one caption would become: the tags that it gains and loses."""

    image: str
    before: str
    after: str
    gained: tuple[str, ...]
    lost: tuple[str, ...]


@dataclass(frozen=True)
class Preview:
    """What thresholds would change in a dataset. `counts` has how many images have each tag then, the most frequent first."""

    effects: tuple[Effect, ...]
    unchanged: int
    untagged: tuple[str, ...]
    """The images that the tagger has not seen."""
    counts: tuple[tuple[str, int], ...] = field(default=())

    @property
    def gained(self) -> int:
        """How many tags are added, over all images."""
        return sum(len(each.gained) for each in self.effects)

    @property
    def lost(self) -> int:
        """How many tags go, over all images."""
        return sum(len(each.lost) for each in self.effects)

    @property
    def images(self) -> int:
        """How many images the tagger has seen."""
        return len(self.effects) + self.unchanged


def preview(texts: Mapping[str, str], found: Mapping[str, Sequence[Probability]], thresholds: Thresholds) -> Preview:
    """What thresholds change; `texts` are the captions that the images have now, `found` what the tagger says of them."""
    choose, counts = Chooser(thresholds), Counter[str]()
    effects, untagged, unchanged = [], [], 0
    for image, text in texts.items():
        if image not in found:
            untagged.append(image)
            continue
        after = choose(found[image])
        counts.update(after)
        effect = _effect(image, text, after)
        if effect is None:
            unchanged += 1
        else:
            effects.append(effect)
    ordered = tuple(sorted(counts.items(), key=lambda each: (-each[1], each[0])))
    return Preview(tuple(effects), unchanged, tuple(untagged), ordered)


def difference(found: Mapping[str, Sequence[Probability]], one: Thresholds, other: Thresholds) -> Preview:
    """What changes from one choice of thresholds to another, whatever the captions are now."""
    choose = Chooser(one)
    return preview({image: joined(choose(each)) for image, each in found.items()}, found, other)


def _effect(image: str, before: str, after: tuple[str, ...]) -> Effect | None:
    caption = joined(after)
    if before.strip() == caption:
        return None
    had, has = {tag.casefold() for tag in tags(before)}, {tag.casefold() for tag in after}
    gained = tuple(tag for tag in after if tag.casefold() not in had)
    lost = tuple(tag for tag in tags(before) if tag.casefold() not in has)
    return Effect(image, before, caption, gained, lost)


def histogram(found: Iterable[Sequence[Probability]], tag: str) -> tuple[int, ...]:
    """How many images have a tag with a probability in each of the 19 ranges of 0.05 from 0.05 to 1."""
    bars, folded = [0] * BARS, tag.casefold()
    for each in found:
        for one in each:
            if folded in (one.name.casefold(), with_spaces(one.name).casefold()):
                bars[min(BARS - 1, max(0, int((one.value - LEAST) / LEAST + 1e-6)))] += 1
                break
    return tuple(bars)


def frequent(seen: Preview, share: float = FREQUENT) -> tuple[str, ...]:
    """The tags that at least this share of the images have; for a subject, the trigger word can stand for them."""
    return tuple(tag for tag, count in seen.counts if count >= share * seen.images) if seen.images > 1 else ()

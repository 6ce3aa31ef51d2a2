"""Which views, framings and expressions the captions of a dataset name, and which of them none does."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from trainer_core.curation import captions
from trainer_core.files import read_toml

FEWEST_IMAGES = 8
LEAST_SHARE = 0.3
"""Gaps are named only if at least this share of the captions has a tag of the group: the others say nothing about it."""
FEWEST_TAGS = 3
"""A caption with fewer tags is a sentence, or too short to say what is not there."""


@dataclass(frozen=True)
class Covered:
    """A group such as views: how many captions name each of its entries, and whether a missing one is a gap."""

    key: str
    title: str
    counts: Mapping[str, int]
    captions: int
    is_used: bool

    @property
    def gaps(self) -> tuple[str, ...]:
        """The entries that no caption names, if the captions use such tags at all."""
        return tuple(name for name, count in self.counts.items() if not count) if self.is_used else ()


def covered(texts: Sequence[str]) -> list[Covered]:
    """What the captions name, by group. With captions in sentences or without such tags, nothing is said to be missing."""
    tagged = [set(map(str.casefold, captions.tags(text.replace("_", " ")))) for text in texts]
    tagged = [tags for tags in tagged if len(tags) >= FEWEST_TAGS]
    found = []
    for key, (title, entries) in _groups().items():
        counts = {name: sum(not tags.isdisjoint(wanted) for tags in tagged) for name, wanted in entries.items()}
        every = frozenset().union(*entries.values())
        using = sum(not tags.isdisjoint(every) for tags in tagged)
        is_used = len(tagged) >= FEWEST_IMAGES and using >= LEAST_SHARE * max(1, len(texts))
        found.append(Covered(key, title, counts, using, is_used))
    return found


@functools.cache
def _groups() -> Mapping[str, tuple[str, Mapping[str, frozenset[str]]]]:
    table = read_toml(Path(__file__).with_name("coverage.toml"))
    return {
        key: (group["title"], {name: frozenset(tags) for name, tags in group.items() if name != "title"})
        for key, group in table.items()
    }

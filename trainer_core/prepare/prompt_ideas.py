"""Sample prompts that Easel offers: captions of the dataset that differ most, and templates for the use of the profile."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainer_core import catalog
from trainer_core.files import read_toml
from trainer_core.plan.prompts import TRIGGER, has_trigger
from trainer_core.text import TOKEN, printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from trainer_core.datasets.scan import Dataset
    from trainer_core.prepare.state import State

FROM_CAPTIONS = 3
"""How many captions are offered: with a control prompt, one row of samples."""
LONGEST = 400
"""The length in characters up to which a caption is offered; a longer one is cut at a comma or a sentence."""


@dataclass(frozen=True)
class Template:
    """An offered prompt: its title, what its sample shows, its text, and the uses that it suits; () for every other use."""

    id: str
    title: str
    doc: str
    text: str
    uses: tuple[str, ...] = ()

    @property
    def is_control(self) -> bool:
        """Whether it has no trigger word."""
        return TRIGGER not in self.text


@functools.cache
def templates() -> Mapping[str, Template]:
    """Every template by its id, in the order of their file."""
    found = read_toml(catalog.FOLDER / "sample_prompts.toml", hint="Install Easel again.")
    return {id_: Template(id_, **{**row, "uses": tuple(row.get("uses", ()))}) for id_, row in found.items()}


def for_use(use: str) -> tuple[Template, ...]:
    """The templates for a use, such as "style"; those without a use if none names it."""
    named = tuple(one for one in templates().values() if use and use in one.uses)
    return named or tuple(one for one in templates().values() if not one.uses)


def of_job(state: State) -> tuple[Template, ...]:
    """The templates for the use of a job's profile."""
    return for_use(state.profile.use if state.profile else "")


def from_captions(dataset: Dataset | None, trigger: str, count: int = FROM_CAPTIONS) -> tuple[str, ...]:
    """Captions of a dataset that differ most from each other, with {trigger} for the trigger word; () without captions.

    The same dataset always gives the same ones. A caption without the trigger word gets it at the start, as samples need it.
    """
    captions = (image.caption for image in dataset.images if image.caption) if dataset else ()
    usable = list(dict.fromkeys(filter(None, (_usable(caption, trigger) for caption in captions))))
    return tuple(_most_different(usable, count))


def _usable(caption: str, trigger: str) -> str:
    """A caption as a prompt, in one line; "" for one that must not be used."""
    text = " ".join(printable(caption, 4 * LONGEST).split())
    if TOKEN.search(text):
        return ""
    if len(text) > LONGEST:
        text = re.split(r"[,.;](?=[^,.;]*$)", text[:LONGEST])[0]
    if trigger and has_trigger(text, trigger):
        return re.sub(rf"(?<!\w){re.escape(trigger)}(?!\w)", TRIGGER, text, flags=re.IGNORECASE)
    return f"{TRIGGER}, {text}" if trigger and text else text


def _most_different(captions: Sequence[str], count: int) -> list[str]:
    """The first caption, then each time the one that has least in common with those already taken."""
    words = {caption: _words(caption) for caption in captions}
    taken = list(captions[:1])
    while len(taken) < min(count, len(captions)):
        left = (caption for caption in captions if caption not in taken)
        taken.append(min(left, key=lambda one: max(_alike(words[one], words[other]) for other in taken)))
    return taken


def _words(caption: str) -> frozenset[str]:
    return frozenset(re.findall(r"\w+", caption.lower()))


def _alike(one: Iterable[str], other: Iterable[str]) -> float:
    """The share of words that two captions have in common, from 0 to 1."""
    first, second = frozenset(one), frozenset(other)
    return len(first & second) / max(1, len(first | second))


def suggested(state: State, kind: str) -> tuple[dict[str, str], ...]:
    """The prompts of one kind, as `sampling.prompts`: "templates", or "captions" with the control prompt after them.

    () if the dataset has no captions.
    """
    if kind == "templates":
        return tuple({"text": one.text} for one in of_job(state))
    found = from_captions(state.facts.dataset, state.draft.text("dataset.trigger").strip())
    control = [one.text for one in of_job(state) if one.is_control]
    return tuple({"text": text} for text in (*found, *control)) if found else ()

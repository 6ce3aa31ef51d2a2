"""Captions for training a style: "scene description, trigger". Finds words that name the style itself, and mends what is sure."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from trainer_core.curation import captions
from trainer_core.curation.captions import Operation
from trainer_core.datasets import caption_text
from trainer_core.files import read_toml

_AFTER_STYLE = re.compile(r"\b(?:in (?:the|an?) (?:[\w-]+ ){0,3}?style(?: of [^,.;]+)?|(?:art )?style of [^,.;]+|by artist [^,.;]+)", re.IGNORECASE)  # fmt: skip
"""A phrase that names a style whatever follows: "in the style of ...", "in a painterly style"."""


@dataclass(frozen=True)
class Named:
    """Words of a caption that name the style: of which kind, where in the caption, and whether they are a tag of their own.

    Only such a tag `is_sure`: taking a part of a sentence away may leave half of one.
    """

    kind: str
    words: str
    is_sure: bool


@dataclass(frozen=True)
class StyleFinding:
    """What is wrong with one caption for a style: what names the style, and whether the trigger word is at the end."""

    path: str
    named: tuple[Named, ...]
    has_trigger_last: bool


def named(caption: str, trigger: str = "") -> list[Named]:
    """The words of a caption that name the style itself; the trigger word is not among them."""
    found = []
    for tag in captions.tags(caption):
        if tag.casefold() == trigger.strip().casefold():
            continue
        kind = _kind(tag)
        if kind:
            found.append(Named(kind, tag, is_sure=True))
            continue
        inside = _AFTER_STYLE.search(tag)
        if inside is not None:
            found.append(Named("style", inside.group(), is_sure=inside.group().casefold() == tag.casefold()))
            continue
        words = _longest_only(
            word for word in _kinds() if " " in word or word in _UNMISTAKABLE if caption_text.has_word(tag, word)
        )
        found += [Named(_kinds()[word], word, is_sure=False) for word in words]
    return found


def findings(texts: Mapping[str, str], trigger: str) -> list[StyleFinding]:
    """The captions that are not as a style needs them, by path: they name it, or the trigger word is not at their end."""
    found = []
    for path, caption in texts.items():
        words = tuple(one for line in caption.splitlines() for one in named(line, trigger))
        is_last = not trigger.strip() or all(_ends_with(line, trigger) for line in caption.splitlines() if line.strip())
        if words or not is_last:
            found.append(StyleFinding(path, words, is_last))
    return found


def mended(trigger: str = "") -> Operation:
    """Takes tags away that name the style, and puts the trigger word at the end; sentences stay as they are."""
    word = trigger.strip()

    def edit(caption: str) -> str:
        had = captions.tags(caption)
        unwanted = {one.words for one in named(caption, word) if one.is_sure}
        left = [tag for tag in had if tag not in unwanted]
        if word:
            left = [tag for tag in left if tag.casefold() != word.casefold()]
            if not left or not caption_text.has_word(left[-1], word):
                # The full stop of a sentence would stand before the comma.
                left = [*left[:-1], *(tag.rstrip(".") for tag in left[-1:]), word]
        return caption if left == had else captions.joined(left)

    return edit


def in_sentence(text: str) -> tuple[str, ...]:
    """The words of a sentence that name a style, in lower case; more of them than `named` finds, and none of them is sure."""
    return tuple(dict.fromkeys(found.group().casefold() for found in _in_sentences().finditer(text)))


def titles() -> Mapping[str, str]:
    """What is wrong with words of each kind, such as "names a style"."""
    return {kind: str(group["title"]) for kind, group in _table().items()}


def _ends_with(caption: str, trigger: str) -> bool:
    had = captions.tags(caption)
    return bool(had) and caption_text.has_word(had[-1], trigger)


def _kind(tag: str) -> str:
    """The kind of a tag that is a style word as a whole, "" for another one."""
    plain = " ".join(tag.casefold().replace("_", " ").replace("colour", "color").strip(" .").split())
    bare = re.sub(r"^(?:an?|the) ", "", plain)
    for word in (bare, bare.removesuffix(" style"), bare.removesuffix(" (medium)"), bare.removesuffix(" technique")):
        if word in _kinds():
            return _kinds()[word]
    return ""


_UNMISTAKABLE = frozenset(
    {"brushstrokes", "brushwork", "impasto", "painterly", "crosshatching", "photorealistic", "watercolor", "cel-shaded"}
)
"""Single words that name a style wherever they stand; others, such as "realistic" or "engraving", may be a part of the scene."""


def _longest_only(words: Iterable[str]) -> list[str]:
    """The words that are not a part of another one."""
    found = list(words)
    return [one for one in found if not any(one != other and caption_text.has_word(other, one) for other in found)]


@functools.cache
def _in_sentences() -> re.Pattern[str]:
    own = [word for group in _table().values() for word in group["in_sentences"]]
    words = {*own, *(word for word in _kinds() if " " in word), *_UNMISTAKABLE}
    # The longest first, so that the whole of "oil on canvas" is named.
    patterns = (re.escape(word).replace("color", "colou?r") for word in sorted(words, key=lambda one: (-len(one), one)))
    return re.compile(rf"(?<![\w-])(?:{'|'.join(patterns)})(?![\w-])", re.IGNORECASE)


@functools.cache
def _kinds() -> Mapping[str, str]:
    return {word.replace("colour", "color"): kind for kind, group in _table().items() for word in group["words"]}


@functools.cache
def _table() -> Mapping[str, dict[str, str | list[str]]]:
    return read_toml(Path(__file__).with_name("style_words.toml"))

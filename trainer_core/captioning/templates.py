"""The questions to captioners, and how the trigger word comes into their answers."""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from trainer_core.curation.captions import tags
from trainer_core.errors import DatasetError, wrong_use
from trainer_core.files import read_rows

LONGEST = 20_000
_NAMED = re.compile(r"\{(\w+)\}")
NAMES = ("tags", "name", "trigger")
"""What can stand in braces in a question."""


@dataclass(frozen=True, kw_only=True)
class Template:
    """A question: its text, where the trigger goes ("": nowhere), and how long the answer may be.

    With `forbids_style`, an answer that names a style is marked.
    """

    id: str
    title: str
    text: str
    place: Literal["start", "end", ""] = ""
    most_tokens: int = 300
    forbids_style: bool = False


@functools.cache
def templates() -> Mapping[str, Template]:
    """The questions by id."""
    return read_rows(Path(__file__).with_suffix(".toml"), Template)


def get(name: str, text: str = "") -> Template:
    """The question with this id; `text` replaces its words.

    Raises:
        DatasetError: there is none, or the text has unknown words in braces.
    """
    if name not in templates():
        raise wrong_use(DatasetError(f"There is no question {name!r:.60}.", f"Known: {', '.join(templates())}."))
    row = templates()[name]
    if not text.strip():
        return row
    if len(text) > LONGEST:
        raise wrong_use(DatasetError("The question is too long.", f"Write at most {LONGEST:,} characters."))
    if unknown := [each for each in _NAMED.findall(text) if each not in NAMES]:
        known = ", ".join(f"{{{each}}}" for each in NAMES)
        raise wrong_use(
            DatasetError(f"The question has {{{unknown[0]}}}, which stands for nothing.", f"Known: {known}.")
        )
    return Template(id=row.id, title=row.title, text=text, place=row.place, most_tokens=row.most_tokens, forbids_style=row.forbids_style)  # fmt: skip


def question(row: Template, values: Mapping[str, str]) -> str:
    """The words that are sent: a line whose words in braces are all empty is left out."""
    lines = []
    for line in row.text.strip().splitlines():
        named = [name for name in _NAMED.findall(line) if name in NAMES]
        if named and not any(values.get(name, "").strip() for name in named):
            continue
        lines.append(_NAMED.sub(lambda found: values.get(found[1], found[0]) if found[1] in NAMES else found[0], line))
    return "\n".join(lines)


def with_trigger(row: Template, caption: str, trigger: str) -> str:
    """The caption with the trigger word at its place: "a lake at dawn, style_16" for a style.

    A trigger that is a tag of the caption moves; one inside of a sentence at the start stays where it is.
    """
    trigger = trigger.strip()
    if not trigger or not row.place or not caption.strip():
        return caption
    folded = trigger.casefold()
    if row.place == "start" and re.search(rf"(?<!\w){re.escape(folded)}(?!\w)", caption.casefold()):
        return caption
    rest = [each for each in tags(caption) if each.casefold() != folded]
    body = ", ".join(rest) if len(rest) != len(tags(caption)) else caption.strip()
    if row.place == "start":
        return f"{trigger}, {body}"
    return f"{body.rstrip('. ')}, {trigger}"


def fingerprint(parts: list[object]) -> str:
    """A short hash of what was asked: the same question of the same model is asked once."""
    return hashlib.sha256(repr(parts).encode("utf-8", "surrogatepass")).hexdigest()[:24]

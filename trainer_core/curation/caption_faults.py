"""Text in captions that was not meant to be trained: markup, answers of a captioner about itself, repetition. One row each."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from trainer_core.curation import captions

LOOPED = 3
"""So many times the same tag or sentence is a loop of the program that wrote it."""
LONGEST_READ = 20_000
"""So much of a caption is looked at."""


@dataclass(frozen=True)
class Fault:
    """A fault of captions: `reason` completes "the caption ..."; `find` returns the text that is wrong, "" for none."""

    key: str
    reason: str
    advice: str
    find: Callable[[str], str]


def _pattern(text: str) -> Callable[[str], str]:
    pattern = re.compile(text, re.IGNORECASE)

    def find(caption: str) -> str:
        found = pattern.search(caption)
        return found.group().strip() if found is not None else ""

    return find


def _looped(caption: str) -> str:
    """A tag, or a sentence of several words, that comes three times."""
    pieces = [*captions.tags(caption), *(one.strip() for one in re.split(r"[.!?]\s", caption) if " " in one.strip())]
    counts = Counter(one.casefold() for one in pieces)
    return next((one for one, count in counts.items() if count >= LOOPED), "")


def _twice(caption: str) -> str:
    counts = Counter(one.casefold() for one in captions.tags(caption))
    return next((one for one, count in counts.items() if count == LOOPED - 1), "")


FAULTS: Mapping[str, Fault] = {
    one.key: one
    for one in (
        Fault("refusal", "is a refusal of the program that should write it", "Write it anew.", _pattern(r"\bI(?:['\u2019]m| am) (?:sorry|unable)\b[^.]*|\bI (?:cannot|can['\u2019]t|won['\u2019]t) (?:assist|help|describe|provide|identify|comply)[^.]*|\bas an AI\b[^.]*")),
        Fault("thinking", "contains the thoughts of the program that wrote it", "Write it anew.", _pattern(r"</?think(?:ing)?>")),
        Fault("json", "is written as data", "Keep only the description.", _pattern(r"^\s*(?:```\w*\s*)?[\[{]\s*[\"'][\w ]{1,40}[\"']\s*:")),
        Fault("network", "names a network for another program", "Remove it.", _pattern(r"<(?:lora|lyco|hypernet):[^<>]{0,200}>")),
        Fault("markup", "contains markup of a web page", "Remove it.", _pattern(r"</?(?:a|b|br|div|em|i|img|li|p|span|strong|ul)(?:\s[^<>]{0,200})?/?>|&(?:quot|lt|gt|nbsp|#\d{1,5});")),
        Fault("address", "contains an address of the web", "Remove it.", _pattern(r"\bhttps?://\S+|\bwww\.\w+\.\S+")),
        Fault("handle", "contains the name of an account", "Remove it, unless it is the trigger word.", _pattern(r"(?<![\w.@])@[A-Za-z_]\w{2,30}\b(?!\.\w)")),
        Fault("loop", "says the same again and again", "Write it anew.", _looped),
        Fault("filler", "begins with words that say nothing of the image", "Begin with the subject.", _pattern(r"^\s*(?:(?:in )?(?:the|this|an?) (?:image|pic(?:ture)?|photo|photograph)(?:,? (?:shows|depicts|features|captures|displays|portrays|is of)|, )|here(?:['\u2019]s| is) (?:a|the) (?:caption|description)[^:]{0,40}:)")),
        Fault("repeat", "has a tag twice", "`easel dataset edit --no-repeats` removes it.", _twice),
        Fault("empty_tag", "has an empty tag", "`easel dataset edit --no-repeats` removes it.", _pattern(r",\s*,")),
        Fault("wide_comma", "separates tags with a wide comma, which the engines read as a part of the tag", "Replace it with a plain comma.", _pattern("\uff0c")),
    )
}  # fmt: skip
"""The faults by key, the most severe first."""


def faults(caption: str) -> dict[str, str]:
    """The faults of a caption by key, with the text that is wrong."""
    read = caption[:LONGEST_READ]
    return {key: text for key, fault in FAULTS.items() if (text := fault.find(read))}


def of(texts: Iterable[tuple[str, str]]) -> dict[str, dict[str, str]]:
    """The faults of captions that have some, by the path of the image."""
    return {path: found for path, caption in texts if (found := faults(caption))}

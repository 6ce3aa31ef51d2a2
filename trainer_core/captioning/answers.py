"""What is wrong with the answer of a captioner, and the caption that is left of it: pure functions.

Nothing is mended in silence: each change and each fault has a mark.
"""

from __future__ import annotations

import functools
import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer_core.captioning.storage import Caption
from trainer_core.curation import style_captions
from trainer_core.files import read_rows
from trainer_core.text import HIDDEN_CLASSES, printable, without_escapes

LONGEST = 8_000
_THOUGHTS = re.compile(r"<(think|thinking|reasoning)>.*?</\1>\s*", re.DOTALL | re.IGNORECASE)
_THOUGHT_START = re.compile(r"<(?:think|thinking|reasoning)>|◁think▷", re.IGNORECASE)
_THOUGHT_END = re.compile(r"^.*?</(?:think|thinking|reasoning)>\s*", re.DOTALL | re.IGNORECASE)
_FENCE = re.compile(r"^```[\w-]*\n?(.*?)\n?```$", re.DOTALL)
_HEAD = re.compile(r"^(?:#+\s*)?(?:\*\*)?(?:caption|description|answer)(?:\*\*)?\s*:\s*(?:\*\*)?", re.IGNORECASE)
_QUOTES = {'"': '"', "\u201c": "\u201d", "'": "'"}
KEYS = ("caption", "description", "text")
"""The keys of a JSON object whose value is the caption."""
_REFUSAL = re.compile(
    r"(?<!['\"\u2018\u201c])\b(?:i(?:'|\u2019)?m sorry|i am sorry|i apologi[sz]e|i(?:'m| am|\u2019m)? (?:can(?:no|')?t|cannot|can\u2019t|unable|not able|not comfortable)"
    r"|i won(?:'|\u2019)t|as an ai\b|(?:cannot|can(?:'|\u2019)t) (?:assist|comply|fulfil|help with|help you)"
    r"|against my (?:guidelines|policy)|content policy|no image (?:was|is|has been) (?:provided|attached|uploaded)"
    r"|(?:don(?:'|\u2019)t|do not) see (?:an?|any|the) image)",
    re.IGNORECASE,
)
_REFUSAL_WITHIN = 300
"""A refusal is at the start of an answer; later the same words may be what an image shows."""
_FILLER = re.compile(
    r"^(?:(?:sure|certainly|of course|okay|ok)[,!.:]?\s+)?(?:(?:here(?:'s| is| are|\u2019s)[^:\n]{0,80}:\s*)|"
    r"(?:(?:in )?(?:the|this) (?:image|pict(?:ure)|photo|photograph|illustration|artwork|drawing|painting|scene)"
    r"(?:,)?\s+(?:shows?|depicts?|features?|displays?|portrays?|presents?|captures?|contains?|showcases?|illustrates?|is of|we see|you can see|there (?:is|are))\s+)|"
    r"(?:(?:an?|the) image of\s+))",
    re.IGNORECASE,
)
_TO_READER = re.compile(
    r"(?:let me know if|would you like|feel free to|i hope this|do you want me|if you need)", re.IGNORECASE
)
_LIST = re.compile(r"^\s*(?:[-*\u2022]|\d+[.)])\s+", re.MULTILINE)
_MARKUP = re.compile(
    r"</?(?:[abipqsu]|[a-z][a-z0-9-]+)(?:\s[^<>]*)?/?>|<(?:script|style|iframe|img|svg|object|embed)\b|<!(?:--|doctype\b)",
    re.IGNORECASE,
)
"""Tags of HTML, without faces such as <o>_<o>, which are tags of images."""
_WORD = re.compile(r"[^\W\d_]+")
_LATIN = re.compile(r"[A-Za-z\u00c0-\u024f]")
_COMMON = frozenset(
    [
        "the",
        "a",
        "an",
        "of",
        "and",
        "in",
        "on",
        "with",
        "is",
        "are",
        "to",
        "at",
        "from",
        "by",
        "for",
        "his",
        "her",
        "their",
        "its",
        "as",
        "that",
        "this",
        "there",
        "while",
        "wearing",
        "holding",
        "standing",
        "sitting",
        "looking",
        "against",
        "under",
        "over",
        "behind",
        "near",
        "one",
        "two",
        "woman",
        "man",
        "girl",
        "boy",
        "background",
    ]
)
"""Words that nearly every English sentence has."""
_FOREIGN = frozenset(
    [
        "der",
        "die",
        "das",
        "und",
        "ist",
        "mit",
        "ein",
        "eine",
        "einer",
        "auf",
        "im",
        "von",
        "den",
        "dem",
        "zu",
        "sich",
        "le",
        "la",
        "les",
        "un",
        "une",
        "des",
        "est",
        "et",
        "dans",
        "avec",
        "sur",
        "el",
        "los",
        "las",
        "una",
        "con",
        "en",
        "que",
        "del",
        "y",
        "il",
        "lo",
        "gli",
        "di",
        "che",
        "per",
        "sono",
        "nel",
        "della",
        "um",
        "uma",
        "com",
        "de",
        "do",
        "da",
        "em",
        "os",
        "na",
        "no",
    ]
)
"""Words that sentences in German, French, Spanish, Italian or Portuguese have."""
SENTENCE_WORDS = 6
ENGLISH_SHARE = 0.04
NGRAM, MOST_REPEATS = 4, 4


@dataclass(frozen=True, kw_only=True)
class Mark:
    """Something about an answer; one that is `refused` is not written unless the user accepts it."""

    id: str
    title: str
    refused: bool


@functools.cache
def marks() -> Mapping[str, Mark]:
    """The marks by id."""
    return read_rows(Path(__file__).with_suffix(".toml"), Mark)


def is_refused(caption: Caption, accepted: Iterable[str] = ()) -> bool:
    """Whether a caption must not be written, with these marks accepted."""
    kept = set(accepted)
    return not caption.text.strip() or any(
        mark not in kept and marks()[mark].refused for mark in caption.marks if mark in marks()
    )


def judged(
    said: str, finish_reason: str = "stop", *, forbids_style: bool = False, english: bool = True, model: str = ""
) -> Caption:
    """The caption in an answer, with its marks. `finish_reason` is that of the API: "length" for one that was cut off."""
    found: list[str] = []
    text = _without_controls(said[: LONGEST * 4], found)
    text = _without_thoughts(text, found)
    # JSON can write control characters as escapes, which are read only now.
    text = _without_controls(_unwrapped(text.strip(), found), found)
    if _REFUSAL.search(text[:_REFUSAL_WITHIN]):
        found.append("refusal")
    if _LIST.search(text) and len(_LIST.findall(text)) > 1:
        found.append("wrapped")
    text = _without_filler(text, found)
    text = " ".join(printable(text, LONGEST, keep="\n\t").split())
    if finish_reason in ("length", "max_tokens"):
        found.append("length")
    elif finish_reason == "content_filter":
        found.append("refusal")
    checks = {
        "markup": _MARKUP.search(text) is not None,
        "empty": not any(map(str.isalnum, text)),
        "loop": is_loop(text),
        "question": _TO_READER.search(text) is not None,
        "language": english and not is_english(text),
        "style": forbids_style and bool(style_captions.in_sentence(text)),
    }
    found += [mark for mark, is_found in checks.items() if is_found]
    return Caption(text, tuple(dict.fromkeys(found)), said[: LONGEST * 4], model)


def _without_controls(text: str, found: list[str]) -> str:
    """The text without colours and cursor moves of terminals, control characters, and signs that turn the direction."""
    plain = without_escapes(text)
    hidden = {sign for sign in set(plain) if sign not in "\n\t\r" and unicodedata.category(sign) in HIDDEN_CLASSES}
    plain = plain.translate({ord(sign): " " if sign.isspace() else None for sign in hidden})
    if plain != text:
        found.append("control")
    return plain


def _without_thoughts(text: str, found: list[str]) -> str:
    plain = _THOUGHTS.sub("", text)
    if _THOUGHT_START.search(plain):
        # The thoughts have no end, so the caption never came.
        found += ["thinking", "length"]
        return _THOUGHT_START.split(plain)[0]
    # Some servers cut off the start mark.
    plain = _THOUGHT_END.sub("", plain)
    if plain != text:
        found.append("thinking")
    return plain


def _unwrapped(text: str, found: list[str]) -> str:
    """The caption without code block, JSON, heading or quotes around it."""
    plain = text
    if fenced := _FENCE.match(plain):
        plain = fenced[1].strip()
    if plain.startswith(("{", "[")):
        inner = _from_json(plain)
        if inner is None:
            found.append("wrapped")
            return plain
        plain = inner.strip()
    plain = _HEAD.sub("", plain)
    if plain[:1] in _QUOTES and len(plain) > 1 and plain[-1] == _QUOTES[plain[0]] and plain[1:-1].count(plain[0]) == 0:
        plain = plain[1:-1].strip()
    plain = plain.replace("**", "")
    if plain != text:
        found.append("unwrapped")
    return plain


def _from_json(text: str) -> str | None:
    try:
        table: Any = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if isinstance(table, list) and table and all(isinstance(each, str) for each in table):
        return ", ".join(table)
    if not isinstance(table, dict):
        return None
    texts = [value for key, value in table.items() if isinstance(value, str) and str(key).casefold() in KEYS]
    return texts[0] if len(texts) == 1 else None


def _without_filler(text: str, found: list[str]) -> str:
    plain = _FILLER.sub("", text, count=1)
    if plain == text or not plain.strip():
        return text
    found.append("filler")
    return plain[:1].upper() + plain[1:] if text[:1].isupper() else plain


def is_loop(text: str) -> bool:
    """Whether a text repeats itself, as models do that find no end."""
    folded = [word.casefold() for word in _WORD.findall(text)]
    if len(folded) > NGRAM * MOST_REPEATS:
        grams = Counter(zip(*(folded[start:] for start in range(NGRAM)), strict=False))
        if max(grams.values()) > MOST_REPEATS or (len(folded) > 60 and len(set(folded)) < len(folded) * 0.2):
            return True
    parts = [part.strip().casefold() for part in re.split(r"[,.;\n]", text) if part.strip()]
    return len(parts) > MOST_REPEATS * 2 and max(Counter(parts).values()) > MOST_REPEATS


def is_english(text: str) -> bool:
    """Whether a text may be English: in Latin letters, and a longer one with words that English sentences have.

    Tags are not sentences, so only their letters count.
    """
    letters = [char for char in text if char.isalpha()]
    if letters and sum(bool(_LATIN.match(char)) for char in letters) < 0.8 * len(letters):
        return False
    folded = [word.casefold() for word in _WORD.findall(text)]
    is_list = text.count(",") * 5 > len(folded)
    if len(folded) < SENTENCE_WORDS or is_list:
        return True
    english, foreign = (sum(word in known for word in folded) for known in (_COMMON, _FOREIGN))
    return english >= foreign and english >= ENGLISH_SHARE * len(folded)

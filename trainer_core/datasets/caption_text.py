"""Examines caption text: finds trigger words, counts tokens, and finds the syntax of other programs."""

from __future__ import annotations

import functools
import html
import re
import unicodedata
from collections.abc import Callable, Collection
from typing import Literal

Tokenizer = Literal["clip", "words"]
"""How tokens are counted: by the pattern with which CLIP splits a caption, or by spaces, for other text encoders."""

# Source: the pattern of CLIP's tokenizer (open_clip, tokenizer.py; transformers, tokenization_clip.py), after `_class`.
_CLIP_PIECES = re.compile(r"'(?:s|t|re|ve|m|ll|d)|[a-z]+|[0-9]|[^\sa-z0-9]+", re.IGNORECASE)
_SPACED = re.compile(r"\S+")

# CLIP's tokenizer reads "&amp;" as "&" unless there is a "<", a letter with a separate accent as one letter, and wide and curly signs as plain ones.
# Source: ftfy, fixes.py and chardata.py (uncurl_quotes, fix_latin_ligatures, fix_character_width).
_CLEANED = {
    **dict.fromkeys((0x2BC, *range(0x2018, 0x201C)), "'"),
    **dict.fromkeys(range(0x201C, 0x2020), '"'),
    **{
        code: unicodedata.normalize("NFKC", chr(code))
        for code in (*range(0xFB00, 0xFB07), *range(0xFF01, 0xFFF0), 0x3000)
    },
}

# "(word:1.3)", "((word))" and "[word]" change the weight of a word in other programs; "\(" is an escaped bracket there.
_WEIGHTS = re.compile(r"(?<!\\)\([^()]*:\s*[0-9.]+\s*\)|(?<!\\)\(\(|(?<!\\)\[[^\[\]|]+\]")
_ESCAPES = re.compile(r"\\[()\[\]]")
# Without "|" in the first part, so that a caption of bars takes no quadratic time.
_CHOICES = re.compile(r"\{[^{}|]*\|[^{}]*\}")


Count = Callable[[str], int]
"""Returns the number of tokens of a piece of a caption."""


def one_each(_piece: str) -> int:
    """One token for each piece: the lowest possible number."""
    return 1


def has_word(text: str, word: str, *, same_case: bool = False) -> bool:
    """Whether a text contains a word or phrase as a whole: "sks" is not in "desks".

    Case is ignored, unless `same_case` is set.
    """
    wanted, inside = (" ".join((each if same_case else each.casefold()).split()) for each in (word, text))
    start = inside.find(wanted) if wanted else -1
    while start >= 0:
        end = start + len(wanted)
        if not _joined(inside[start - 1 : start] + inside[start]) and not _joined(inside[end - 1 : end + 1]):
            return True
        start = inside.find(wanted, start + 1)
    return False


def has_trigger(caption: str, trigger: str, added: Collection[str] = (), *, same_case: bool = False) -> bool:
    """Whether each line of a caption, or a text that the engine adds to it, contains the trigger word."""
    in_added = any(has_word(text, trigger, same_case=same_case) for text in added)
    return in_added or all(has_word(line, trigger, same_case=same_case) for line in caption.splitlines())


def _joined(pair: str) -> bool:
    """Whether two characters belong to one word. Scripts without upper and lower case may not separate words by spaces."""
    return len(pair) == 2 and all(char.isalnum() and unicodedata.category(char) != "Lo" for char in pair)


@functools.lru_cache(maxsize=1 << 15)
def tokens(text: str, tokenizer: Tokenizer, count: Count = one_each) -> int:
    """The lowest number of tokens of a caption: one for each piece, because a tokenizer never joins pieces.

    The exact number depends on the vocabulary: rare words are several tokens. `count` returns the number for a piece.
    """
    plain, pieces = split(text, tokenizer)
    return sum(count(plain[start:end]) for start, end in pieces)


def beyond(text: str, tokenizer: Tokenizer, limit: int, count: Count = one_each) -> str:
    """The end of a caption that a text encoder with `limit` tokens certainly does not read completely; "" if there is none."""
    plain, pieces = split(text, tokenizer)
    read = 0
    for start, end in pieces:
        read += count(plain[start:end])
        if read > limit:
            return plain[start:].strip()
    return ""


def split(text: str, tokenizer: Tokenizer) -> tuple[str, list[tuple[int, int]]]:
    """The text after the tokenizer's cleaning, and the start and end of each piece. Pieces are never joined."""
    plain = text if "<" in text or "&" not in text else html.unescape(text)
    classes = plain
    if not plain.isascii():
        plain = unicodedata.normalize("NFC", plain).translate(_CLEANED)
        classes = "".join(map(_class, plain))
    pattern = _SPACED if tokenizer == "words" else _CLIP_PIECES
    return plain, [piece.span() for piece in pattern.finditer(plain if tokenizer == "words" else classes)]


def _class(char: str) -> str:
    """A character of the same class for the pattern: Python's classes of letters and digits are not those of CLIP's pattern."""
    if char.isascii() or char.isspace():
        return char
    return {"L": "x", "N": "0"}.get(unicodedata.category(char)[0], "!")


def has_weights(text: str) -> bool:
    """Whether a caption contains weights, such as (word:1.3), ((word)) or [word]."""
    return _WEIGHTS.search(text) is not None


def has_escapes(text: str) -> bool:
    """Whether a caption contains escaped brackets, with a backslash before them."""
    return _ESCAPES.search(text) is not None


def has_choices(text: str) -> bool:
    """Whether a caption contains a choice, such as {red|blue}."""
    return _CHOICES.search(text) is not None

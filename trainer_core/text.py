"""Makes untrusted text (file names, captions, logs, metadata) safe to show. Standard library only."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterable

# Characters of these classes can control a terminal, reverse the reading direction, or cannot be encoded. Callers that
# want several lines keep line breaks and tabs.
_HIDDEN_CLASSES = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})

# Colours and cursor moves (CSI), and links and titles (OSC), which end with BEL or ESC \\.
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?")


def without_escapes(text: str) -> str:
    """The text that a program wrote for a terminal, without colours, cursor moves and links."""
    return _ESCAPES.sub("", text)


def printable(text: str, limit: int = 2000, keep: str = "") -> str:
    """The text with control, direction and surrogate characters shown as escapes, cut to `limit` characters.

    `keep` lists characters that stay as they are, for example a line break.
    """
    shown = "".join(
        char if char in keep or unicodedata.category(char) not in _HIDDEN_CLASSES else f"\\u{ord(char):04x}"
        for char in text[: limit + 1]
    )
    return shown if len(text) <= limit else shown[:limit] + "…"


# Tokens of Hugging Face, GitHub, RunPod, OpenAI and Amazon by their prefixes, and 32 hexadecimal digits, as Civitai uses.
TOKEN = re.compile(
    r"\b(?:hf_[A-Za-z0-9]{20,}|gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|rpa_[A-Za-z0-9]{20,}|sk-[A-Za-z0-9_-]{20,}|AKIA[0-9A-Z]{16}|[0-9a-f]{32})\b"
)
_USER = re.compile(r"(?<=://)[^/\s@]{1,200}@")


def without_secrets(text: str) -> str:
    """The text without tokens, and without the user and password of an address."""
    return _USER.sub("", TOKEN.sub("[token]", text))


NEAR = 0.75
"""The similarity from which on one name is likely a misspelling of another: one wrong letter in four."""
WRONG_LETTERS = 2
"""The most letters by which a misspelling is longer or shorter; max_steps is none of max_timestep."""


def nearest(name: str, known: Iterable[str]) -> str:
    """The known name that was probably meant: a misspelling, or one that begins with this name; else ""."""
    near = (each for each in known if abs(len(each) - len(name)) <= WRONG_LETTERS or each.startswith(name))
    return next(iter(difflib.get_close_matches(name, list(near), 1, NEAR)), "")

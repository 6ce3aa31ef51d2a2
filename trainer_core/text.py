"""Outside text (file names, captions, logs, metadata) made safe to show as text. Standard library only."""

from __future__ import annotations

import re
import unicodedata

# Line breaks and tabs are kept where several lines are wanted; everything else of these classes can steer a terminal,
# reverse the reading direction or cannot be encoded.
_HIDDEN_CLASSES = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})

# Colours and cursor moves (CSI), and links and titles (OSC), which end with BEL or ESC \\.
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?")


def without_escapes(text: str) -> str:
    """The text of a program that thought it wrote to a terminal, without colours, cursor moves and links."""
    return _ESCAPES.sub("", text)


def printable(text: str, limit: int = 2000, keep: str = "") -> str:
    """The text with control, direction and surrogate characters shown as escapes, cut to `limit` characters.

    `keep` names characters that may stay, for example a line break.
    """
    shown = "".join(
        char if char in keep or unicodedata.category(char) not in _HIDDEN_CLASSES else f"\\u{ord(char):04x}"
        for char in text[: limit + 1]
    )
    return shown if len(text) <= limit else shown[:limit] + "…"

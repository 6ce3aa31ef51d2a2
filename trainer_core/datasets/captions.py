"""Reads one caption file: turns untrusted bytes into the caption text that is shown and trained."""

from __future__ import annotations

import codecs
import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

LARGEST_CAPTION_BYTES = 1 << 20
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\x07\x1b\r\n]*(?:\x07|\x1b\\)")
"""Colours and cursor moves of a terminal, and its links and titles if they have an end."""


@dataclass(frozen=True)
class Caption:
    """The caption text that an engine trains with ("" where there is none), and the keys of the file's defects."""

    text: str
    defects: tuple[str, ...] = ()


def read(path: Path, lines: Literal["first", "each"]) -> Caption:
    """The caption in a file: its first line, or all lines where each line is a separate caption."""
    try:
        if not path.is_file() or path.stat().st_size > LARGEST_CAPTION_BYTES:
            return Caption("", ("caption_no_text",))
        data = path.read_bytes()
    except OSError:
        return Caption("", ("caption_no_text",))
    return parse(data, lines)


def parse(data: bytes, lines: Literal["first", "each"]) -> Caption:
    """The caption in the bytes of a file, decoded, without byte order mark, control characters and colours of a terminal."""
    try:
        text, defects = _decode(data)
    except UnicodeDecodeError:
        return Caption("", ("caption_not_utf8",))
    # What follows the escape character belongs to it: "[31m" alone would be trained, and look like a weight.
    plain = _ESCAPES.sub("", text)
    clean = "".join(char for char in plain.replace("\t", " ") if char in "\r\n" or unicodedata.category(char) != "Cc")
    if len(clean) != len(text):
        defects = (*defects, "caption_control")
    filled = [line.strip() for line in clean.splitlines() if line.strip()]
    if not filled:
        return Caption("", (*defects, "caption_blank"))
    if len(filled) == 1:
        return Caption(filled[0], defects)
    if lines == "first":
        return Caption(filled[0], (*defects, "many_lines"))
    return Caption("\n".join(filled), (*defects, "many_captions"))


def _decode(data: bytes) -> tuple[str, tuple[str, ...]]:
    if data.startswith(codecs.BOM_UTF8):
        return data.decode("utf-8-sig"), ("caption_mark",)
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16"), ("caption_utf16",)
    return data.decode("utf-8"), ()

"""File names that are valid on every system, for the results of a plan."""

from __future__ import annotations

import re
import unicodedata

# Windows forbids these in file names, and users share LoRA files.
FORBIDDEN_IN_NAMES = '<>:"/\\|?*'
_RESERVED = re.compile(r"con|prn|aux|nul|com[1-9]|lpt[1-9]", re.IGNORECASE)
"""Windows reserves these names, with any file extension."""
LONGEST_NAME_BYTES = 120
"""Engines append steps, states and time stamps to the name; file systems allow 255 bytes."""


def as_file_name(text: str) -> str:
    """The text as a valid file name on every system; "" if nothing is left of it."""
    shown = "".join(char for char in text if unicodedata.category(char) not in ("Cf", "Cs"))
    clean = re.sub(rf"[{re.escape(FORBIDDEN_IN_NAMES)}\x00-\x1f\x7f-\x9f]", "-", shown).strip(" .")
    if _RESERVED.fullmatch(clean.partition(".")[0]):
        clean = f"{clean}-"
    return clean.encode("utf-8", "replace")[:LONGEST_NAME_BYTES].decode("utf-8", "ignore").rstrip(" .")

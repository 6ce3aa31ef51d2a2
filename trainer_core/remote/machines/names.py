"""Names that come from another machine or from a user's folder, before they become paths."""

from __future__ import annotations

import re
import unicodedata

from trainer_core.errors import JobError
from trainer_core.text import printable

LONGEST_PART_BYTES = 255
DEEPEST = 32
_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,159}", re.ASCII)


def check_name(name: object) -> str:
    """A relative path with "/" that stays inside of its folder.

    Raises:
        JobError: it is none.
    """
    reason = _wrong(name) if isinstance(name, str) else "it is no text"
    if reason or not isinstance(name, str):
        raise JobError(f"The name {printable(str(name), 200)!r} cannot be used: {reason}.", "Rename it.")
    return name


def _wrong(name: str) -> str:
    """Why a name cannot be used; "" if it can."""
    parts = name.split("/")
    if name.startswith("/") or "" in parts:
        return "a part of it is empty, or it begins with a slash"
    if any(part in {".", ".."} for part in parts):
        return "it leads out of its folder"
    if len(parts) > DEEPEST:
        return f"it has more than {DEEPEST} folders"
    try:
        if any(len(part.encode("utf-8", "surrogateescape")) > LONGEST_PART_BYTES for part in parts):
            return "it is too long"
    except UnicodeEncodeError:
        return "it is no text"
    if any(unicodedata.category(char) == "Cc" for char in name):
        return "it contains control characters"
    return ""


def check_sha256(text: object) -> str:
    """A SHA-256 in hexadecimal digits.

    Raises:
        JobError: it is none.
    """
    if isinstance(text, str) and _SHA256.fullmatch(text):
        return text
    raise JobError(f"{printable(str(text), 100)!r} is no SHA-256.", "Update Easel here and there.")


def check_id(text: object) -> str:
    """The id of a run or job, which is the name of a folder.

    Raises:
        JobError: it cannot be one.
    """
    if isinstance(text, str) and _ID.fullmatch(text):
        return text
    raise JobError(
        f"{printable(str(text), 100)!r} is not the id of a run.", "Look at what `easel remote attach` lists."
    )


def check_size(value: object) -> int:
    """A number of bytes.

    Raises:
        JobError: it is none.
    """
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 50:
        return value
    raise JobError(f"{printable(str(value), 100)!r} is no number of bytes.", "Update Easel here and there.")

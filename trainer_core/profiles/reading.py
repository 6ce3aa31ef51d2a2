"""Reads the tables of an untrusted profile file: limits on size and depth, text only, no control characters, no tokens.

Every error names the file, the key or the line, and the reason; it repeats at most a few characters of the file.
"""

from __future__ import annotations

import math
import re
import tomllib
from datetime import date, time
from pathlib import Path
from typing import Any

from trainer_core.errors import ProfileError
from trainer_core.files import open_regular
from trainer_core.text import TOKEN, printable

LARGEST_FILE_BYTES = 64 * 1024
DEEPEST = 5
MOST_VALUES = 400
LONGEST_KEY = 64
LONGEST_TEXT = 2000
LARGEST_NUMBER = 2**63

_KEY = re.compile(r"[A-Za-z0-9_-]+")
# Comments and strings are skipped; the rest of a document is its structure. A string that is not closed ends with its line,
# so that everything after it is counted.
_STRUCTURE = re.compile(
    r"""
      \#[^\n]*+
    | "{3}(?:[^"\\]|\\.|"{1,2}(?!"))*+(?:"{3,5}|\Z)
    | '{3}.*?(?:'{3,5}|\Z)
    | "(?:[^"\\\n]|\\[^\n])*+"?
    | '[^'\n]*+'?
    | (?P<mark>[\[\]{}.=,\n])
    """,
    re.VERBOSE | re.DOTALL,
)


def refused(name: str, key: str, reason: str, hint: str = "") -> ProfileError:
    """The error with file, key and reason."""
    where = f"{printable(name, 120)}: {printable(key, 120)}: " if key else f"{printable(name, 120)} "
    return ProfileError(where + printable(reason, 400), hint, key)


def read(path: Path) -> bytes:
    """The bytes of a profile file; only the beginning of one that is too large.

    Raises:
        ProfileError: it is not a regular file, or cannot be read.
    """
    try:
        with open_regular(path) as file:
            return file.read(LARGEST_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "its name is not valid"
        raise _unreadable(path, f"cannot be read: {reason}.") from error


def _unreadable(path: Path, reason: str) -> ProfileError:
    return ProfileError(f"{printable(path.name, 120)} {reason}", "Choose the path of a .toml file.", is_unread=True)


def tables(raw: bytes, name: str) -> dict[str, Any]:
    """The document in the bytes of a file, as tables of plain values.

    Raises:
        ProfileError: it is too large or too deep, not UTF-8 or not TOML, or contains what a profile must not contain.
    """
    text = _text(raw, name)
    if reason := _too_deep(text):
        raise refused(name, "", reason)
    try:
        data = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        # Not only for mistakes in the file: also for numbers with more digits than Python reads, and for endlessly nested tables.
        raise refused(name, "", f"is not TOML: {printable(str(error), 160)}.") from error
    _check_values(name, data)
    if line := _steering_line(text):
        raise refused(
            name, "", f"contains a hidden character that can control a terminal or the reading order (line {line})."
        )
    return data


def _text(raw: bytes, name: str) -> str:
    if len(raw) > LARGEST_FILE_BYTES:
        raise refused(name, "", f"is larger than {LARGEST_FILE_BYTES // 1024} kB, so it is not a profile.")
    if b"\0" in raw:
        raise refused(name, "", "contains a NUL byte, so it is not text.")
    if raw.startswith(b"\xef\xbb\xbf"):
        raise refused(
            name,
            "",
            "begins with a byte order mark, which TOML does not allow.",
            "Save it as UTF-8 without a byte order mark.",
        )
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise refused(name, "", f"is not UTF-8 text (byte {error.start}).") from error
    if text.lstrip()[:200].lower().startswith(("<!doctype", "<html", "<?xml", "<svg")):
        raise refused(name, "", "is a web page, not a profile.", "Copy the link to the file itself, not to its page.")
    if not text.strip():
        raise refused(name, "", "is empty.")
    return text


def _too_deep(text: str) -> str:
    """The reason why a document is nested too deeply to be parsed, or "".

    Checked before parsing, because parsing a key of thousands of parts would need gigabytes.
    """
    depth = dots = 0
    for found in _STRUCTURE.finditer(text):
        mark = found["mark"]
        if mark == ".":
            dots += 1
        elif mark:
            dots = 0
            depth = depth + 1 if mark in "[{" else max(0, depth - 1) if mark in "]}" else depth
        if depth > DEEPEST or dots >= DEEPEST:
            line = text.count("\n", 0, found.start()) + 1
            return f"is nested too deeply: {DEEPEST} levels are enough for a profile (line {line})."
    return ""


def _check_values(name: str, data: dict[str, Any]) -> None:
    left: list[tuple[str, Any, int]] = [("", data, 0)]
    count = 0
    while left:
        key, value, depth = left.pop()
        if depth > DEEPEST:
            raise refused(name, key, f"it is nested too deeply: {DEEPEST} levels are enough for a profile.")
        if not isinstance(value, dict | list):
            if reason := _bad_value(value):
                raise refused(name, key, reason)
            continue
        count += len(value)
        if count > MOST_VALUES:
            raise refused(name, key, f"contains more than {MOST_VALUES} values, so it is not a profile.")
        if isinstance(value, list):
            left += [(key, each, depth + 1) for each in value]
            continue
        for part in value:
            _check_key(name, key, part)
        left += [(f"{key}.{part}" if key else part, each, depth + 1) for part, each in value.items()]


def _check_key(name: str, above: str, part: str) -> None:
    if holds_token(part):
        raise refused(name, above, "it has a key that looks like a token. Remove it.")
    if len(part) > LONGEST_KEY or not _KEY.fullmatch(part):
        shown = printable(part, 60)
        raise refused(name, f"{above}.{shown}" if above else shown, "this is not a key of a profile.")


def _bad_value(value: object) -> str:
    """The reason why a profile must not contain this value, or ""."""
    if isinstance(value, str):
        return bad_text(value)
    if isinstance(value, date | time):
        return "it is a date, and no setting accepts a date."
    if isinstance(value, int) and abs(value) >= LARGEST_NUMBER:
        return "the number is too large for any setting."
    if isinstance(value, float) and not math.isfinite(value):
        return "it is not a finite number."
    return ""


def bad_text(text: str) -> str:
    """The reason why a profile must not contain this text, or ""."""
    if len(text) > LONGEST_TEXT:
        return f"the text is longer than {LONGEST_TEXT} characters."
    if hidden := next(filter(_is_hidden, text), ""):
        return (
            f"it contains the hidden character U+{ord(hidden):04X}, which can control a terminal or the reading order."
        )
    if holds_token(text):
        return "it contains what looks like a token. Remove it, and create a new token if the file was shared."
    return ""


def holds_token(text: str) -> bool:
    """Whether a text contains something that looks like a token."""
    return TOKEN.search(text) is not None


def _is_hidden(char: str) -> bool:
    return not char.isprintable() and printable(char) != char


def _steering_line(text: str) -> int:
    """The number of the first line with a hidden character, comments included; 0 if there is none."""
    lines = enumerate(text.replace("\r\n", "\n").replace("\t", " ").split("\n"), 1)
    return next((number for number, line in lines if any(map(_is_hidden, line))), 0)

"""Finds and removes paths, addresses and tokens in the texts that a file's metadata contains."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from trainer_core.text import TOKEN, without_secrets

# Folders may have spaces in their names; the last part ends at a space, because text may follow. A path starts at a root, a drive, a share or the home folder, and has at least one folder. The slashes of a web address do
# not match, because a path does not start after a letter, a colon or another slash.
_IN_TEXT = re.compile(
    r"(?<![\w.:/\\~-])(?:~[\w.-]*[\\/]|[A-Za-z]:[\\/]|\\\\|/)(?:[^\r\n\t\"'<>|:*?,;()\[\]{}=\\/]+[\\/]+){0,60}[^\s\"'<>|:*?,;()\[\]{}=\\/]+"
)
_WHOLE = re.compile(r"(?:~[\w.-]*[\\/]|[A-Za-z]:[\\/]|\\\\|file://|/(?!/)).+", re.DOTALL)
_EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}")
# A name with a date of shooting or a camera's number, such as IMG_2041.JPG.
_IMAGE = re.compile(r"[\w)]\.(?:png|jpe?g|webp|bmp|tiff?|gif|avif|heic|txt|caption)\b", re.IGNORECASE)
LONGEST_JSON = 1 << 24


def file_name(text: str) -> str:
    """The last part of a path of any system; "" if that is the root or the name of the user."""
    parts = [part for part in re.split(r"[\\/]+", text.strip()) if part]
    if not parts or re.fullmatch(r"~.*|[A-Za-z]:|file:|\.{1,2}", parts[-1]):
        return ""
    return "" if len(parts) > 1 and parts[-1].casefold() in _user_names() else parts[-1]


def without_paths(text: str) -> str:
    """The text with each path reduced to the name of its file or folder, and without tokens; in JSON, in each of its texts."""
    if len(text) < LONGEST_JSON and text.lstrip()[:1] in ("{", "["):
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            return _reduced(text)
        made = each_text(found, _reduced)
        return text if made == found else json.dumps(made)
    return _reduced(text)


def each_text(value: Any, change: Callable[[str], str]) -> Any:
    """A JSON value with a function applied to all texts in it, the keys of its objects too."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list | tuple):
        return [each_text(entry, change) for entry in value]
    if isinstance(value, dict):
        return {change(str(key)): each_text(entry, change) for key, entry in value.items()}
    return value


def private(text: str) -> str:
    """What a text contains that can identify a person or a machine: "a path", "an e-mail address", ...; "" for nothing."""
    if TOKEN.search(text):
        return "a token"
    if _EMAIL.search(text):
        return "an e-mail address"
    if _has_path(text):
        return "a path"
    if any(re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text, re.IGNORECASE) for name in _user_names()):
        return "the name of the user"
    return "names of images or captions" if _IMAGE.search(text) else ""


def _has_path(text: str) -> bool:
    try:
        found = json.loads(text) if text.lstrip()[:1] in ("{", "[") and len(text) < LONGEST_JSON else text
    except (ValueError, RecursionError):
        found = text
    return each_text(found, _reduced_path) != found if not isinstance(found, str) else _reduced_path(found) != found


def _reduced(text: str) -> str:
    return _reduced_path(without_secrets(text))


def _reduced_path(text: str) -> str:
    if _WHOLE.fullmatch(text) and "\n" not in text:
        return file_name(text)
    return _IN_TEXT.sub(lambda match: file_name(match[0]), text)


def _user_names() -> frozenset[str]:
    """The name of the user, as it is in the path of the home folder. Names of every machine, such as root, identify nobody."""
    try:
        name = Path.home().name.casefold()
    except RuntimeError:
        return frozenset()
    common = {"root", "user", "home", "ubuntu", "jovyan", "content", "admin", "workspace", "kaggle", "app", ""}
    return frozenset({name} - common)

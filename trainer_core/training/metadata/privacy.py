"""Finds and removes paths, addresses and tokens in the texts that a file's metadata contains."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from trainer_core.text import TOKEN, without_secrets

# Where a path starts: at an address of a file or a share, at the home folder, at a variable of the environment, at a drive, at a share,
# at the folder of all users, at this folder or the one above, or at a root. Backslashes are doubled where a path is inside of a JSON
# text or a Python list. The slashes of a web address do not match: they stand after a colon and a slash.
_START = (
    r"(?:file|smb|sftp|ssh|nfs|afp|vscode-remote):[\\/]{2,}|~[\w.-]*[\\/]+|%\w+%[\\/]+|\$\{?[A-Z_]{2,}\}?[\\/]+"
    r"|(?:\\{2,4}[?.]\\{1,2})?[A-Za-z]:[\\/]+|\\{2,4}(?=[\w?.])|\\+(?=Users\\)|(?<!:)//(?=[\w.-]+/)|\.{1,2}[\\/]+|\\?/(?!/)"
)
# Folders may have spaces in their names; the last part ends at a space, because text may follow.
_IN_TEXT = re.compile(
    rf"(?<![\w./\\~-])(?:{_START})(?:[^\r\n\t\"'<>|:*?,;()\[\]{{}}=\\/]+[\\/]+){{0,60}}[^\s\"'<>|:*?,;()\[\]{{}}=\\/]+"
)
_WHOLE = re.compile(rf"(?:{_START}).+", re.DOTALL)
# The home folder of a person at the end of a path, with the second word of a name that has one.
_OF_A_PERSON = re.compile(r"[\\/](?:home|Users|Documents and Settings)[\\/]+[^\\/]+", re.IGNORECASE)
_SECOND_WORD = re.compile(r"(?: [A-Z][\w-]*){1,2}")
_HOMES = ("home", "users", "documents and settings")
_EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}")
# A name with a date of shooting or a camera's number, such as IMG_2041.JPG.
_IMAGE = re.compile(r"[\w)]\.(?:png|jpe?g|webp|bmp|tiff?|gif|avif|heic|txt|caption)\b", re.IGNORECASE)
LONGEST_JSON = 1 << 24
MOST_DEPTH = 4
"""How often JSON may be inside of a text of JSON."""


def file_name(text: str) -> str:
    """The last part of a path of any system; "" if that is the root, or the name of a person, as of a home folder."""
    parts = [part for part in re.split(r"[\\/]+", text.strip()) if part]
    if not parts or re.fullmatch(r"~.*|[A-Za-z]:|file:|\.{1,2}", parts[-1]):
        return ""
    is_home = len(parts) > 1 and (parts[-2].casefold() in _HOMES or parts[-1].casefold() in _user_names())
    return "" if is_home else parts[-1]


def without_paths(text: str) -> str:
    """The text with each path reduced to the name of its file or folder, and without tokens; in JSON, in each of its texts."""
    return _in_each(text, lambda each: _reduced_path(without_secrets(each)))


def _in_each(text: str, change: Callable[[str], str], depth: int = 0) -> str:
    """A text after a function; of JSON, with the function applied to each of its texts, which may be JSON again."""
    if len(text) < LONGEST_JSON and text.lstrip()[:1] in ("{", "[") and depth < MOST_DEPTH:
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            return change(text)
        made = each_text(found, lambda each: _in_each(each, change, depth + 1))
        return text if made == found else json.dumps(made)
    return change(text)


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
    if _in_each(text, _reduced_path) != text:
        return "a path"
    if any(re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text, re.IGNORECASE) for name in _user_names()):
        return "the name of the user"
    return "names of images or captions" if _IMAGE.search(text) else ""


def _reduced_path(text: str) -> str:
    if _WHOLE.fullmatch(text) and "\n" not in text:
        return file_name(text)
    made, done = [], 0
    for match in _IN_TEXT.finditer(text):
        made += [text[done : match.start()], file_name(match[0])]
        done = match.end()
        if _OF_A_PERSON.search(match[0][-80:]) and not made[-1] and (rest := _SECOND_WORD.match(text, done)):
            done = rest.end()
    return "".join((*made, text[done:]))


def _user_names() -> frozenset[str]:
    """The name of the user, as it is in the path of the home folder. Names of every machine, such as root, identify nobody."""
    try:
        name = Path.home().name.casefold()
    except RuntimeError:
        return frozenset()
    common = {"root", "user", "home", "ubuntu", "jovyan", "content", "admin", "workspace", "kaggle", "app", ""}
    return frozenset({name} - common)

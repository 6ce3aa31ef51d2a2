"""Reduces the paths in a text to what helps to understand it: the names of folders are names of people, clients and machines.

What stays: folders of the system, the beginning of a path that is the same on many machines, and Python in an environment.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

FOLDER = "<folder>"
_SYSTEM = re.compile(
    r"/(?:dev/(?:kfd|dri|null|nvidia[\w-]*)|proc|sys|etc|lib|lib64|bin|sbin|usr/(?:bin|sbin|lib|lib64|local/bin|local/cuda[\w.-]*))(?:/.*)?"
)
_BEGINNINGS = (
    "/kaggle/working",
    "/kaggle/input",
    "/kaggle",
    "/content/drive",
    "/content",
    "/workspace",
    "/dev/shm",  # noqa: S108 - nothing is written there
    "/var/tmp",  # noqa: S108 - nothing is written there
    "/tmp",  # noqa: S108
    "/usr",
    "/opt",
    "/mnt",
)
_DRIVE = re.compile(r"/mnt/[a-z](?=/|$)")
"""A drive of Windows in WSL."""
_PYTHON = re.compile(r"/bin/python[\d.]*$")
# A space, of any kind, belongs to a path if the words after it lead to another slash.
_WORD = r"[^\s/\\\"'<>|*,;:=()\[\]{}]+"
_PATH = re.compile(rf"(?:(?<=file://)|(?<![\w.~>/\\-]))/(?:{_WORD}(?:[^\S\n]{_WORD}){{0,4}}/+)*{_WORD}")
_WINDOWS = re.compile(
    rf"(?:(?<!\w)[A-Za-z]:[\\/]{{1,4}}|(?<![\w\\])\\\\)(?:{_WORD}(?:[^\S\n]{_WORD}){{0,4}}[\\/]{{1,4}})*(?:{_WORD})?"
)


def kind(path: str, folders: Sequence[tuple[str, str]] = ()) -> str:
    """What a path is shown as. `folders` are known ones with what replaces them, such as ("/home/mika", "~")."""
    for folder, shown in sorted(folders, key=lambda each: -len(each[0])):
        if path == folder or path.startswith(f"{folder.rstrip('/')}/"):
            return shown + path[len(folder) :]
    if _SYSTEM.fullmatch(path):
        return path
    drive = _DRIVE.match(path)
    beginnings = (drive[0], *_BEGINNINGS) if drive else _BEGINNINGS
    beginning = next((each for each in beginnings if path == each or path.startswith(f"{each}/")), "")
    if path == beginning:
        return path
    python = _PYTHON.search(path)
    return f"{beginning}{'/' if beginning else ''}{FOLDER}{python[0] if python else ''}"


def reduced(text: str) -> str:
    """The text with each path in it as its kind."""
    return _PATH.sub(_reduced, _WINDOWS.sub(_reduced, text))


def _reduced(found: re.Match[str]) -> str:
    path = found[0].rstrip(".!?")
    return kind(path) + found[0][len(path) :]

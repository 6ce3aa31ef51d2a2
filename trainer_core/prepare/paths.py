"""Looks up the paths in the settings of a job: files to read, folders to write to, the file of the result."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from trainer_core import places
from trainer_core.draft.checks.choices import native_paths
from trainer_core.draft.facts import PathFacts
from trainer_core.draft.layers import is_native
from trainer_core.errors import DownloadError
from trainer_core.models import tokens
from trainer_core.plan import fields
from trainer_core.plan.elsewhere import is_named_there, is_on_hub
from trainer_core.training.delivery import SUFFIX


def look(values: Mapping[str, Any], *, is_elsewhere: bool = False) -> dict[str, PathFacts]:
    """The facts about every path in these values, by setting. If the training `is_elsewhere`, models may have names of there."""
    found = {
        setting.path: _seen(setting, values[setting.path], is_elsewhere=is_elsewhere)
        for setting in fields.paths()
        if isinstance(values[setting.path], str)
    }
    if is_native(values.get("native")):
        found |= {name: _at(text, Path(text)) for name, text in _native(values["native"])}
    result = f"{values['output.prefix']}{values['output.name']}"
    outputs = found.get("output.folder")
    if outputs is not None:
        file = Path(outputs.path) / f"{result}{SUFFIX}"
        found["output.name"] = PathFacts(result, str(file), exists=os.path.lexists(file))
    return found


def _seen(setting: fields.SettingField, text: str, *, is_elsewhere: bool) -> PathFacts:
    """What is at the path of a setting; for an empty output folder, at Easel's outputs folder."""
    if is_elsewhere and setting.section == "model" and is_named_there(text):
        # The carrier of the run looks whether it is there, as far as that can be asked.
        return PathFacts(text, text, exists=True, is_elsewhere=True)
    if is_on_hub(setting.path, text):
        # Whether it may be written is for the Hub to say; without a token it cannot be.
        return PathFacts(text, text, is_elsewhere=True, is_writable=_has_token())
    if text or setting.path == "output.folder":
        return _at(text, places.typed(text) if text else places.outputs(), is_written=setting.about.written)
    return PathFacts(text, "")


def _has_token() -> bool:
    try:
        return tokens.find("huggingface") is not None
    except DownloadError:
        return False


def _native(tables: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, str]]:
    return [
        named
        for engine, table in tables.items()
        for option, value in table.items()
        for named in native_paths(f"native.{engine}.{option}", value)
    ]


def _at(text: str, path: Path, *, is_written: bool = False) -> PathFacts:
    target = _target(path)
    is_relative = bool(target) and not path.readlink().is_absolute()
    there = PathFacts(text, str(path), places.is_there(path), places.is_folder(path), target, is_relative)
    if not is_written:
        return there
    folder = next((each for each in (path, *path.parents) if places.is_there(each)), Path("/"))
    # It can also be a file, into which nothing can be written.
    is_writable = places.is_folder(folder) and os.access(folder, os.W_OK) and _is_valid(path)
    disk = shutil.disk_usage(folder) if is_writable else None
    # A system of files in memory, such as /proc, has no size.
    is_writable = disk is not None and disk.total > 0
    return replace(there, folder=str(folder), is_writable=is_writable, free_bytes=disk.free if disk else 0)


def _is_valid(path: Path) -> bool:
    """Whether a folder with this path can exist. Source: Linux, limits.h, NAME_MAX and PATH_MAX."""
    try:
        names = [os.fsencode(name) for name in path.parts]
    except ValueError:  # half of a character
        return False
    return all(len(name) <= 255 and b"\0" not in name for name in names) and len(os.fsencode(path)) < 4096


def _target(path: Path) -> str:
    """The target of a symbolic link; "" if it is not one, or cannot be read."""
    try:
        real = places.real(path)
        # Only of a loop of links a link remains.
        return str(real) if path.is_symlink() and not real.is_symlink() else ""
    except (OSError, ValueError):  # not a valid path
        return ""

"""Where a new model file or folder goes that a user has named: one rule for all tools. Not: whether there is something already."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from trainer_core import places
from trainer_core.errors import WeightsError, wrong_use
from trainer_core.models.downloads import names
from trainer_core.models.header.tensors import shown
from trainer_core.text import printable

SAFETENSORS = (".safetensors",)
KNOWN = (".safetensors", ".sft", ".ckpt", ".pt", ".pth", ".bin", ".gguf", ".onnx", ".zip", ".json")
"""Endings of kinds of files. Any other one is part of the name, as in style-v1.5."""
LONGEST_PATH_BYTES = 4000
"""Linux allows 4,096 bytes for a path, and a file gets a longer name while it is written."""
LONGEST_STEM_BYTES = 150


def chosen(typed: str, folder: Path, endings: Sequence[str] = SAFETENSORS) -> Path:
    """The absolute path of a new file with one of these endings, of which the first is added to a name without any; () for a folder.

    A name alone is that of a file in `folder`. A path with folders means what the user typed: see `places.typed`.

    Raises:
        WeightsError: the path leads up with "..", is too long, or no system has a file with such a name; a file is to be made and this
            is a folder, or the name has the ending of another kind of file.
    """
    path = _placed(typed, folder)
    _check(path)
    ending = path.suffix.lower()
    if not endings:
        if ending in KNOWN:
            message = f"A folder is made, and {shown(path)} has the ending of a file."
            raise wrong_use(WeightsError(message, f"Choose {printable(path.stem, 60)}."))
        return path
    if path.is_dir() or typed.endswith(("/", os.sep)):
        what = "is a folder, not a new file" if path.is_dir() else "ends with a slash, as only a folder does"
        raise wrong_use(WeightsError(f"{shown(path)} {what}.", f"Name a new file, such as new{endings[0]}."))
    if ending in endings:
        return path
    if ending in KNOWN:
        what = f"{shown(path)} has the ending {path.suffix}, but the new file is a {endings[0].removeprefix('.')} file."
        advice = f"Choose {printable(path.stem, 60)}{endings[0]}."
        if endings[0] in SAFETENSORS and ending == ".ckpt":
            advice += " `easel convert --form checkpoint` makes .ckpt files."
        raise wrong_use(WeightsError(what, advice))
    path = path.with_name(path.name + endings[0])
    _check(path)
    return path


def stem(name: str) -> str:
    """The stem of a file's name, cut so that an ending fits behind it."""
    found = Path(name).stem
    while len(found.encode("utf-8", "replace")) > LONGEST_STEM_BYTES:
        found = found[:-1]
    return found


def from_here(typed: str) -> str:
    """A path as it was typed at a command line, spelled out from the working folder; "" stays, and so does a slash at its end."""
    if not typed:
        return ""
    end = os.sep if typed.endswith(("/", os.sep)) else ""
    return os.path.abspath(places.typed(typed)) + end  # noqa: PTH100 - Path.absolute leaves "..", which is spelled out here


def _placed(typed: str, folder: Path) -> Path:
    plain = places.unquoted(typed)
    if ".." in Path(plain).parts:
        raise wrong_use(
            WeightsError(
                f"{printable(plain, 120)} leads up with “..”, so it is not clear where the new file would be.",
                "Write out its folder, or give only a name.",
            )
        )
    has_folder = plain.startswith("~") or any(mark in plain for mark in (os.sep, os.altsep) if mark)
    return (places.typed(typed) if has_folder else folder / plain).absolute()


def _check(path: Path) -> None:
    """Checks that every system can have the file, and those of its folders that do not exist yet.

    Raises:
        WeightsError: it cannot.
    """
    if len(os.fsencode(path)) > LONGEST_PATH_BYTES:
        raise wrong_use(WeightsError("The path of the new file is too long.", "Choose another folder."))
    for each in (path, *path.parents):
        if os.path.lexists(each):
            if each != path and not each.is_dir():
                message = f"{shown(each)} is a file, so {shown(path)} cannot be made in it."
                raise wrong_use(WeightsError(message, "Choose another folder."))
            break
        if refused := names.refused(each.name):
            raise wrong_use(WeightsError(*refused))

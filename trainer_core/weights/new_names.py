"""The path of a new model file or folder, from the name that a user typed."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from trainer_core import places
from trainer_core.errors import WeightsError, wrong_use
from trainer_core.models.header.tensors import shown
from trainer_core.text import printable

SAFETENSORS = (".safetensors",)
KNOWN = (".safetensors", ".sft", ".ckpt", ".pt", ".pth", ".bin", ".gguf", ".onnx", ".zip", ".json")
"""Endings of kinds of files. Any other one is part of the name, as in style-v1.5."""


def chosen(typed: str, endings: Sequence[str] = SAFETENSORS) -> Path:
    """The absolute path of a new file with one of these endings, of which the first is added to a name without any; () for a folder.

    Raises:
        WeightsError: a file is to be made and this is a folder, or the name has the ending of another kind of file.
    """
    path = places.typed(typed).absolute()
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
    return path.with_name(path.name + endings[0])

"""Where a new file or folder goes that a user has named: one rule for all tools. Not: whether there is something already."""

from __future__ import annotations

import os
from pathlib import Path

from trainer_core import places
from trainer_core.errors import WeightsError, wrong_use
from trainer_core.models.downloads import names
from trainer_core.models.header.tensors import shown
from trainer_core.text import printable

LONGEST_PATH_BYTES = 4000
"""Linux allows 4,096 bytes for a path, and a file gets a longer name while it is written."""

LONGEST_STEM_BYTES = 150


def path(typed: str, folder: Path, ending: str = "") -> Path:
    """The absolute path of a new file or folder as the user typed it.

    A name alone is that of a file in `folder`. A path with folders means what the user typed: see `places.typed`. `ending` is
    added if it is not there; "" allows a folder, too.

    Raises:
        WeightsError: it is the path of a folder, leads up with "..", is too long, or no system has a file with such a name.
    """
    plain = places.unquoted(typed)
    is_name = not any(separator in plain for separator in (os.sep, os.altsep) if separator) and not plain.startswith(
        "~"
    )
    if ".." in Path(plain).parts:
        raise wrong_use(
            WeightsError(
                f"{printable(plain, 120)} leads up with “..”, so it is not clear where the new file would be.",
                "Write out its folder, or give only a name.",
            )
        )
    found = (folder / plain if is_name else places.typed(typed)).absolute()
    _check(found)
    if ending and (plain.endswith(("/", os.sep)) or found.is_dir()):
        raise wrong_use(
            WeightsError(f"{shown(found)} is a folder, not a new file.", f"Add a name, such as new{ending}.")
        )
    if ending and found.suffix != ending:
        found = found.with_name(f"{found.name}{ending}")
        _check(found)
    return found


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
                raise wrong_use(WeightsError(f"{shown(each)} is a file, not a folder.", "Choose another folder."))
            break
        if refused := names.refused(each.name):
            raise wrong_use(WeightsError(*refused))

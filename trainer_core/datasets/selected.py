"""Reads a named selection of a dataset: the images that are in it, as paths inside the dataset."""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath

from trainer_core.errors import DatasetError
from trainer_core.files import open_regular
from trainer_core.text import printable

FILE = Path(".easel") / "selections.json"
LARGEST_BYTES = 64 << 20
ADVICE = "Choose another selection, or none."


def images(root: Path, name: str) -> frozenset[str]:
    """The images of a selection, as paths inside the dataset with "/"; a path that leads out of it is left out.

    Raises:
        DatasetError: the dataset has no such selection, it is empty, or the file of selections cannot be read.
    """
    path, shown = root / FILE, printable(name, 80)
    try:
        with open_regular(path) as file:
            data = json.loads(file.read(LARGEST_BYTES))
    except FileNotFoundError:
        raise DatasetError(f'The dataset has no selection "{shown}": it has no selections.', ADVICE) from None
    except (OSError, ValueError, RecursionError) as error:
        raise DatasetError(f"The selections of the dataset cannot be read: {error}.", ADVICE) from error
    known = data.get("selections") if isinstance(data, dict) else None
    if not isinstance(known, dict):
        raise DatasetError(f"{FILE} of the dataset is damaged: it has no table of selections.", ADVICE)
    if name not in known:
        there = ", ".join(printable(str(each), 40) for each in sorted(known)[:8]) or "none"
        raise DatasetError(f'The dataset has no selection "{shown}". It has: {there}.', ADVICE)
    listed = known[name] if isinstance(known[name], list) else []
    found = frozenset(each for each in listed if isinstance(each, str) and _is_inside(each))
    if not found:
        raise DatasetError(f'The selection "{shown}" has no images.', ADVICE)
    return found


def sizes(root: Path) -> dict[str, int]:
    """How many images each selection of a dataset names, by its name; {} without selections, or if they cannot be read."""
    try:
        with open_regular(root / FILE) as file:
            data = json.loads(file.read(LARGEST_BYTES))
    except (OSError, ValueError, RecursionError):
        return {}
    known = data.get("selections") if isinstance(data, dict) else None
    return (
        {name: len(set(map(str, each))) for name, each in known.items() if isinstance(each, list)}
        if isinstance(known, dict)
        else {}
    )


def _is_inside(text: str) -> bool:
    path = PurePosixPath(text)
    return bool(text) and "\0" not in text and not path.is_absolute() and ".." not in path.parts

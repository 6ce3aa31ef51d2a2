"""The dataset of a run as it was staged: its images and captions."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from trainer_core.errors import RunError
from trainer_core.files import open_own
from trainer_core.training.folder import RunFolder

IMAGES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif", ".jxl"})
LONGEST_CAPTION_BYTES = 1 << 16
_NUMBER = re.compile(r"^\d+-")


@dataclass(frozen=True)
class Staged:
    """One image: its name without the number that staging puts in front of it, and its caption."""

    name: str
    caption: str


def staged(folder: RunFolder) -> dict[str, Staged]:
    """The images of a run by name, those of all folders but class images. A name that occurs several times gets a number behind it."""
    ending, class_folders = _caption_ending(folder), {"class_images", *_class_subsets(folder)}
    found: dict[str, Staged] = {}
    trained = (each for each in folder.staged if each.name not in class_folders)
    for path in (path for each in trained for path in sorted(each.iterdir())):
        if path.suffix.lower() in IMAGES:
            name, number = _NUMBER.sub("", path.name), 2
            while name in found:
                name, number = f"{_NUMBER.sub('', path.name)} ({number})", number + 1
            found[name] = Staged(name, _caption(path, ending))
    return found


def _class_subsets(folder: RunFolder) -> Iterator[str]:
    """The names of the staged folders that are further folders with class images."""
    try:
        subsets = folder.plan.get("dataset", {}).get("subsets", ())
    except RunError:
        return
    for number, each in enumerate(subsets if isinstance(subsets, list | tuple) else (), 2):
        if isinstance(each, dict) and each.get("kind") == "regularisation":
            yield f"subset_{number}"


def _caption_ending(folder: RunFolder) -> str:
    try:
        ending = folder.plan.get("dataset", {}).get("caption_extension", "")
    except RunError:
        ending = ""
    return ending if isinstance(ending, str) and re.fullmatch(r"\.\w{1,20}", ending) else ".txt"


def _caption(image: Path, ending: str) -> str:
    for suffix in (ending, ".txt"):
        try:
            with open_own(image.with_suffix(suffix)) as file:
                return file.read(LONGEST_CAPTION_BYTES).decode("utf-8", "replace").strip()
        except OSError:
            continue
    return ""

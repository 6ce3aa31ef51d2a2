"""The dataset of a run as it was staged: its images and captions."""

from __future__ import annotations

import re
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
    """The images of a run by name. A name that occurs several times gets a number behind it."""
    ending = _caption_ending(folder)
    found: dict[str, Staged] = {}
    for path in sorted(folder.dataset.iterdir()) if folder.dataset.is_dir() else ():
        if path.suffix.lower() in IMAGES:
            name, number = _NUMBER.sub("", path.name), 2
            while name in found:
                name, number = f"{_NUMBER.sub('', path.name)} ({number})", number + 1
            found[name] = Staged(name, _caption(path, ending))
    return found


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

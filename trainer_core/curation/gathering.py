"""The images of a dataset folder with their captions, as an editor sees them: every image, whatever an engine would do with it."""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass
from pathlib import Path

from trainer_core.curation.archives import IMAGES
from trainer_core.curation.contents import OWN
from trainer_core.datasets import captions, listing
from trainer_core.text import printable


@dataclass(frozen=True)
class CaptionFile:
    """The caption file of an image, which may not exist yet; both paths are relative to the dataset, with "/"."""

    image: str
    path: str
    text: str


def images(root: Path) -> list[str]:
    """The paths of all images of a dataset, relative to it and with "/", by name; hidden ones and Easel's own folder are left out.

    Raises:
        DatasetError: the folder cannot be listed.
    """
    found = (path.relative_to(root) for path in listing.list_files(root, follows_links=False).files)
    return sorted(
        path.as_posix()
        for path in found
        if path.suffix.casefold() in IMAGES and not any(part.startswith(".") or part == OWN for part in path.parts)
    )


def caption_files(root: Path, ending: str = ".txt", only: str = "") -> list[CaptionFile]:
    """The caption file of each image, or of those whose name fits `only`, a pattern with "*" and "?".

    Raises:
        DatasetError: the folder cannot be listed.
    """
    found: dict[str, CaptionFile] = {}
    for image in images(root):
        path = Path(image)
        if only and not (fnmatch.fnmatch(path.name, only) or fnmatch.fnmatch(path.stem, only)):
            continue
        caption = path.with_suffix(ending).as_posix()
        place = root / caption
        text = printable(captions.read(place, "each").text, 1 << 20, keep="\n") if place.is_file() else ""
        found.setdefault(caption, CaptionFile(image, caption, text))
    return list(found.values())

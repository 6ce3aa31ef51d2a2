"""The images of a dataset as tagging and captioning see them: their paths, and by what their results are kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from trainer_core import places
from trainer_core.curation import gathering
from trainer_core.errors import DatasetError
from trainer_core.text import printable


def root_of(folder: str | Path) -> Path:
    """The folder of a dataset.

    Raises:
        DatasetError: there is no such folder.
    """
    root = places.typed(folder).absolute()
    if not root.is_dir():
        raise DatasetError(f"There is no folder {printable(str(folder), 200)}.", "Check the path.")
    return root


def images(root: Path, wanted: Sequence[str] = ()) -> list[str]:
    """The paths of the images in the dataset, or of those that are wanted and there.

    Raises:
        DatasetError: the folder cannot be listed.
    """
    found = gathering.images(root)
    if not wanted:
        return found
    chosen = set(wanted)
    return [path for path in found if path in chosen]


def by_hash(root: Path, hashes: Mapping[Path, str], paths: Sequence[str]) -> dict[str, str]:
    """The SHA-256 of each image by its path in the dataset; an image that could not be read is left out."""
    return {path: hashes[root / path] for path in paths if root / path in hashes}

"""The Problems of the sub-folders of a dataset, and the fixes that choose them: one as the dataset, or all in kohya's layout."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from trainer_core.datasets import listing
from trainer_core.datasets.listing import Purposes
from trainer_core.datasets.rules import DatasetRules
from trainer_core.problems import Fix, Problem
from trainer_core.text import printable

MOST_NAMED = 4
LONGEST_NAME = 200


def fixes(purposes: Purposes, root: Path) -> dict[str, Fix]:
    """The fixes for images in sub-folders, by the key of their defect."""
    if (every := layout_fix(purposes)) is not None:
        return dict.fromkeys(("sub_folder", "subset", "regularisation"), every)
    inside = choices(purposes, root)
    return {"sub_folder": inside[0]} if inside else {}


def no_images(purposes: Purposes, root: Path, *, left_out: bool, stops: bool) -> Iterator[Problem]:
    """The Problems of a dataset without images to train, with the sub-folders that have some.

    `left_out`: whether it has files that are not trained. `stops`: whether some of them stop the engine.
    """
    rest = " None of the files in it can be trained." if left_out else ""
    message = f"No image in the dataset folder can be trained.{rest} Put PNG, JPEG or WebP images into it."
    every = layout_fix(purposes)
    if not stops and (inside := purposes.layout if every is not None else purposes.other_folders):
        where = "1 sub-folder" if len(inside) == 1 else f"{len(inside)} sub-folders"
        why = "each with its own repeats in its name" if every is not None else "which are not read with this folder"
        message = f"This folder has no image to train itself: its images are in {where}, {why}."
    found = [*([every] if every else ()), *choices(purposes, root)][:MOST_NAMED] if not stops else []
    yield Problem("dataset.path", "error", message, found[0] if found else None)
    for fix in found[1:]:
        inside = name(Path(fix.changes["dataset.path"]), root)
        yield Problem("dataset.path", "info", f"The sub-folder {inside} has images, too.", fix)


def choices(purposes: Purposes, root: Path) -> list[Fix]:
    """The fixes that choose a sub-folder as the dataset, the one with the most images first."""
    inside = sorted(purposes.other_folders.items(), key=lambda entry: (-entry[1], entry[0]))
    return [
        Fix(f"Use {name(folder, root)} ({counted(count)})", {"dataset.path": str(folder)}) for folder, count in inside
    ]


def layout_fix(purposes: Purposes) -> Fix | None:
    """The fix that trains all folders in kohya's layout, each with its own repeats; None with fewer than two of them.

    The first folder with images of the subject becomes the dataset; the words of the others are the captions of their images
    without one. Folders of whole classes become regularisation images.
    """
    layout = purposes.layout
    first = next((folder for folder in sorted(layout) if folder not in purposes.class_folders), None)
    if first is None or len(layout) < 2:
        return None
    others = tuple(_entry(folder, purposes) for folder in sorted(layout) if folder != first)
    changes = {
        "dataset.path": str(first),
        "dataset.repeats": layout[first].number,
        "dataset.subsets": others,
    }
    return Fix(f"Train its {len(layout)} folders, each with its own repeats", changes)


def entries(root: Path) -> tuple[dict[str, Any], ...]:
    """The entries of `dataset.subsets` for all folders in kohya's layout inside a folder.

    Raises:
        DatasetError: the folder cannot be listed.
    """
    listed = listing.list_files(root, follows_links=False)
    images = [file for file in listed.files if file.suffix.lower() in listing.IMAGE_ENDINGS]
    found = listing.purposes(images, root, lambda _: False)
    return tuple(_entry(folder, found) for folder in sorted(found.layout))


def _entry(folder: Path, purposes: Purposes) -> dict[str, Any]:
    """The entry of `dataset.subsets` for a folder in kohya's layout."""
    said = purposes.layout[folder]
    entry: dict[str, Any] = {"path": str(folder), "repeats": said.number}
    if folder in purposes.class_folders:
        entry["kind"] = "regularisation"
    return {**entry, "caption": said.word} if said.word else entry


def trained(purposes: Purposes, rules: DatasetRules, root: Path) -> Iterator[Problem]:
    """The Problem that lists the sub-folders whose images are trained too, so that the user notices them."""
    if rules.recursive and purposes.trained_folders:
        shown = _shown(purposes.trained_folders, root)
        more = f" and {len(shown) - MOST_NAMED} more" if len(shown) > MOST_NAMED else ""
        message = f"Images in sub-folders are trained too: {', '.join(shown[:MOST_NAMED])}{more}."
        yield Problem("dataset.path", "info", message)


def _shown(found: Mapping[Path, int], root: Path) -> list[str]:
    return [f"{name(folder, root)} ({count})" for folder, count in found.items()]


def counted(count: int) -> str:
    """A number of images in words."""
    return f"{count} {'image' if count == 1 else 'images'}"


def name(path: Path, root: Path) -> str:
    """The printable path inside a dataset, cut if it is long."""
    return printable(path.relative_to(root).as_posix(), LONGEST_NAME)

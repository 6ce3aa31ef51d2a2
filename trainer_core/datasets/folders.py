"""Recognises the purpose of a sub-folder by its name: masks, regularisation images, or repeats in kohya's layout."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePath

MASK_FOLDERS = frozenset({"mask", "masks", "masklabel", "masklabels", "mask_images", "alpha_masks"})
MASK_ENDINGS = ("-masklabel", "_masklabel", ".masklabel", "-mask", "_mask", ".mask")
REGULARISATION_FOLDERS = frozenset({
    "reg", "regs", "reg_data", "reg_images", "regularisation", "regularization", "regularisation_images",
    "regularization_images", "class_images", "classreg",
})  # fmt: skip
CONDITION_FOLDERS = frozenset({
    "conditioning", "conditioning_data", "conditioning_images", "control", "control_images", "controlnet", "depth",
    "canny", "openpose", "lineart", "normal_maps", "segmentation",
})  # fmt: skip
CLASS_WORDS = frozenset({
    "1boy", "1girl", "anime", "animal", "art", "artstyle", "boy", "building", "car", "cat", "character", "child", "clothes",
    "concept", "dog", "face", "female", "girl", "house", "human", "male", "man", "object", "person", "portrait", "style",
    "toy", "vehicle", "woman",
})  # fmt: skip
"""Words for a whole class of subjects. A folder of such images (regularisation) preserves what the model knows of the class."""
SAMPLE = re.compile(r"_e?\d{6,}_\d{2}_\d{14}(?:_-?\d+)?$")
"""The end of the name of a sample that sd-scripts made. Source: library/train_util.py, sample_image_inference."""

# A leading zero is the user's own numbering, as in 01_day.
_REPEATS = re.compile(r"(?P<number>[1-9]\d*)_(?P<word>.*)", re.DOTALL)
_MOST_REPEATS = 1000


@dataclass(frozen=True)
class Repeats:
    """The repeats and word in a folder name of kohya's layout: 10_elena woman means ten repeats of "elena woman"."""

    number: int
    word: str


def repeats(name: str) -> Repeats | None:
    """The repeats and word in the name of a folder; None if its name does not have that form.

    Source: sd-scripts, library/config_util.py, generate_dreambooth_subsets_config_by_subdirs, which ignores a folder with
    less than one repeat.
    """
    found = _REPEATS.fullmatch(name)
    if found is None or int(found["number"][:9]) > _MOST_REPEATS:
        return None
    return Repeats(int(found["number"]), found["word"].strip())


def folder_key(place: PurePath) -> str:
    """The key of the defect for images in this folder (a path inside the dataset); "" if its name has no special meaning."""
    names = [part.casefold().replace(" ", "_") for part in place.parts]
    if any(name in REGULARISATION_FOLDERS for name in names):
        return "regularisation"
    if any(name in MASK_FOLDERS or name.endswith(("_masks", "-masks", *MASK_ENDINGS)) for name in names):
        return "mask"
    return "condition" if any(name in CONDITION_FOLDERS for name in names) else ""


def is_class(word: str) -> bool:
    """Whether a word names a whole class, such as woman."""
    return word.casefold() in CLASS_WORDS

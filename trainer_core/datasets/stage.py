"""Builds the run's own dataset folder: links to the images, and caption files with exactly the text that was shown.

Engines write caches, indexes and sidecars into the folder they read images from. With this folder they write into the
run folder, and the user's dataset is only read.
"""

from __future__ import annotations

import os
import re
import shutil
import unicodedata
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image, ImageOps

from trainer_core import places
from trainer_core.datasets import colours, images
from trainer_core.datasets.masks import write as write_mask
from trainer_core.datasets.scan import Dataset, DatasetImage
from trainer_core.errors import DatasetError
from trainer_core.text import printable

# Engines append sizes and states to the stem of an image to name their caches; file names have at most 255 bytes.
LONGEST_STEM_BYTES = 170
JPEG_QUALITY = 95
ALWAYS_WRITTEN = ".txt"
"""In some engines the extension of caption files is a setting; others read only this one."""


@dataclass(frozen=True)
class Staged:
    """How many images of a staged folder are links, plain copies, and corrected copies (turned upright, 8 bit, sRGB).

    `captions` maps file names to captions.
    """

    links: int = 0
    copies: int = 0
    corrected: int = 0
    captions: Mapping[str, str] = field(default_factory=dict)


def stage(
    dataset: Dataset, folder: Path, trigger: str = "", masks: Path | None = None, controls: Sequence[Path] = ()
) -> Staged:
    """Fills a new or empty folder with the images of a dataset and their captions, and returns what was done.

    An image without a caption gets the trigger word. `masks` is a new folder for a mask of each image, under the same name,
    and `controls` are those for its control images.

    Names are numbered, so that no two images share a stem and no stem
    is the start of another: sd-scripts would treat such files as caches of the other image.

    Raises:
        DatasetError: the folder is not empty or is inside the dataset, or an image is missing or cannot be read.
        OSError: the folder cannot be written.
    """
    folder = Path(folder)
    if places.real(folder).is_relative_to(places.real(dataset.root)):
        raise DatasetError("A run cannot be staged inside the dataset: Easel never writes into that folder.")
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise DatasetError(f"{printable(str(folder))} is not empty, so no dataset can be staged there.")
    stems = _stems(dataset)
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        done = list(pool.map(lambda image, stem: _place(image, folder / stem), dataset.images, stems))
    texts = [image.caption or trigger.strip() for image in dataset.images]
    for stem, text in zip(stems, texts, strict=True):
        for ending in {dataset.caption_extension, ALWAYS_WRITTEN}:
            (folder / f"{stem}{ending}").write_text(f"{text}\n", encoding="utf-8", newline="\n")
    if masks is not None:
        masks.mkdir(parents=True)
        for image, (_, name) in zip(dataset.images, done, strict=True):
            write_mask(image, dataset.masks.get(image.name), masks / name)
    for target, found in zip(controls, dataset.controls, strict=True):
        target.mkdir(parents=True)
        for image, (_, name) in zip(dataset.images, done, strict=True):
            _place_control(found.get(image.name), image, target / name)
    how = [way for way, _ in done]
    captions = {name: text for (_, name), text in zip(done, texts, strict=True)}
    return Staged(how.count("link"), how.count("copy"), how.count("corrected"), captions)


def expected_captions(dataset: Dataset, trigger: str = "") -> dict[str, str]:
    """The captions by staged file name, provided that no image has to be corrected."""
    names = [f"{stem}{image.path.suffix.lower()}" for stem, image in zip(_stems(dataset), dataset.images, strict=True)]
    return {name: image.caption or trigger.strip() for name, image in zip(names, dataset.images, strict=True)}


def _stems(dataset: Dataset) -> list[str]:
    digits = len(str(len(dataset.images)))
    return [f"{number:0{digits}}-{_safe(image.path.stem)}" for number, image in enumerate(dataset.images, 1)]


def _place(image: DatasetImage, target: Path, name: str = "") -> tuple[str, str]:
    """Puts one image at `target` plus its extension, or beside it under a name; returns how ("link", "copy" or "corrected") and the file name."""
    # Path.resolve raises for a link that leads to itself, and to open a pipe would wait for somebody who writes into it.
    source = Path(os.path.realpath(image.path))
    if not source.is_file():
        raise DatasetError(
            f"The image {image.name} was removed after the folder was checked.", "Check the folder again."
        )
    if image.orientation != images.UPRIGHT or image.is_deep_gray or image.has_profile:
        return "corrected", _correct(image, source, target, name)
    # Appended, not replaced: a stem may contain dots.
    target = target.with_name(name or target.name + image.path.suffix.lower())
    try:
        target.symlink_to(source)
    except OSError:
        shutil.copyfile(source, target)
        return "copy", target.name
    return "link", target.name


def _place_control(control: DatasetImage | None, image: DatasetImage, target: Path) -> None:
    """Puts the control image of an image at `target`, which has the name of the image: engines look for that, and read by content."""
    if control is None:
        raise DatasetError(f"The image {image.name} has no control image.", "Check the folder again.")
    _place(control, target, target.name)


def _correct(image: DatasetImage, source: Path, target: Path, name: str = "") -> str:
    """Writes an upright 8-bit copy in sRGB and returns its file name: JPEG stays JPEG, everything else becomes PNG."""
    try:
        with Image.open(source, formats=images.formats()) as opened:
            is_jpeg = opened.format in ("JPEG", "MPO")
            profile = opened.info.get("icc_profile")
            upright = ImageOps.exif_transpose(opened)
            if images.is_deep_gray(upright):
                upright = eight_bit(upright)
            if image.has_profile and profile:
                upright, profile = colours.to_srgb(upright, profile), None
    except (Image.DecompressionBombError, *images.DECODER_ERRORS) as error:
        raise DatasetError(f"The image {image.name} can no longer be read.", "Check the folder again.") from error
    if is_jpeg:
        path = target.with_name(name or f"{target.name}.jpg")
        upright.save(path, "JPEG", quality=JPEG_QUALITY, subsampling=0, icc_profile=profile)
        return path.name
    path = target.with_name(name or f"{target.name}.png")
    upright.save(path, "PNG", compress_level=1, icc_profile=profile)
    return path.name


def eight_bit(image: Image.Image) -> Image.Image:
    """A 16-bit gray image as 8-bit gray; 65535 becomes 255."""
    import numpy as np

    values = np.asarray(image).astype(np.int64)
    return Image.fromarray((values.clip(0, 65535) // 257).astype(np.uint8))


def _safe(stem: str) -> str:
    """The stem as a file name that every system and engine can write, short enough for what engines append."""
    known = unicodedata.normalize("NFC", stem.encode("utf-8", "replace").decode())
    plain = re.sub(r"[^\w .()+-]+", "_", known).strip(" .") or "image"
    return plain.encode()[:LONGEST_STEM_BYTES].decode("utf-8", "ignore").rstrip(" .")

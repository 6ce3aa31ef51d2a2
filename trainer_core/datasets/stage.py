"""The run's own folder: links to the pictures and caption files with exactly the text that was shown.

Engines write caches, indexes and sidecars beside the pictures they read; here they land in the run folder, and the
user's folder is only read.
"""

from __future__ import annotations

import os
import re
import shutil
import unicodedata
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image, ImageOps

from trainer_core.datasets import pictures
from trainer_core.datasets.scan import Dataset, Picture
from trainer_core.errors import DatasetError
from trainer_core.text import printable

# Engines append sizes and states to the stem of a picture for their caches; file systems stop at 255 bytes.
LONGEST_STEM_BYTES = 170
JPEG_QUALITY = 95
ALWAYS_WRITTEN = ".txt"
"""Some engines let the ending of caption files be chosen, others read this one only."""


@dataclass(frozen=True)
class Staged:
    """How many pictures of a staged folder are links, plain copies, and corrected copies (turned upright, 8 bit).

    `captions` are their captions by file name.
    """

    links: int = 0
    copies: int = 0
    corrected: int = 0
    captions: Mapping[str, str] = field(default_factory=dict)


def stage(dataset: Dataset, folder: Path, trigger: str = "") -> Staged:
    """Fills a new or empty folder with the pictures of a dataset and their captions, and says what was done.

    A picture without a caption gets the trigger. Names are numbered: two pictures never share a stem, and no stem is
    the start of another, which sd-scripts would take for a cache of it.

    Raises:
        DatasetError: the folder is not empty or lies in the dataset, or a picture has gone or cannot be read.
        OSError: the folder cannot be written.
    """
    folder = Path(folder)
    if folder.resolve().is_relative_to(dataset.root.resolve()):
        raise DatasetError("A run cannot be staged inside the dataset: its folder is never written to.")
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise DatasetError(f"{printable(str(folder))} is not empty, so no dataset can be staged there.")
    stems = _stems(dataset)
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        done = list(pool.map(lambda picture, stem: _place(picture, folder / stem), dataset.pictures, stems))
    texts = [picture.caption or trigger.strip() for picture in dataset.pictures]
    for stem, text in zip(stems, texts, strict=True):
        for ending in {dataset.caption_extension, ALWAYS_WRITTEN}:
            (folder / f"{stem}{ending}").write_text(f"{text}\n", encoding="utf-8", newline="\n")
    how = [way for way, _ in done]
    captions = {name: text for (_, name), text in zip(done, texts, strict=True)}
    return Staged(how.count("link"), how.count("copy"), how.count("corrected"), captions)


def expected_captions(dataset: Dataset, trigger: str = "") -> dict[str, str]:
    """The captions by the names that pictures will be staged under, if none has to be corrected."""
    names = [
        f"{stem}{picture.path.suffix.lower()}" for stem, picture in zip(_stems(dataset), dataset.pictures, strict=True)
    ]
    return {name: picture.caption or trigger.strip() for name, picture in zip(names, dataset.pictures, strict=True)}


def _stems(dataset: Dataset) -> list[str]:
    digits = len(str(len(dataset.pictures)))
    return [f"{number:0{digits}}-{_safe(picture.path.stem)}" for number, picture in enumerate(dataset.pictures, 1)]


def _place(picture: Picture, target: Path) -> tuple[str, str]:
    """Puts one picture at a path without ending, and says how ("link", "copy" or "corrected"), and its name."""
    source = picture.path.resolve()
    if picture.orientation != pictures.UPRIGHT or picture.is_deep_gray:
        return "corrected", _correct(picture, source, target)
    # Appended, not replaced: a dot inside the stem is no ending.
    target = target.with_name(target.name + picture.path.suffix.lower())
    if not source.is_file():
        raise DatasetError(f"The picture {picture.name} has gone since the folder was looked at.", "Start again.")
    try:
        target.symlink_to(source)
    except OSError:
        shutil.copyfile(source, target)
        return "copy", target.name
    return "link", target.name


def _correct(picture: Picture, source: Path, target: Path) -> str:
    """Writes an upright 8-bit copy and gives its name: JPEG stays JPEG, everything else becomes PNG."""
    try:
        with Image.open(source, formats=pictures.formats()) as image:
            is_jpeg = image.format in ("JPEG", "MPO")
            profile = image.info.get("icc_profile")
            upright = ImageOps.exif_transpose(image)
            if pictures.is_deep_gray(upright):
                upright = _eight_bit(upright)
    except (Image.DecompressionBombError, *pictures.DECODER_ERRORS) as error:
        raise DatasetError(f"The picture {picture.name} cannot be read any more.", "Check the folder again.") from error
    if is_jpeg:
        path = target.with_name(f"{target.name}.jpg")
        upright.save(path, "JPEG", quality=JPEG_QUALITY, subsampling=0, icc_profile=profile)
        return path.name
    path = target.with_name(f"{target.name}.png")
    upright.save(path, "PNG", compress_level=1, icc_profile=profile)
    return path.name


def _eight_bit(image: Image.Image) -> Image.Image:
    """A 16-bit gray picture as 8-bit gray; 65535 becomes 255."""
    import numpy as np

    values = np.asarray(image).astype(np.int64)
    return Image.fromarray((values.clip(0, 65535) // 257).astype(np.uint8))


def _safe(stem: str) -> str:
    """A stem as a file name that every system and engine can write, short enough for an engine's additions."""
    known = unicodedata.normalize("NFC", stem.encode("utf-8", "replace").decode())
    plain = re.sub(r"[^\w .()+-]+", "_", known).strip(" .") or "picture"
    return plain.encode()[:LONGEST_STEM_BYTES].decode("utf-8", "ignore").rstrip(" .")

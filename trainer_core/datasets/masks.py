"""The masks of a dataset: files in a folder of their own, each with the name of its image. White is trained, black is not."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageOps

from trainer_core import places
from trainer_core.datasets import defects, images
from trainer_core.datasets.folders import MASK_ENDINGS
from trainer_core.datasets.scan import Dataset, DatasetImage
from trainer_core.errors import DatasetError
from trainer_core.problems import Problem
from trainer_core.text import printable

NAMED = 3
ENDINGS = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"})


@dataclass(frozen=True)
class Masks:
    """The mask of each image that has one, by the name of the image, and what is wrong with them."""

    files: Mapping[str, Path]
    problems: tuple[Problem, ...] = ()


def find(dataset: Dataset, folder: Path, setting: str) -> Masks:
    """The masks of a dataset in a folder. A mask has the name of its image, also with "-masklabel" or "_mask" after it.

    Raises:
        DatasetError: there is no such folder, it cannot be read, or it has no mask of these images.
    """
    if not places.is_folder(folder):
        raise DatasetError(f"The folder of masks {printable(str(folder))} does not exist.", "Choose another, or none.")
    try:
        there = {_key(_stem(path)): path for path in _files(folder)}
    except OSError as error:
        raise DatasetError(
            f"The folder of masks cannot be read: {error.strerror}.", "Check its permissions."
        ) from error
    found = {
        image.name: folder / mask
        for image in dataset.images
        if (mask := there.get(_key(image.path.relative_to(dataset.root).with_suffix("")))) is not None
    }
    if not found:
        message = f"The folder of masks {printable(str(folder))} has no mask with the name of an image."
        raise DatasetError(message, "Give each mask the name of its image.")
    return Masks(found, tuple(_problems(dataset, found, setting)))


def _files(folder: Path) -> list[Path]:
    """The masks in a folder and its sub-folders, as paths inside it."""
    every = (path.relative_to(folder) for path in sorted(folder.rglob("*")) if path.suffix.lower() in ENDINGS)
    return [path for path in every if not path.name.startswith(".")]


def _stem(path: Path) -> Path:
    stem = path.stem
    ending = next((each for each in MASK_ENDINGS if stem.casefold().endswith(each)), "")
    return path.with_name(stem[: len(stem) - len(ending)] or stem)


def _key(path: Path) -> str:
    return unicodedata.normalize("NFC", path.as_posix()).casefold()


def _problems(dataset: Dataset, found: Mapping[str, Path], setting: str) -> Iterator[Problem]:
    sizes = {image.name: (image.width, image.height) for image in dataset.images}
    seen = {name: images.inspect(path, quick=True) for name, path in found.items()}
    damaged = [name for name, info in seen.items() if defects.stops(info.defects) or not info.width]
    if damaged:
        yield Problem(setting, "error", f"The masks of {_named(damaged)} cannot be read. Make them again.")
    wrong = [name for name, info in seen.items() if name not in damaged and (info.width, info.height) != sizes[name]]
    if wrong:
        # Source: sd-scripts, library/train_util.py, ControlNetDataset: it stops at another size.
        message = f"The masks of {_named(wrong)} do not have the size of their image, measured upright."
        yield Problem(setting, "error", f"{message} Make them again from the images.")
    without = [name for name in sizes if name not in found]
    if without:
        yield Problem(setting, "info", f"There is no mask for {_named(without)}: these images are trained whole.")


def _named(names: list[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"{len(names)} {'image' if len(names) == 1 else 'images'} ({', '.join(names[:NAMED])}{more})"


def write(image: DatasetImage, mask: Path | None, target: Path) -> None:
    """Writes the mask of an image as an RGB image with the size of the image; without a mask all of it is white.

    The content is a PNG, whatever the ending of `target`: an engine looks for the name of the image, and reads by content.

    Raises:
        DatasetError: the mask can no longer be read, or has another size.
    """
    size = (image.width, image.height)
    if mask is not None and not mask.is_file():
        raise DatasetError(f"The mask of {image.name} can no longer be read.", "Check the masks again.")
    try:
        with Image.open(mask, formats=images.formats()) if mask else Image.new("L", size, 255) as opened:
            gray = ImageOps.exif_transpose(opened).convert("RGBA")
            # A transparent part of a mask is not trained.
            flat = Image.alpha_composite(Image.new("RGBA", gray.size, "black"), gray).convert("L")
    except (OSError, Image.DecompressionBombError, *images.DECODER_ERRORS) as error:
        raise DatasetError(f"The mask of {image.name} can no longer be read.", "Check the masks again.") from error
    if flat.size != size:
        raise DatasetError(f"The mask of {image.name} no longer has the size of the image.", "Check the masks again.")
    flat.convert("RGB").save(target, "PNG", compress_level=1)

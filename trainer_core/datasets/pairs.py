"""The control images of a dataset: what an edit model is shown for each image. They are in folders of their own, under the same names."""

from __future__ import annotations

import dataclasses
import os
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from trainer_core import places
from trainer_core.datasets import defects, images, listing
from trainer_core.datasets.scan import Dataset, DatasetImage
from trainer_core.errors import DatasetError
from trainer_core.problems import Fix, Problem
from trainer_core.text import printable

NAMED = 3
ENDINGS = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".avif"})
"""In a run a control image has the name of its image, so that engines read it whatever its own ending is."""
ONLY = "dataset.only_pairs"


@dataclass(frozen=True)
class Matched:
    """Which control belongs to each image. `same` are the controls of one image of which there should be one, `unused` those of none."""

    of: Mapping[PurePath, PurePath]
    same: tuple[tuple[PurePath, ...], ...] = ()
    unused: tuple[PurePath, ...] = ()


@dataclass(frozen=True)
class _Controls:
    """The readable control images of one folder by the name of their image, and what is wrong with the others.

    `is_read`: whether the folder is there and has images of the dataset; else nothing more is said of its images.
    """

    files: Mapping[str, DatasetImage] = field(default_factory=dict)
    unused: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()
    is_read: bool = True


def match(targets: Iterable[PurePath], controls: Iterable[PurePath]) -> Matched:
    """Matches paths inside two folders by their names without the ending; the folders below are a part of the name.

    Case and Unicode form make no difference, because file systems differ in both, unless images differ only in them.
    """
    by_key: defaultdict[str, list[PurePath]] = defaultdict(list)
    for each in sorted(controls):
        by_key[_key(each)].append(each)
    targets = list(targets)
    wanted, names = {_key(each) for each in targets}, {each.with_suffix("") for each in targets}
    found: dict[PurePath, tuple[PurePath, ...]] = {}
    for target in targets:
        # Not what has exactly the name of another image.
        there, own = by_key.get(_key(target), ()), target.with_suffix("")
        found[target] = tuple(
            each for each in there if each.with_suffix("") == own or each.with_suffix("") not in names
        )
    return Matched(
        {target: own[0] for target, own in found.items() if own},
        tuple(dict.fromkeys(own for own in found.values() if len(own) > 1)),
        tuple(each for key, left in by_key.items() if key not in wanted for each in left),
    )


def _key(path: PurePath) -> str:
    return unicodedata.normalize("NFC", path.with_suffix("").as_posix()).casefold()


def paired(dataset: Dataset, folders: Mapping[str, str], *, only: bool) -> Dataset:
    """The dataset with its control images, of the folders by their settings, and with what is wrong with them.

    `only` leaves out the images that lack one; else that is a Problem.
    """
    read = [_of_folder(dataset, path, setting) for setting, path in folders.items()]
    known = [each.files for each in read if each.is_read]
    lacking = {image.name: None for image in dataset.images if any(image.name not in files for files in known)}
    problems = [problem for each in read for problem in each.problems]
    problems += _lacking(lacking, only=only) if lacking else ()
    kept = tuple(image for image in dataset.images if not (only and image.name in lacking))
    return dataclasses.replace(
        dataset,
        images=kept,
        controls=tuple(each.files for each in read),
        unpaired=tuple(lacking),
        unused=tuple(name for each in read for name in each.unused),
        problems=(*dataset.problems, *problems),
    )


def _lacking(names: Collection[str], *, only: bool) -> Iterator[Problem]:
    setting = "dataset.controls"
    if only:
        yield Problem(
            setting, "warning", f"No control image that can be read: {named(names)}. Left out of the training."
        )
        return
    message = f"No control image that can be read: {named(names)}. Each needs one with its name."
    yield Problem(setting, "error", message, Fix("Leave these images out", {ONLY: True}))


def _of_folder(dataset: Dataset, path: str, setting: str) -> _Controls:
    """What one folder of control images has for a dataset."""
    folder = places.typed(places.unquoted(path))
    try:
        files = _files(folder, dataset.root)
    except DatasetError as error:
        return _refused(setting, str(error))
    targets: dict[PurePath, str] = {image.path.relative_to(dataset.root): image.name for image in dataset.images}
    found = match(targets, files)
    if targets and not found.of:
        message = f"The folder {printable(str(folder), 120)} has no image with the name of an image of the dataset."
        advice = "Give each control image the name of its image."
        return _refused(setting, f"{message} {advice}")
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        infos = pool.map(lambda each: images.inspect(folder / each, quick=True), found.of.values())
        seen = {targets[target]: (each, info) for (target, each), info in zip(found.of.items(), infos, strict=True)}
    good = {
        name: _image(folder, each, info)
        for name, (each, info) in seen.items()
        if info.width and not defects.stops(info.defects)
    }
    unused = tuple(_shown(each) for each in found.unused)
    bad = [_shown(each) for name, (each, _) in seen.items() if name not in good]
    return _Controls(good, unused, tuple(_problems(setting, found, bad, unused)))


def _refused(setting: str, message: str) -> _Controls:
    problem = Problem(setting, "error", message, Fix("Use none", {setting: ""}))
    return _Controls(problems=(problem,), is_read=False)


def _files(folder: Path, root: Path) -> list[PurePath]:
    """The images below a folder, as paths inside it, without those of the dataset where that is one of the folders below.

    Raises:
        DatasetError: there is no such folder, it cannot be read, or it is the dataset itself.
    """
    if not places.is_folder(folder):
        raise DatasetError(f"The folder of control images {printable(str(folder))} does not exist.", "Choose another.")
    if places.real(folder) == places.real(root):
        message = (
            "This is the folder of the images that are trained, so the model would be shown what it has to generate."
        )
        raise DatasetError(message, "Choose the folder with the images before the edit.")
    there = listing.list_files(folder, follows_links=True).files
    kept = (each for each in there if each.suffix.lower() in ENDINGS and not each.name.startswith("."))
    inner = root.absolute()
    is_inside = inner.is_relative_to(folder.absolute())
    return [each.relative_to(folder) for each in kept if not (is_inside and each.absolute().is_relative_to(inner))]


def _image(folder: Path, inside: PurePath, info: images.ImageInfo) -> DatasetImage:
    return DatasetImage(
        _shown(inside),
        info.width,
        info.height,
        None,
        None,
        folder / inside,
        info.orientation,
        "deep_gray" in info.defects,
        "colour_profile" in info.defects,
    )


def _problems(setting: str, found: Matched, bad: list[str], unused: tuple[str, ...]) -> Iterator[Problem]:
    if found.same:
        names = " and ".join(_shown(each) for each in found.same[0])
        more = f", and {len(found.same) - 1} more such names" if len(found.same) > 1 else ""
        message = f"Several control images have the name of one image: {names}{more}. Keep one of each."
        yield Problem(setting, "error", message)
    if bad:
        yield Problem(setting, "warning", f"Control images that cannot be read: {named(bad)}. Make them again.")
    if unused:
        message = f"Control images without an image of their name: {named(unused)}. They are not used."
        yield Problem(setting, "warning", message)


def named(names: Collection[str]) -> str:
    """How many images there are, with the names of the first ones."""
    first = ", ".join(list(names)[:NAMED])
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"{len(names)} {'image' if len(names) == 1 else 'images'} ({first}{more})"


def _shown(path: PurePath) -> str:
    return printable(path.as_posix(), 120)

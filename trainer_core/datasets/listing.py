"""Lists the files of a dataset folder, and determines which of them an engine reads as images, and their purpose."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from trainer_core import places
from trainer_core.datasets import folders, images
from trainer_core.datasets.folders import Repeats
from trainer_core.datasets.rules import DatasetRules
from trainer_core.errors import DatasetError
from trainer_core.text import printable

# Extensions of images, videos and archives, which are reported without opening the file.
IMAGE_ENDINGS = frozenset({
    ".png", ".jpg", ".jpeg", ".jfif", ".jpe", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif", ".heic", ".heif", ".jxl",
    ".psd", ".svg", ".ico", ".tga", ".exr", ".raw", ".dng", ".mp4", ".webm", ".mov", ".mkv", ".avi", ".zip", ".rar", ".7z",
    ".tar", ".gz",
})  # fmt: skip
# Extensions of files that often accompany images; a file with any other extension is reported if it is an image.
OTHER_ENDINGS = frozenset({
    ".txt", ".caption", ".tags", ".cap", ".json", ".jsonl", ".csv", ".parquet", ".npz", ".safetensors", ".pt", ".toml",
    ".yaml", ".yml", ".xmp", ".md", ".log", ".py", ".db", ".ini", ".xml", ".html",
})  # fmt: skip
SKIPPED_FOLDERS = frozenset({"__pycache__", "__MACOSX", "@eaDir", "#recycle", "$RECYCLE.BIN"})
"""Folders of other programs; @eaDir contains the small preview images of a Synology NAS."""
MOST_ENTRIES = 200_000


@dataclass(frozen=True)
class Listing:
    """Every file below a folder, and folders named like images; `linked` are links to folders that were not entered."""

    files: tuple[Path, ...]
    linked: tuple[Path, ...] = ()


def list_files(root: Path, *, follows_links: bool) -> Listing:
    """What is in a folder, sorted by path; hidden folders are not entered, and no folder is entered twice.

    Raises:
        DatasetError: there is no such folder, it cannot be listed, or it contains too many files.
    """
    if not places.is_folder(root):
        problem = "is not a folder" if os.path.lexists(root) else "does not exist"
        raise DatasetError(f"The dataset {printable(str(root))} {problem}.", "Choose the folder that holds the images.")
    found: list[Path] = []
    linked: list[Path] = []
    entered: set[str] = set()

    def failed(error: OSError) -> None:
        if Path(error.filename) == root:
            raise DatasetError(
                f"The dataset folder cannot be read: {error.strerror}.", "Check its permissions."
            ) from error

    for folder, inner, names in os.walk(root, onerror=failed, followlinks=follows_links):
        real = os.path.realpath(folder)
        if real in entered:
            inner.clear()
            continue
        entered.add(real)
        place = Path(folder)
        found += [place / name for name in inner if ending(name) in IMAGE_ENDINGS]
        inner[:] = sorted(name for name in inner if not name.startswith(".") and name not in SKIPPED_FOLDERS)
        if not follows_links:
            linked += [place / name for name in inner if (place / name).is_symlink() and _has_images(place / name)]
        found += [place / name for name in names]
        if len(found) > MOST_ENTRIES:
            raise DatasetError(
                f"The folder contains more than {MOST_ENTRIES} files.", "Choose the folder with the images."
            )
    return Listing(tuple(sorted(found)), tuple(linked))


def chosen(listed: Listing, root: Path, only: Collection[str]) -> Listing:
    """What is listed, with only these images of all files that may be images; caption files stay."""
    kept = {root / name for name in only}
    return Listing(tuple(path for path in listed.files if path in kept or ending(path.name) in OTHER_ENDINGS))


def outside(listed: Listing, root: Path, apart: Collection[Path]) -> Listing:
    """What is listed of a folder, without what is in these folders below it."""
    folders_apart = [folder.absolute() for folder in apart if root.absolute() in folder.absolute().parents]
    if not folders_apart:
        return listed
    kept = (path for path in listed.files if not any(path.absolute().is_relative_to(each) for each in folders_apart))
    return Listing(tuple(kept), tuple(path for path in listed.linked if path.absolute() not in folders_apart))


def unseen_key(path: Path, rules: DatasetRules) -> str | None:
    """The key of the defect because of which an engine does not read a file as an image; "" if the engine reads it.

    None for a file that is not an image. This ignores whether the file is in a sub-folder.
    """
    suffix = ending(path.name)
    is_image = suffix in rules.extensions
    if not is_image and suffix not in IMAGE_ENDINGS:
        if suffix in OTHER_ENDINGS or not images.starts_like_image(path):
            return None
        return "ending" if suffix else "no_ending"
    if path.name.startswith("."):
        return "hidden"
    if not is_image:
        return "ending"
    is_plain = path.suffix in (suffix, suffix.upper())
    return "" if rules.any_case or is_plain else "case"


@dataclass(frozen=True)
class Purposes:
    """The purpose of images in a dataset that are not there to be trained, and the folders of the others.

    `keys` are the keys of defects by path. `repeats` are those in the folder name of the trained images, in kohya's layout.
    `trained_folders` are the sub-folders of the trained images, with their numbers of images; `other_folders` are those
    that could be chosen as a dataset. `layout` are the folders in kohya's layout, with what their names say; of them
    `class_folders` have regularisation images.
    """

    keys: Mapping[Path, str] = field(default_factory=dict)
    repeats: Repeats | None = None
    trained_folders: Mapping[Path, int] = field(default_factory=dict)
    other_folders: Mapping[Path, int] = field(default_factory=dict)
    layout: Mapping[Path, Repeats] = field(default_factory=dict)
    class_folders: frozenset[Path] = frozenset()


def purposes(paths: Sequence[Path], root: Path, has_caption: Callable[[Path], bool]) -> Purposes:
    """The purpose of images, from the names of files and folders. Images with the name of a mask are opened to be sure."""
    stems = _stems(paths)
    keys = {path: key for path in paths if (key := _own_key(path, root, stems))}
    rest = [path for path in paths if path not in keys]
    groups: defaultdict[Path, list[Path]] = defaultdict(list)
    for path in rest:
        groups[_subset(path, root)].append(path)
    said = {folder: folders.repeats(folder.name) for folder in groups}
    layout = {folder: repeats for folder, repeats in said.items() if folder != root and repeats}
    of_class = {folder for folder, repeats in layout.items() if folders.is_class(repeats.word) and len(groups) > 1}
    keys |= {path: "regularisation" for folder in of_class for path in groups[folder]}
    subsets = {folder: found for folder, found in groups.items() if found[0] not in keys}
    if _conflict({folder: said[folder] for folder in subsets}, subsets, has_caption):
        keys |= {
            path: "subset" for folder, found in subsets.items() if folder != root and said[folder] for path in found
        }
    trained = [path for path in rest if path not in keys]
    choices = [path for path in rest if keys.get(path, "subset") == "subset"]
    asked = {said[_subset(path, root)] for path in trained}
    return Purposes(keys, _agreed(asked), _counts(trained, root), _counts(choices, root), layout, frozenset(of_class))


def _counts(paths: Sequence[Path], root: Path) -> Mapping[Path, int]:
    """The number of these images in each sub-folder."""
    return Counter(path.parent for path in paths if path.parent != root)


def _agreed(asked: Collection[Repeats | None]) -> Repeats | None:
    """The number of repeats of all folders, and their word if it is the same; None if the repeats differ."""
    given = [repeats for repeats in asked if repeats is not None]
    if not given or len(given) < len(asked) or len({repeats.number for repeats in given}) > 1:
        return None
    return given[0] if len(given) == 1 else Repeats(given[0].number, "")


def _own_key(path: Path, root: Path, stems: Mapping[str, set[Path]]) -> str:
    """The key of a file by its own name and that of its folders."""
    if folders.SAMPLE.search(path.stem):
        return "sample"
    key = folders.folder_key(path.relative_to(root).parent)
    twin = next((path.stem.removesuffix(end) for end in folders.MASK_ENDINGS if path.stem.endswith(end)), None)
    if key == "mask" or (twin is not None and path.parent in stems.get(twin, ())):
        return "mask_left_out" if images.is_gray(path) else "mask"
    if key == "condition":
        return key if stems.get(path.stem, set()) - {path.parent} else ""
    return key


def _stems(paths: Sequence[Path]) -> Mapping[str, set[Path]]:
    """The folders in which there is an image with a stem."""
    found: defaultdict[str, set[Path]] = defaultdict(set)
    for path in paths:
        found[path.stem].add(path.parent)
    return found


def _subset(path: Path, root: Path) -> Path:
    """The innermost folder in kohya's layout that contains an image; else the dataset itself."""
    inside = path.relative_to(root).parents
    return next((root / place for place in inside if place.name and folders.repeats(place.name)), root)


def _conflict(
    said: Mapping[Path, Repeats | None], found: Mapping[Path, Sequence[Path]], has_caption: Callable[[Path], bool]
) -> bool:
    """Whether folder names set different repeats, or different words to use as captions."""
    if len({repeats.number if repeats else 1 for repeats in said.values()}) > 1:
        return True
    differ = len({repeats.word if repeats else "" for repeats in said.values()}) > 1
    return differ and any(not has_caption(path) for paths in found.values() for path in paths)


def _has_images(folder: Path) -> bool:
    try:
        with os.scandir(folder) as entries:
            return any(ending(entry.name) in IMAGE_ENDINGS for entry in entries)
    except OSError:
        return False


def ending(name: str) -> str:
    """The extension of a file name in lower case, with its dot."""
    return PurePath(name).suffix.lower()

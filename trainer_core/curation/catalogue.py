"""The images of a dataset as a list to look through: size, caption, defects, scores and choice of each. Decodes no image."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from trainer_core.curation import gathering, selections
from trainer_core.datasets import captions, images, scan
from trainer_core.text import printable

if TYPE_CHECKING:
    from trainer_core.curation.selections import Choice, Selections
    from trainer_core.datasets.rules import DatasetRules
    from trainer_core.datasets.scan import Dataset, DatasetImage

LONGEST_CAPTION = captions.LARGEST_CAPTION_BYTES


@dataclass(frozen=True)
class Entry:
    """One image of a dataset.

    `path` and `caption_path` are relative to the dataset, with "/"; `caption_path` is None without a caption file.
    `width` and `height` are upright, in pixels, 0 for a file that cannot be read. `time` is when the file was changed, in
    seconds since 1970. `defects` are keys of `datasets.defects.DEFECTS`. `is_trained`: whether the engine reads it.
    `scores` are the measures of the image, empty if it was not measured. `author` is who wrote the caption: "user", the
    name of a tagger or captioner, or "" if that is not known. `selections` are the names of those that contain the image;
    `copy_of` is the path of the better copy of it, "" without one.
    """

    path: str
    width: int = 0
    height: int = 0
    bytes: int = 0
    time: float = 0.0
    caption: str = ""
    caption_path: str | None = None
    defects: tuple[str, ...] = ()
    is_trained: bool = False
    scores: Mapping[str, float] = field(default_factory=dict)
    author: str = ""
    choice: Choice = ""
    selections: tuple[str, ...] = ()
    copy_of: str = ""

    @property
    def name(self) -> str:
        """The name of the file, without its folder."""
        return self.path.rpartition("/")[2]


def entries(
    root: Path,
    rules: DatasetRules,
    extension: str = ".txt",
    *,
    trigger: str = "",
    scores: Mapping[str, Mapping[str, float]] | None = None,
    authors: Mapping[str, str] | None = None,
    copies: Mapping[str, str] | None = None,
) -> list[Entry]:
    """The images of a dataset folder by path, also those that the engine with these rules does not train.

    Args:
        root: the folder; nothing in it is changed.
        rules: how the engine reads a folder.
        extension: the file extension of captions.
        trigger: the word that every caption should contain, "" if none.
        scores: the measures of images that are known, by path.
        authors: who wrote the captions, by the path of the caption file or of the image.
        copies: the better copy of each image that has one, by path.

    Raises:
        DatasetError: there is no such folder, it cannot be listed, or the extension is not valid.
    """
    found = scan.scan(Path(root), rules, extension, trigger, quick=True)
    return of(found, scores=scores, authors=authors, copies=copies)


def of(
    found: Dataset,
    *,
    scores: Mapping[str, Mapping[str, float]] | None = None,
    authors: Mapping[str, str] | None = None,
    copies: Mapping[str, str] | None = None,
) -> list[Entry]:
    """The images of a folder that was scanned; arguments as for `entries`.

    Raises:
        DatasetError: the folder cannot be listed.
    """
    known = _Known(found, selections.read(found.root), scores or {}, authors or {}, copies or {})
    return [known.entry(path) for path in _paths(found)]


def _paths(found: Dataset) -> list[str]:
    """All images: those that an editor sees, and those that the engine trains besides, such as in a linked folder."""
    trained = (_inside(found.root, image.path) for image in found.images)
    return sorted({*gathering.images(found.root), *trained})


def _inside(root: Path, path: Path) -> str:
    # Path.relative_to takes most of the time for thousands of images.
    return os.fspath(path)[len(os.fspath(root)) :].lstrip("/")


class _Known:
    """What is known of the images of a scanned dataset, by their paths."""

    def __init__(
        self,
        found: Dataset,
        kept: Selections,
        scores: Mapping[str, Mapping[str, float]],
        authors: Mapping[str, str],
        copies: Mapping[str, str],
    ) -> None:
        self.root, self.extension = found.root, found.caption_extension
        self.scores, self.authors, self.copies, self.choices = scores, authors, copies, kept.choices
        self.trained: Mapping[str, DatasetImage] = {_inside(found.root, one.path): one for one in found.images}
        self.defects: defaultdict[str, list[str]] = defaultdict(list)
        for key, files in found.defects.items():
            for file in files:
                self.defects[_inside(found.root, file)].append(key)
        self.selected: defaultdict[str, list[str]] = defaultdict(list)
        for name, paths in kept.named.items():
            for path in paths:
                self.selected[path].append(name)

    def entry(self, path: str) -> Entry:
        image = self.trained.get(path)
        size = (image.width, image.height) if image is not None else self._size(path)
        caption_path, caption = self._caption(path, image)
        try:
            status = os.stat(f"{self.root}/{path}")  # noqa: PTH116 - many files
        except OSError:
            status = None
        return Entry(
            path,
            *size,
            status.st_size if status else 0,
            status.st_mtime if status else 0.0,
            caption,
            caption_path,
            tuple(self.defects.get(path, ())),
            image is not None,
            self.scores.get(path, {}),
            self._author(path, caption_path),
            self.choices.get(path, ""),
            tuple(self.selected.get(path, ())),
            self.copies.get(path, ""),
        )

    def _size(self, path: str) -> tuple[int, int]:
        seen = images.inspect(self.root / path, quick=True)
        return seen.width, seen.height

    def _caption(self, path: str, image: DatasetImage | None) -> tuple[str | None, str]:
        if image is not None:
            file = image.caption_file
            return (_inside(self.root, file) if file is not None else None), _shown(image.caption or "")
        for wanted in self._wanted(path):
            if (self.root / wanted).is_file():
                return wanted, _shown(captions.read(self.root / wanted, "each").text)
        return None, ""

    def _wanted(self, path: str) -> Iterator[str]:
        yield PurePosixPath(path).with_suffix(self.extension).as_posix()
        yield f"{path}{self.extension}"

    def _author(self, path: str, caption_path: str | None) -> str:
        named = self.authors.get(caption_path) if caption_path is not None else None
        return named if named is not None else self.authors.get(path, "")


def _shown(text: str) -> str:
    return text if text.isascii() and text.isprintable() else printable(text, LONGEST_CAPTION, keep="\n")

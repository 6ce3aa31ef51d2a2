"""Finds out what files that come together are to each other: captions and masks of images, and tables of captions.

A caption gets the name of its image with the usual extension, in UTF-8; a table of captions becomes caption files; a mask
keeps its own name, and follows its image if that gets another one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from trainer_core.curation import encodings, tables
from trainer_core.curation.unpacking import IMAGES, TABLES, TEXTS
from trainer_core.datasets import folders, images
from trainer_core.datasets.captions import LARGEST_CAPTION_BYTES
from trainer_core.text import printable

OWN_CAPTION = "its image came with a caption file of its own"


@dataclass(frozen=True)
class Arrived:
    """A file that waits to come into a dataset: where it is, the path that it shall have, and the number of its source.

    `of` is the path of the image that it is a caption or a mask of, None for an image and what has none.
    """

    place: Path
    path: PurePosixPath
    source: int = 0
    of: PurePosixPath | None = None
    is_mask: bool = False
    was: str = ""
    """How it was named when it came, where that differs."""

    @property
    def is_image(self) -> bool:
        """Whether it is an image, not a mask of one."""
        return not self.is_mask and self.path.suffix.casefold() in IMAGES

    @property
    def is_text(self) -> bool:
        """Whether it is a caption file."""
        return self.path.suffix.casefold() in TEXTS


@dataclass
class Paired:
    """The files that come in, what was left out of them as (name, reason), and what a user should know, as sentences."""

    files: list[Arrived] = field(default_factory=list)
    left_out: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def paired(arrived: Iterable[Arrived], ending: str, scratch: Callable[[], Path]) -> Paired:
    """The files of all sources with what they belong to.

    Args:
        arrived: the files.
        ending: the extension that captions get.
        scratch: gives the path for a new file.

    Raises:
        OSError: a file cannot be read or written.
    """
    sources: defaultdict[int, list[Arrived]] = defaultdict(list)
    for one in arrived:
        sources[one.source].append(one)
    found = Paired()
    for each in sources.values():
        _Source(each, ending, scratch, found).pair()
    return found


class _Source:
    """The files of one source, which belong together."""

    def __init__(self, arrived: list[Arrived], ending: str, scratch: Callable[[], Path], found: Paired) -> None:
        self.ending, self.scratch, self.found = ending, scratch, found
        masks = _masks([one for one in arrived if one.path.suffix.casefold() in IMAGES])
        self.masks = [replace(one, of=masks[one.place], is_mask=True) for one in arrived if one.place in masks]
        self.images = [one for one in arrived if one.is_image and one.place not in masks]
        self.texts = [one for one in arrived if one.is_text]
        self.tables = [one for one in arrived if one.path.suffix.casefold() in TABLES]
        self.by_stem: dict[str, PurePosixPath] = {}
        self.by_name: dict[str, PurePosixPath] = {}
        self.by_folded: defaultdict[str, set[str]] = defaultdict(set)
        for one in self.images:
            self.by_stem.setdefault(stem(one.path), one.path)
            self.by_name[one.path.as_posix()] = one.path
            self.by_folded[stem(one.path).casefold()].add(stem(one.path))

    def pair(self) -> None:
        """Adds all files of the source to what was found."""
        self.found.files += [*self.images, *self.masks]
        self._captions()
        self._tables()

    # ---- captions ----
    def _captions(self) -> None:
        found: defaultdict[str, list[Arrived]] = defaultdict(list)
        for one in self.texts:
            image = self._image_of(one.path)
            if image is None:
                self.found.files.append(self._in_utf8(one))
            else:
                found[stem(image)].append(replace(one, of=image))
        for name, texts in found.items():
            usual = [one for one in texts if one.path.suffix == self.ending and stem(one.path) == name]
            if len(texts) > 1 and (usual or len({one.path.suffix.casefold() for one in texts}) == len(texts)):
                # Tags and a description, each in a file of its own: the user chooses by the extension.
                self.found.files += [self._in_utf8(_with_stem(one, name)) for one in texts]
                continue
            self.found.files.append(self._in_utf8(_named(texts[0], PurePosixPath(f"{name}{self.ending}"))))
            self.found.left_out += [(printable(one.was or str(one.path), 200), OWN_CAPTION) for one in texts[1:]]

    def _image_of(self, path: PurePosixPath) -> PurePosixPath | None:
        """The image of a caption file: by its name, with the image's extension in it, or in other case."""
        name = stem(path)
        if found := self.by_stem.get(name) or self.by_name.get(name):
            return found
        near = self.by_folded.get(name.casefold(), set())
        return self.by_stem[next(iter(near))] if len(near) == 1 else None

    def _in_utf8(self, one: Arrived) -> Arrived:
        """The caption file, or a copy of it in UTF-8 if it has another encoding that is recognised."""
        if one.place.stat().st_size > LARGEST_CAPTION_BYTES:
            return one
        data = one.place.read_bytes()
        try:
            data.decode("utf-8")
        except UnicodeDecodeError:
            text = encodings.guessed(data)
            if text is None:
                self.found.notes.append(f"{printable(str(one.path), 200)} is not UTF-8, and its encoding is not known: it came in as it is.")  # fmt: skip
                return one
            place = self.scratch()
            place.write_bytes(text.encode("utf-8"))
            self.found.notes.append(f"{printable(str(one.path), 200)} was converted to UTF-8.")
            return replace(one, place=place)
        return one

    # ---- tables ----
    def _tables(self) -> None:
        captioned = {stem(one.of) for one in self.found.files if one.is_text and one.of is not None and one.source == self.number}  # fmt: skip
        for table in self.tables:
            read = tables.captions(table.place, table.path.suffix.casefold()) if self.images else {}
            matched = tables.match(read, table.path, self.by_stem)
            if not matched:
                self.found.files.append(table)
                continue
            written = 0
            for name, image in matched.items():
                if stem(image) in captioned:
                    self.found.left_out.append((f"{printable(str(table.path), 100)}: {printable(str(name), 100)}", OWN_CAPTION))  # fmt: skip
                    continue
                captioned.add(stem(image))
                place = self.scratch()
                place.write_text(read[name], encoding="utf-8")
                path = PurePosixPath(f"{stem(image)}{self.ending}")
                self.found.files.append(Arrived(place, path, table.source, image))
                written += 1
            missing = len(read) - len(matched)
            lacking = f"; {missing:,} of its rows name no image that came with it" if missing else ""
            files = f"{written:,} caption {'file' if written == 1 else 'files'}"
            self.found.notes.append(f"{printable(str(table.path), 200)} became {files}{lacking}.")

    @property
    def number(self) -> int:
        return self.images[0].source if self.images else -1


def _named(one: Arrived, path: PurePosixPath) -> Arrived:
    return one if path == one.path else replace(one, path=path, was=one.was or one.path.as_posix())


def _with_stem(one: Arrived, name: str) -> Arrived:
    return _named(one, PurePosixPath(f"{name}{one.path.suffix}"))


def stem(path: PurePosixPath) -> str:
    """The path without its extension, as text."""
    return path.with_suffix("").as_posix()


# ---- masks ----
def _masks(arrived: list[Arrived]) -> dict[Path, PurePosixPath]:
    """The image of each mask, by the place of the mask: what has the name of a mask, is gray, and has an image."""
    named = {one.place: mask_stem(one.path) for one in arrived}
    candidates: defaultdict[str, list[PurePosixPath]] = defaultdict(list)
    for one in arrived:
        if named[one.place] is None:
            candidates[one.path.stem].append(one.path)
    found = {}
    for one in arrived:
        name = named[one.place]
        image = _nearest(one.path, candidates.get(name, ())) if name is not None else None
        if image is not None and images.is_gray(one.place):
            found[one.place] = image
    return found


def mask_stem(path: PurePosixPath) -> str | None:
    """The stem of the image that a mask with this path would be for; None if it has not the name of a mask."""
    bare = next((path.stem.removesuffix(end) for end in folders.MASK_ENDINGS if path.stem.casefold().endswith(end)), "")
    if bare:
        return bare
    return path.stem if folders.folder_key(path.parent) == "mask" else None


def _nearest(mask: PurePosixPath, choices: Iterable[PurePosixPath]) -> PurePosixPath | None:
    """The image of a mask: the one whose folders are most like those of the mask; None if there is no single one."""
    parts = set(mask.parent.parts)
    scored = sorted(((len(parts & set(one.parent.parts)), -len(set(one.parent.parts) - parts), one) for one in choices), reverse=True)  # fmt: skip
    if not scored or (len(scored) > 1 and scored[0][:2] == scored[1][:2] and stem(scored[0][2]) != stem(scored[1][2])):
        return None
    return scored[0][2]


def beside(mask: PurePosixPath, image: PurePosixPath, now: PurePosixPath) -> PurePosixPath:
    """The path of a mask whose image has got another one."""
    if image.stem == now.stem and image.parent == now.parent:
        return mask
    rest = mask.stem.removeprefix(image.stem) if mask.stem.startswith(image.stem) else ""
    folder = now.parent if mask.parent == image.parent else mask.parent
    return folder / f"{now.stem}{rest}{mask.suffix}"

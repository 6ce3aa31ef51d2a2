"""Copies a dataset out: as a folder, a zip, or in the layout that Hugging Face reads; on request without what the images tell besides their pixels."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

from trainer_core import places
from trainer_core.curation import gathering, privacy
from trainer_core.curation.gathering import CaptionFile
from trainer_core.curation.unpacking import ON, READ_BYTES, Going
from trainer_core.datasets import captions
from trainer_core.errors import DatasetError
from trainer_core.files import open_regular
from trainer_core.text import printable

LEADS_OUT = "it is a link that leads out of the dataset"
METADATA, CARD = "metadata.jsonl", "README.md"
Opener = Callable[[str], contextlib.AbstractContextManager[IO[bytes]]]
"""Opens a new file of the copy, by its name."""


@dataclass(frozen=True)
class Form:
    """How a dataset is copied out.

    `is_private`: without position, camera, prompts and the like; an image of a format in which Easel cannot remove them is
    left out. `layout` "plain" writes caption files; "hub" writes all captions into metadata.jsonl, and `card` as README.md.
    """

    is_private: bool = False
    ending: str = ".txt"
    layout: Literal["plain", "hub"] = "plain"
    card: str = ""


PLAIN = Form()


@dataclass(frozen=True)
class Exported:
    """What was written. `told` are the images that tell something, and what; `left_out` what was not copied, as (name, reason)."""

    images: int
    captions: int
    told: tuple[tuple[str, str], ...]
    left_out: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Preview:
    """What a copy would contain and tell: `folders` are the names of folders, which go along; `kept` are images of a format in which Easel cannot remove what they tell."""

    images: int
    captions: int
    bytes: int
    told: tuple[tuple[str, str], ...]
    folders: tuple[str, ...]
    kept: tuple[str, ...]
    left_out: tuple[tuple[str, str], ...]


def preview(root: Path, ending: str = ".txt", going: Going = ON) -> Preview:
    """What a copy of the dataset would contain and tell; nothing is written.

    Raises:
        DatasetError: the folder cannot be listed.
    """
    names, left = _images(root)
    told, kept, size = [], [], 0
    for number, name in enumerate(names, 1):
        path = root / name
        size += path.stat().st_size if path.is_file() else 0
        if what := privacy.told(path):
            told.append((printable(name, 200), ", ".join(what)))
        if not privacy.can_be_freed(path):
            kept.append(printable(name, 200))
        going.at(number, len(names))
    folders = sorted({printable(parent, 200) for name in names if (parent := name.rpartition("/")[0])})
    texts = sum(1 for _ in _captions(root, ending))
    return Preview(len(names), texts, size, tuple(told), tuple(folders), tuple(kept), tuple(left))


def export(root: Path, target: Path, form: Form = PLAIN, going: Going = ON) -> Exported:
    """Writes the images and captions of a dataset into `target`, a new folder, or a new zip if its name ends in .zip.

    A link that leads out of the dataset is left out. Nothing else goes along: no journal, no hidden files.

    Raises:
        DatasetError: the target exists, lies in the dataset, or cannot be written; nothing is left of it then.
        DatasetCancelled: it was stopped; likewise.
    """
    if os.path.lexists(target):
        raise DatasetError(f"{printable(str(target), 200)} is there already.", "Choose another name.")
    if places.real(target).is_relative_to(places.real(root)):
        raise DatasetError("The copy cannot lie in the dataset itself.", "Choose another folder.")
    is_done = False
    part = target.with_name(f".{target.name}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.suffix.casefold() == ".zip":
            with zipfile.ZipFile(part, "w", zipfile.ZIP_STORED) as archive:
                found = _write(root, _into(archive), form, going)
        else:
            found = _write(root, lambda name: _file(part / name), form, going)
        part.rename(target)
        is_done = True
    except OSError as error:
        raise DatasetError(f"Nothing was written: {error.strerror or error}.", "Free some space.") from error
    finally:
        if not is_done:
            shutil.rmtree(part, ignore_errors=True)
            with contextlib.suppress(OSError):
                part.unlink()
    return found


def _write(root: Path, opened: Opener, form: Form, going: Going) -> Exported:
    names, left = _images(root)
    if not names and not left:
        raise DatasetError("There is no image in the dataset.")
    told: list[tuple[str, str]] = []
    copied: list[str] = []
    for number, name in enumerate(names, 1):
        going.at(number, len(names))
        if form.is_private:
            data = privacy.without(_read(root / name))
            if data is None:
                left.append((printable(name, 200), "what it tells cannot be removed from this format"))
                continue
            _put(opened, name, data)
        else:
            if what := privacy.told(root / name):
                told.append((printable(name, 200), ", ".join(what)))
            with open_regular(root / name) as source, opened(name) as file:
                shutil.copyfileobj(source, file, READ_BYTES)
        copied.append(name)
    texts = list(_captions(root, form.ending))
    if form.layout == "hub":
        _put(opened, METADATA, _table(root, copied, texts))
        if form.card:
            _put(opened, CARD, form.card.encode())
    else:
        for item in texts:
            _put(opened, item.path, _read(root / item.path))
    return Exported(len(copied), len(texts), tuple(told), tuple(left))


def _images(root: Path) -> tuple[list[str], list[tuple[str, str]]]:
    """The images of a dataset, and those that are left out, as (name, reason)."""
    found = gathering.images(root)
    out = {name for name in found if _leads_out(root, name)}
    return [name for name in found if name not in out], [(printable(name, 200), LEADS_OUT) for name in sorted(out)]


def _captions(root: Path, ending: str) -> Iterator[CaptionFile]:
    """The caption files that the dataset has, each once."""
    for item in gathering.caption_files(root, ending):
        if (root / item.path).is_file() and not _leads_out(root, item.path):
            yield item


def _table(root: Path, names: Iterable[str], captions_of: Iterable[CaptionFile]) -> bytes:
    """The captions as a table for the Hub: a JSON object in each line. Source: Hugging Face, "Create an image dataset"."""
    # As it is, not as it is shown: there, unusual characters are escapes.
    texts = {item.path.rpartition(".")[0]: captions.read(root / item.path, "each").text for item in captions_of}
    rows = ({"file_name": name, "text": texts.get(name.rpartition(".")[0], "")} for name in names)
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode("utf-8", "surrogateescape")


def _leads_out(root: Path, name: str) -> bool:
    return not places.real(root / name).is_relative_to(places.real(root))


def _read(path: Path) -> bytes:
    with open_regular(path) as file:
        return file.read()


def _put(opened: Opener, name: str, data: bytes) -> None:
    with opened(name) as file:
        file.write(data)


def _file(path: Path) -> IO[bytes]:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("xb")


def _into(archive: zipfile.ZipFile) -> Opener:
    """Opens new files of a zip. Their time is that of the copy: when an image was made is nobody's business."""

    def opened(name: str) -> contextlib.AbstractContextManager[IO[bytes]]:
        return archive.open(zipfile.ZipInfo(name), "w", force_zip64=True)

    return opened

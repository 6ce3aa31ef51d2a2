"""Writes what a model said into the captions of a dataset, as one edit that can be taken back, without replacing what a person wrote."""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from trainer_core.curation import authors, contents, gathering
from trainer_core.curation.journal import Change, Journal
from trainer_core.curation.records import Edit
from trainer_core.datasets.captions import LARGEST_CAPTION_BYTES
from trainer_core.errors import DatasetError
from trainer_core.files import open_regular
from trainer_core.text import printable

Mode = Literal["empty", "machine", "all"]
MODES: tuple[Mode, ...] = get_args(Mode)
MEANING: Mapping[Mode, str] = {
    "empty": "images without a caption",
    "machine": "also captions that a program wrote",
    "all": "also captions that a person wrote, or that nobody knows of",
}
_SIGNS = (codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


@dataclass(frozen=True)
class Current:
    """The caption of an image now. `is_blank` is whether its file has nothing, or there is none; `author` who wrote it."""

    image: str
    path: str
    text: str
    is_blank: bool
    author: str
    mark: contents.Mark


@dataclass(frozen=True)
class Written:
    """What would be written, or was: the captions by path, how many stay because of the mode, and the edit."""

    texts: Mapping[str, str]
    kept: int
    edit: Edit | None = None


def current(root: Path, ending: str = ".txt", images: Iterable[str] | None = None) -> list[Current]:
    """The captions of a dataset, or of these images; of images with the same caption file only the first is listed.

    Raises:
        DatasetError: the folder cannot be listed.
    """
    wanted, by = None if images is None else set(images), authors.of(root)
    found = []
    for file in gathering.caption_files(root, ending):
        if wanted is not None and file.image not in wanted:
            continue
        is_blank, mark = _looked_at(root, file.path)
        found.append(Current(file.image, file.path, file.text, is_blank, by.get(file.path, ""), mark))
    return found


def chosen(files: Sequence[Current], said: Mapping[str, str], mode: Mode) -> Written:
    """The captions that a mode lets a machine write; `said` has the new caption of each image, by its path."""
    texts, kept = {}, 0
    for file in files:
        new = " ".join(said.get(file.image, "").split())
        if not new or new == file.text.strip():
            continue
        if _is_open(file, mode):
            texts[file.path] = new
        else:
            kept += 1
    return Written(texts, kept)


def counts(files: Sequence[Current], said: Mapping[str, str]) -> dict[Mode, int]:
    """How many caption files each mode would write."""
    return {mode: len(chosen(files, said, mode).texts) for mode in MODES}


def apply(root: Path, said: Mapping[str, str], mode: Mode, author: str, title: str, ending: str = ".txt") -> Written:
    """Writes the captions, as one edit by `author`. What a file is now decides, whatever it was when it was shown.

    Raises:
        DatasetError: the dataset cannot be changed.
    """
    if not author.strip() or author == authors.USER:
        raise DatasetError("The author of captions by a machine is the name of the program or model.")
    journal = Journal(root)
    journal.recover()
    files = current(root, ending, said)
    plan = chosen(files, said, mode)
    marks = {file.path: file.mark for file in files}
    wanted = [Change(path, text.encode("utf-8", "replace"), marks[path]) for path, text in plan.texts.items()]
    edit = journal.apply("captions", title, wanted, printable(author, 100)) if wanted else None
    return Written(plan.texts, plan.kept, edit)


def _is_open(file: Current, mode: Mode) -> bool:
    if mode == "all" or file.is_blank:
        return True
    return mode == "machine" and file.author not in ("", authors.USER)


def _looked_at(root: Path, path: str) -> tuple[bool, contents.Mark]:
    """Whether a caption file is blank or missing, by its bytes, and its mark. What cannot be read is not blank."""
    place = contents.inside(root, path)
    try:
        mark = contents.mark(place)
        if mark == contents.NOTHING:
            return True, mark
        with open_regular(place) as file:
            data = file.read(LARGEST_CAPTION_BYTES)
    except (OSError, DatasetError):
        return False, "unreadable"
    for sign in _SIGNS:
        data = data.removeprefix(sign)
    return not data.strip(b" \t\r\n\0\v\f"), mark

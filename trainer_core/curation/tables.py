"""Reads the captions of many images from one table, as datasets on the Hub and kohya's scripts have them.

Source of the forms: Hugging Face "Create an image dataset" (metadata.jsonl, metadata.csv with file_name and a text column);
sd-scripts, finetune/merge_captions_to_metadata.py (a JSON object of images, each with "caption" and "tags").
A table may come from anybody: what is not a row with an image and a text is left out.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from trainer_core.curation import encodings, incoming_names
from trainer_core.files import open_regular

ENDINGS = frozenset({".json", ".jsonl", ".csv"})
LARGEST_BYTES = 256 << 20
LONGEST_CAPTION = 100_000
IMAGE_COLUMNS = ("file_name", "filename", "image", "image_path", "image_file", "file", "path", "img", "name")
"""The columns that name the image, in the order in which they are tried; letters in any case."""
TEXT_COLUMNS = ("text", "caption", "captions", "prompt", "description", "tags", "additional_feature")
"""The columns with its caption, likewise. Where a row has tags beside a caption, the caption is taken."""


def captions(path: Path, ending: str) -> dict[PurePosixPath, str]:
    """The captions in a table by the path of their image, as the table names it; empty for any other file.

    `ending` is the extension of its name.

    Raises:
        OSError: it cannot be read.
    """
    if ending not in ENDINGS or path.stat().st_size > LARGEST_BYTES:
        return {}
    with open_regular(path) as file:
        text = encodings.guessed(file.read(LARGEST_BYTES + 1))
    return parsed(text, ending) if text is not None else {}


def parsed(text: str, ending: str) -> dict[PurePosixPath, str]:
    """The captions in the text of a table with this file extension, by the path of their image."""
    found: dict[PurePosixPath, str] = {}
    for name, caption in _csv(text) if ending == ".csv" else _json(text):
        image = incoming_names.plain(name) if len(name) < 4096 else None
        plain = caption.replace("\0", "").strip()
        if image is not None and plain:
            found.setdefault(image, plain[:LONGEST_CAPTION])
    return found


def _json(text: str) -> Iterator[tuple[str, str]]:
    """The rows of a JSON value, or of a JSON object in each line."""
    whole = _loaded(text)
    if isinstance(whole, Mapping) and not _row(whole):
        for name, told in whole.items():
            caption = told if isinstance(told, str) else _text(told) if isinstance(told, Mapping) else ""
            if caption:
                yield str(name), caption
        return
    lines = whole if isinstance(whole, list) else [whole] if whole is not None else map(_loaded, text.splitlines())
    yield from (row for line in lines if isinstance(line, Mapping) and (row := _row(line)))


def _csv(text: str) -> Iterator[tuple[str, str]]:
    """The rows of a table with commas, semicolons or tabs and a row of names."""
    first = text.partition("\n")[0]
    sign = max(",;\t", key=first.count)
    rows = csv.DictReader(io.StringIO(text, newline=""), delimiter=sign)
    try:
        yield from (row for line in rows if (row := _row(line)))
    except csv.Error:
        return


def _row(line: Mapping[Any, Any]) -> tuple[str, str] | None:
    """The image and the caption in a row; None if it has not both."""
    named = {str(key).strip().casefold(): value for key, value in line.items()}
    # The Hub's own form allows other columns of images: image_file_name, mask_file_name, and so on.
    columns = (*IMAGE_COLUMNS, *(key for key in named if key.endswith("_file_name") and not key.startswith("mask")))
    image = next((found for key in columns if isinstance(found := named.get(key), str) and found.strip()), None)
    text = _text(named)
    return (image.strip(), text) if image and text else None


def _text(named: Mapping[Any, Any]) -> str:
    for key in TEXT_COLUMNS:
        value = named.get(key)
        if isinstance(value, str) and value.strip():
            return value
        if isinstance(value, list) and value and all(isinstance(one, str) for one in value):
            # Tags are one caption; several captions of an image are not.
            return ", ".join(value) if key == "tags" else value[0]
    return ""


def _loaded(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def match(named: Iterable[PurePosixPath], table: PurePosixPath, images: Mapping[str, PurePosixPath]) -> dict[PurePosixPath, PurePosixPath]:  # fmt: skip
    """The image for each path in a table, as far as there is one.

    `images` are those that came with the table, by path without extension, as text; a table may leave the extension away. A path is
    relative to the table's folder, or to the outermost one; else the name of the file decides, if only one image has it.
    """
    by_name: dict[str, PurePosixPath | None] = {}
    for image in images.values():
        by_name[image.name] = None if image.name in by_name else image
    whole = {image.as_posix(): image for image in images.values()}
    found = {}
    for name in named:
        places = (table.parent / name, name)
        exact = next((image for place in places if (image := whole.get(place.as_posix()))), None)
        bare = next((image for place in places if (image := images.get(place.as_posix()))), None)
        image = exact or bare or by_name.get(name.name)
        if image is not None:
            found[name] = image
    return found

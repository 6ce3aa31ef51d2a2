"""The tags of a tagger, in the order of its output, read from the file that comes with the model. Such a file is untrusted."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from trainer_core.captioning.taggers import Tagger
from trainer_core.errors import DatasetError
from trainer_core.files import open_regular
from trainer_core.text import printable

LARGEST_BYTES = 64 << 20
MOST = 1_000_000
LONGEST = 200


@dataclass(frozen=True)
class Label:
    """A tag of a tagger, as the model calls it; `category` is "" if tags of its kind are not used."""

    name: str
    category: str


def read(path: Path, tagger: Tagger) -> tuple[Label, ...]:
    """The tags by their place in the output of the model.

    Raises:
        DatasetError: the file cannot be read, or does not have the form that the tagger's row says.
    """
    text = text_of(path)
    try:
        rows = dict(_FORMS[tagger.form](text))
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise DatasetError(
            f"{printable(path.name, 100)} is not the list of tags of {tagger.title}: {printable(str(error), 200)}.",
            "Fetch the model again, or choose the folder of this model.",
        ) from error
    if not rows or min(rows) < 0 or max(rows) >= MOST:
        raise DatasetError(f"{printable(path.name, 100)} lists no tags.", "Fetch the model again.")
    unused = Label("", "")
    found = (rows.get(place) for place in range(max(rows) + 1))
    return tuple(_label(*each, tagger.categories) if each is not None else unused for each in found)


def _label(name: str, category: str, known: Mapping[str, str]) -> Label:
    # A comma or a line end would make two tags of one.
    plain = " ".join(printable(name, LONGEST).replace(",", " ").split())
    return Label(plain, known.get(category, "") if plain else "")


def text_of(path: Path) -> str:
    """The text of a file that comes with a model.

    Raises:
        DatasetError: it cannot be read, or is too large.
    """
    try:
        with open_regular(path) as file:
            data = file.read(LARGEST_BYTES + 1)
    except OSError as error:
        raise DatasetError(f"{printable(str(path), 200)} cannot be read: {error.strerror or error}.") from error
    if len(data) > LARGEST_BYTES:
        raise DatasetError(f"{printable(path.name, 100)} is too large.")
    return data.decode("utf-8-sig", "replace")


def _csv(text: str) -> Iterator[tuple[int, tuple[str, str]]]:
    """Of a table with the columns "name" and "category"; the rows are in the order of the output.

    Source: selected_tags.csv of SmilingWolf's repositories and of deepghs'.
    """
    for place, row in enumerate(csv.DictReader(io.StringIO(text))):
        yield place, (row["name"], row["category"].strip())


def _mapping(text: str) -> Iterator[tuple[int, tuple[str, str]]]:
    """Of {"0": {"tag": ..., "category": ...}}. Source: tag_mapping.json of cella110n/cl_tagger."""
    for place, row in json.loads(text).items():
        yield int(place), (row["tag"], row["category"])


def _metadata(text: str) -> Iterator[tuple[int, tuple[str, str]]]:
    """Of {"dataset_info": {"tag_mapping": {"idx_to_tag": ..., "tag_to_category": ...}}}.

    Source: camie-tagger-v2-metadata.json.
    """
    tables = json.loads(text)["dataset_info"]["tag_mapping"]
    for place, name in tables["idx_to_tag"].items():
        yield int(place), (name, tables["tag_to_category"].get(name, ""))


_FORMS = {"csv": _csv, "mapping": _mapping, "metadata": _metadata}

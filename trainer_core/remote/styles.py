"""The folders of styles, on a disk or in a bucket: `resources/style_images/{styleId}_*/` with two JSON files.

`selection_sets.json` has groups of images: `{"sets": [{"id": 1, "name": "Set 1", "images": ["image_001.jpg"]}]}`.
`training_versions.json` has the trainings: `{"versions": [{"id", "name", "timestamp", "parameters", "status", "loraUrl",
"selectionSetId", "imageCount"}]}`.

Other programs write these files, too. A change reads the file, changes it, and writes it only if nobody else has written it
meanwhile; else it starts again. Keys that Easel does not know are kept. A damaged file is refused and left as it is.

Source: the document "LoRA Training System", "Selection Sets to S3 URLs" and "Training Versions System". It does not show what
is in `selection_sets.json`; that form is Easel's, after the other file.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from trainer_core.errors import RemoteError, wrong_use
from trainer_core.remote import addresses, strict_json
from trainer_core.remote.style_stores import MOST_BYTES, Store
from trainer_core.text import plain_letters, printable

T = TypeVar("T")

ROOT = "resources/style_images"
SETS_FILE, VERSIONS_FILE = "selection_sets.json", "training_versions.json"
SETS, VERSIONS = "sets", "versions"
STATES = ("pending", "training", "completed", "failed")
ENDED = ("completed", "failed")
ATTEMPTS = 20
_STYLE_ID = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,62}[A-Za-z0-9])?")


@dataclass(frozen=True)
class SelectionSet:
    """A group of images of a style. `images` are their names in the folder of the style, or their addresses."""

    id: int
    name: str
    images: tuple[str, ...]


@dataclass(frozen=True)
class Version:
    """A training of a style. `parameters` are the settings that were chosen; `lora_url` is "" until it is completed."""

    id: str
    name: str
    timestamp: str
    parameters: Mapping[str, Any]
    status: str
    lora_url: str = ""
    selection_set_id: int | None = None
    image_count: int | None = None

    def as_dict(self) -> dict[str, Any]:
        """The version as it is laid out in the file."""
        found = {
            "id": self.id,
            "name": self.name,
            "timestamp": self.timestamp,
            "parameters": dict(self.parameters),
            "status": self.status,
            "loraUrl": self.lora_url or None,
            "selectionSetId": self.selection_set_id,
            "imageCount": self.image_count,
        }
        return {key: value for key, value in found.items() if value is not None}


class Styles:
    """The styles of a folder or bucket, by their ids."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def folder(self, style_id: str) -> str | None:
        """The name of a style's folder; None if there is none.

        Raises:
            RemoteError: the id cannot be one, or there are several folders of it.
        """
        start = f"{checked_id(style_id)}_"
        found = sorted(name for name in self._store.folders(ROOT) if name.startswith(start))
        if len(found) > 1:
            shown = ", ".join(printable(name, 80) for name in found[:5])
            raise RemoteError(
                f"There are several folders of the style {style_id}: {shown}.", "Keep one of them.", "content"
            )
        return found[0] if found else None

    def all(self) -> list[tuple[str, str]]:
        """The id and the title of each style, in the order of the ids. A folder whose name begins with no id is left out.

        Raises:
            RemoteError: the folder cannot be listed.
        """
        found = []
        for name in self._store.folders(ROOT):
            style_id, line, title = name.partition("_")
            if line and _STYLE_ID.fullmatch(style_id):
                found.append((style_id, title.replace("_", " ")))
        return sorted(found)

    def create(self, style_id: str, title: str) -> str:
        """The name of the folder of a style; a style without one gets one when the first file is written.

        Raises:
            RemoteError: as `folder`.
        """
        slug = re.sub(r"[^a-z0-9]+", "_", plain_letters(title).lower()).strip("_")[:60]
        return self.folder(style_id) or f"{style_id}_{slug or 'style'}"

    def sets(self, style_id: str) -> list[SelectionSet]:
        """The selection sets of a style; none if it has no such file.

        Raises:
            RemoteError: the file is damaged or cannot be read, or the id cannot be one.
        """
        return [_set_of(row) for row in self._rows(style_id, SETS_FILE, SETS)]

    def versions(self, style_id: str) -> list[Version]:
        """The training versions of a style; none if it has no such file.

        Raises:
            RemoteError: the file is damaged or cannot be read, or the id cannot be one.
        """
        return [_version_of(row) for row in self._rows(style_id, VERSIONS_FILE, VERSIONS)]

    def rows(self, style_id: str) -> tuple[list[dict[str, Any]], str]:
        """The training versions of a style as the file has them, with keys that Easel does not know; and a tag of this state.

        Raises:
            RemoteError: as `versions`.
        """
        rows = self._rows(style_id, VERSIONS_FILE, VERSIONS)
        return rows, _tag(rows)

    def add_set(self, style_id: str, name: str, images: tuple[str, ...], title: str = "") -> SelectionSet:
        """Adds a selection set with the next number as its id, or gives the one of this name these images.

        Raises:
            RemoteError: an image cannot be used, or a file is damaged or cannot be written.
        """
        for image in images:
            addresses.parse(image) if "://" in image else addresses.check_key(image)

        def change(rows: list[dict[str, Any]]) -> SelectionSet:
            for row in rows:
                if row["name"] == name:
                    row["images"] = list(images)
                    return _set_of(row)
            number = max((row["id"] for row in rows), default=0) + 1
            rows.append({"id": number, "name": name, "images": list(images)})
            return _set_of(rows[-1])

        return self._change(style_id, title, SETS_FILE, SETS, change)

    def add_version(self, style_id: str, version: Version, title: str = "", tag: str = "") -> None:
        """Adds a training version. With the `tag` of `rows`, only if the versions are still the same; one with this id is then changed.

        Raises:
            RemoteError: there is one with this id, or the file is damaged or cannot be written; of the kind "changed", the tag is
                that of another state.
        """

        def change(rows: list[dict[str, Any]]) -> None:
            own = _own_row(version.as_dict())
            if tag and _tag(rows) != tag:
                message = f"The versions of the style {style_id} have changed since they were read."
                raise RemoteError(message, "Read them again, and repeat the change.", "changed")
            for row in rows:
                if row["id"] == version.id and tag:
                    row.update(own)
                    return
                # With the same content it is from an earlier attempt, whose answer was lost.
                if row["id"] == version.id and row != own:
                    message = f"There is another version {printable(version.id, 80)} already."
                    raise RemoteError(message, "Give it another id.", "taken")
            if own not in rows:
                rows.append(own)

        self._change(style_id, title, VERSIONS_FILE, VERSIONS, change)

    def change_version(self, style_id: str, version_id: str, **changes: Any) -> Version:
        """Changes keys of a training version, named as in the file, such as `status` and `loraUrl`; returns what it is then.

        Raises:
            RemoteError: there is no such version, a value does not fit, or the file is damaged or cannot be written.
        """

        def change(rows: list[dict[str, Any]]) -> Version:
            for row in rows:
                if row["id"] == version_id:
                    row.update(changes)
                    return _version_of(_own_row(row))
            raise wrong_use(RemoteError(f"There is no version {printable(version_id, 80)}.", "", "missing"))

        return self._change(style_id, "", VERSIONS_FILE, VERSIONS, change)

    def advance(self, style_id: str, version_id: str, status: str, lora_url: str = "") -> Version:
        """Moves the status of a training version on, never back: one that has ended stays as it is. Returns what it is then.

        Raises:
            RemoteError: there is no such version, or the file is damaged or cannot be written.
        """

        def change(rows: list[dict[str, Any]]) -> Version:
            for row in rows:
                if row["id"] == version_id:
                    if STATES.index(status) > _reached(row["status"]):
                        row.update({"status": status, **({"loraUrl": lora_url} if lora_url else {})})
                    return _version_of(_own_row(row))
            raise wrong_use(RemoteError(f"There is no version {printable(version_id, 80)}.", "", "missing"))

        return self._change(style_id, "", VERSIONS_FILE, VERSIONS, change)

    def _rows(self, style_id: str, file: str, key: str) -> list[dict[str, Any]]:
        folder = self.folder(style_id)
        found = self._store.read(f"{ROOT}/{folder}/{file}") if folder else None
        return _parsed(found[0], file, key)[key] if found else []

    def _change(self, style_id: str, title: str, file: str, key: str, change: Callable[[list[dict[str, Any]]], T]) -> T:
        path = f"{ROOT}/{self.create(style_id, title)}/{file}"
        for attempt in range(ATTEMPTS):
            found = self._store.read(path)
            table = _parsed(found[0], file, key) if found else {key: []}
            result = change(table[key])
            data = _written(table)
            if len(data) > MOST_BYTES:
                raise RemoteError(f"{file} would be larger than {MOST_BYTES} bytes.", "Remove old entries.", "size")
            try:
                self._store.write(path, data, found[1] if found else None)
            except RemoteError as error:
                if error.kind != "changed":
                    raise
            else:
                return result
            # Uneven, so that writers that met once do not meet again.
            time.sleep(random.uniform(0.0, 0.05 * min(attempt + 1, 10)))  # noqa: S311 - no secret depends on it
        message = f"{file} of the style {style_id} is changed by others all the time. Nothing was written."
        raise RemoteError(message, "Try again later.", "busy")


def _reached(status: str) -> int:
    """How far a version has come; one that has ended is at the end, and one with a status of another program at the start."""
    return len(STATES) if status in ENDED else STATES.index(status) if status in STATES else -1


def checked_id(style_id: str) -> str:
    """The id of a style, which becomes a part of paths.

    Raises:
        RemoteError: it cannot be one.
    """
    if not _STYLE_ID.fullmatch(style_id):
        message = f"{printable(style_id, 80)!r} cannot be the id of a style."
        advice = "It has 1 to 64 letters, digits and dashes; the folder's name has an underscore after it."
        raise wrong_use(RemoteError(message, advice, "setting"))
    return style_id


def uris(bucket: str, style_id: str, found: SelectionSet, ending: str = ".txt") -> list[str]:
    """The addresses of the images of a selection set, each followed by that of its caption file.

    Images lie in `styles/{styleId}/`; those that are addresses already are used as they are. Whether they exist is not asked.

    Raises:
        RemoteError: the bucket, the id or an image cannot be used; the file is from outside.
    """
    addresses.check_bucket(bucket)
    listed: list[str] = []
    for image in found.images:
        where = image if "://" in image else f"s3://{bucket}/styles/{checked_id(style_id)}/{image}"
        uri = addresses.to_s3(where)
        stem, dot, _ = uri.rpartition(".")
        listed += [uri, (stem if dot and "/" not in uri[len(stem) :] else uri) + ending]
    return listed


def _parsed(data: bytes, file: str, key: str) -> dict[str, Any]:
    """The content of a file, with a list of checked entries under `key`."""
    try:
        table = strict_json.loads(data)
    except ValueError as error:
        raise _damaged(file, f"it is not JSON ({printable(str(error), 100)})") from None
    if not isinstance(table, dict) or not isinstance(table.get(key), list):
        raise _damaged(file, f'it has no list "{key}"')
    ids = set()
    for number, row in enumerate(table[key], 1):
        try:
            if not isinstance(row, dict):
                raise TypeError("it is no object")
            _set_of(row) if key == SETS else _version_of(row)
        except (TypeError, ValueError, KeyError) as error:
            raise _damaged(file, f"entry {number} of {key}: {printable(str(error), 120)}") from None
        if row["id"] in ids:
            raise _damaged(file, f"the id {printable(str(row['id']), 60)} is there twice")
        ids.add(row["id"])
    return table


def _written(table: dict[str, Any]) -> bytes:
    text = json.dumps(table, indent=2, ensure_ascii=False, allow_nan=False)
    try:
        return text.encode() + b"\n"
    except UnicodeEncodeError:
        # Half of a pair of surrogates can only be written as an escape.
        return json.dumps(table, indent=2, allow_nan=False).encode() + b"\n"


def _tag(rows: list[dict[str, Any]]) -> str:
    return hashlib.sha256(_written({VERSIONS: rows})).hexdigest()[:32]


def _damaged(file: str, reason: str) -> RemoteError:
    return RemoteError(f"{file} is damaged: {reason}. It was not changed.", "Repair it, or move it away.", "content")


def _set_of(row: Mapping[str, Any]) -> SelectionSet:
    images = _typed(row, "images", list)
    if not all(isinstance(name, str) for name in images):
        raise TypeError('"images" holds something other than text')
    return SelectionSet(_typed(row, "id", int), _typed(row, "name", str), tuple(images))


def _own_row(row: dict[str, Any]) -> dict[str, Any]:
    """A version that Easel writes, as it is in the file.

    Raises:
        RemoteError: a value does not fit.
    """
    try:
        found = _version_of(row)
        json.dumps(row, allow_nan=False)
        if found.status not in STATES:
            raise ValueError(f'"status" is {found.status!r:.40}; it is one of {", ".join(STATES)}')
    except (TypeError, ValueError, KeyError) as error:
        raise wrong_use(RemoteError(f"The version cannot be written: {error.args[0]}.", "", "content")) from error
    return row


def _version_of(row: Mapping[str, Any]) -> Version:
    return Version(
        _typed(row, "id", str),
        _typed(row, "name", str),
        _typed(row, "timestamp", str),
        _typed(row, "parameters", dict),
        _typed(row, "status", str),
        _optional(row, "loraUrl", str) or "",
        _optional(row, "selectionSetId", int),
        _optional(row, "imageCount", int),
    )


def _typed(row: Mapping[str, Any], key: str, kind: type[T]) -> T:
    if key not in row:
        raise KeyError(f'it lacks "{key}"')
    value = row[key]
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise TypeError(f'"{key}" is not {_KINDS[kind]}')
    return value


def _optional(row: Mapping[str, Any], key: str, kind: type[T]) -> T | None:
    return None if row.get(key) is None else _typed(row, key, kind)


_KINDS: dict[type, str] = {str: "text", int: "a whole number", list: "a list", dict: "an object"}

"""The originals of images that were converted on their way into a dataset, kept in `.easel/originals`, one folder for each edit."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from trainer_core.curation import contents
from trainer_core.curation.journal import Change, Journal
from trainer_core.curation.records import Edit
from trainer_core.errors import DatasetError
from trainer_core.files import open_own, write_whole
from trainer_core.text import printable

FOLDER, NAMES = "originals", "names.json"
LARGEST_BYTES = 64 << 20


def folder(root: Path, number: int) -> Path:
    """The folder with the originals of an edit."""
    return root / contents.OWN / FOLDER / f"{number:06}"


def keep(root: Path, number: int, converted: Iterable[tuple[Path, str, str]]) -> None:
    """Keeps originals of an edit, each as (its file, its name in the dataset, the name of its converted form).

    The files are linked where the file system can do so.

    Raises:
        DatasetError: Easel's own folder in the dataset cannot be written.
        OSError: a file cannot be kept.
    """
    contents.own_folder(root)
    place, names = folder(root, number), []
    place.mkdir(parents=True)
    for index, (file, before, now) in enumerate(converted):
        contents.link_or_copy(file, place / str(index))
        names.append([before, now])
    write_whole(place / NAMES, json.dumps(names), durable=True)


def kept(root: Path, number: int) -> list[tuple[Path, str, str]]:
    """The originals of an edit that are there, each as (its file, its name, the name of its converted form)."""
    place = folder(root, number)
    if any(one.is_symlink() for one in (place, place.parent, place.parent.parent)):
        return []
    try:
        with open_own(place / NAMES) as file:
            names = json.loads(file.read(LARGEST_BYTES))
    except (OSError, ValueError, RecursionError):
        return []
    found: list[tuple[Path, str, str]] = []
    for index, pair in enumerate(names if isinstance(names, list) else ()):
        file = place / str(index)
        before, now = pair if isinstance(pair, list) and len(pair) == 2 else (None, None)
        if isinstance(before, str) and isinstance(now, str) and file.is_file() and not file.is_symlink():
            found.append((file, before, now))
    return found


def bring_back(root: Path, number: int) -> Edit | None:
    """The edit that puts the originals of an import in the place of their converted forms; None if nothing changes.

    A converted image that is not there any more is left out, and so is one whose original would replace another file.

    Raises:
        DatasetError: the import has no originals, or the dataset cannot be written; nothing is changed then.
    """
    found = kept(root, number)
    if not found:
        raise DatasetError(f"No originals are kept of edit {number}.")
    journal = Journal(root)
    journal.recover()
    changes: list[Change] = []
    for file, before, now in found:
        there = contents.mark(contents.inside(root, now))
        is_free = before == now or contents.mark(contents.inside(root, before)) == contents.NOTHING
        if there != contents.NOTHING and is_free:
            changes += [] if before == now else [Change(now, None, there)]
            changes.append(Change(before, file, there if before == now else contents.NOTHING))
    count = sum(change.content is not None for change in changes)
    title = f"Bring {count:,} {'original' if count == 1 else 'originals'} back"
    return journal.apply("originals", title, changes) if changes else None


def numbers(root: Path) -> Sequence[int]:
    """The numbers of the edits of which originals are kept, the newest first."""
    place = root / contents.OWN / FOLDER
    if place.is_symlink() or place.parent.is_symlink():
        return []
    try:
        names = [one.name for one in place.iterdir() if one.name.isdecimal() and not one.is_symlink()]
    except OSError:
        return []
    return sorted((int(name) for name in names if kept(root, int(name))), reverse=True)


def told(number: int, many: int) -> str:
    """A sentence about originals that are kept."""
    images = f"{many:,} {'image was' if many == 1 else 'images were'} converted"
    return f"{images}; the originals are kept with edit {printable(str(number), 12)}."

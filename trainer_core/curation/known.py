"""The datasets that Easel knows: those in its own folder, and those that were used lately. No image is opened."""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from trainer_core import places
from trainer_core.curation.contents import OWN
from trainer_core.curation.unpacking import IMAGES, TEXTS
from trainer_core.datasets import folders
from trainer_core.datasets.listing import SKIPPED_FOLDERS
from trainer_core.errors import DatasetError
from trainer_core.files import open_regular, write_whole
from trainer_core.models.downloads import names
from trainer_core.text import printable

RECENT, OPENED = "recent-datasets.json", "opened-dataset.json"
MOST_RECENT = 50
LONGEST_RECORD_BYTES = 1 << 20
MOST_ENTRIES = 200_000
LONGEST_LOOK_S = 5.0
_guard = threading.Lock()


@dataclass(frozen=True)
class Known:
    """A dataset: how many images, images with a caption and bytes it has, and when it was changed last, as time of the system.

    `is_own`: it lies in Easel's own folder. `is_partial`: it is so large, or its disk so slow, that not all was counted.
    """

    path: Path
    name: str
    images: int
    captions: int
    bytes: int
    time: float
    is_own: bool
    is_partial: bool = False


def datasets(more: Iterable[Path] = ()) -> list[Known]:
    """The datasets in Easel's own folder, those that were remembered, and `more`; the one that was changed last comes first.

    Folders that are gone, cannot be read, or contain no image are left out, except for empty ones in Easel's own folder.
    """
    found: dict[str, Known] = {}
    for path in (*_own(), *recent(), *more):
        real = os.path.realpath(path)
        if real not in found and (one := look(path)) is not None and (one.images or one.is_own):
            found[real] = one
    return sorted(found.values(), key=lambda one: (-one.time, one.name))


def look(path: Path) -> Known | None:
    """What is in a folder; None if it cannot be read."""
    try:
        if not path.is_dir():
            return None
        newest = path.stat().st_mtime
    except OSError:
        return None
    images = captions = size = count = 0
    is_partial, until = False, time.monotonic() + LONGEST_LOOK_S
    for folder in _folders(path):
        stems: list[str] = []
        texts: set[str] = set()
        for entry in _entries(folder):
            count += 1
            with contextlib.suppress(OSError):
                status = entry.stat()
                size, newest = size + status.st_size, max(newest, status.st_mtime)
            stem, ending = os.path.splitext(entry.name)  # noqa: PTH122 - of 200,000 names
            if ending.casefold() in IMAGES:
                stems.append(stem)
            elif ending.casefold() in TEXTS:
                texts.add(stem)
        known = set(stems)
        shown = [one for one in stems if not _is_mask(one, folder, path, known)]
        images, captions = images + len(shown), captions + sum(one in texts for one in shown)
        if count > MOST_ENTRIES or time.monotonic() > until:
            is_partial = True
            break
    is_own = Path(os.path.realpath(path)).is_relative_to(os.path.realpath(places.datasets()))
    return Known(path, printable(path.name, 200), images, captions, size, newest, is_own, is_partial)


def new_folder(name: str) -> Path:
    """The path of a new dataset with this name in Easel's own folder, which does not exist yet.

    Raises:
        DatasetError: the name cannot be that of a folder, or there is such a dataset.
    """
    plain = names.safe(name.strip())
    if not plain or plain != name.strip():
        raise DatasetError(
            f"{printable(name, 100)!r} cannot be the name of a dataset.",
            f"Use for example {plain}." if plain else "Use letters and digits.",
        )
    path = places.datasets() / plain
    taken = {one.name.casefold() for one in _own()}
    if plain.casefold() in taken or os.path.lexists(path):
        raise DatasetError(
            f"There is a dataset {plain} already.", f"Choose another name, or import into {printable(str(path), 200)}."
        )
    return path


def free_name(name: str) -> str:
    """This name for a new dataset, with a number behind it if there is such a dataset already."""
    taken = {one.name.casefold() for one in _own()}
    found, number = name, 2
    while found.casefold() in taken:
        found, number = f"{name} {number}", number + 1
    return found


def remember(path: Path) -> None:
    """Notes that a dataset was used. A note that cannot be written is left out: the dataset is not changed by it."""
    with _guard, contextlib.suppress(OSError):
        whole = os.path.abspath(path)  # noqa: PTH100 - a link stays the user's own name for it
        kept = [whole, *(str(one) for one in recent() if str(one) != whole)][:MOST_RECENT]
        write_whole(places.home() / RECENT, json.dumps(kept, indent=1) + "\n")


def recent() -> list[Path]:
    """The datasets that were remembered, the newest first; those that are gone now too."""
    return _noted(RECENT)


def _noted(name: str) -> list[Path]:
    try:
        with open_regular(places.home() / name) as file:
            found = json.loads(file.read(LONGEST_RECORD_BYTES))
    except (OSError, ValueError, RecursionError):
        return []
    texts = [one for one in found if isinstance(one, str)] if isinstance(found, list) else []
    return [Path(one) for one in texts if one.startswith("/") and "\0" not in one][:MOST_RECENT]


def note_opened(path: Path) -> None:
    """Notes which dataset is open in Dataset Preparation, as `remember` does."""
    with _guard, contextlib.suppress(OSError):
        whole = os.path.abspath(path)  # noqa: PTH100 - a link stays the user's own name for it
        write_whole(places.home() / OPENED, json.dumps([whole]) + "\n")


def opened_last() -> Path | None:
    """The dataset that was open last in Dataset Preparation, if it is there; else the one that was used last anywhere."""
    return next((one for one in (*_noted(OPENED)[:1], *recent()[:1]) if one.is_dir()), None)


def _own() -> list[Path]:
    try:
        return [one for one in sorted(places.datasets().iterdir()) if one.is_dir() and not one.name.startswith(".")]
    except OSError:
        return []


def _is_mask(stem: str, folder: str, root: Path, known: set[str]) -> bool:
    """Whether a file has the name of a mask; no file is opened."""
    twin = next((stem.removesuffix(end) for end in folders.MASK_ENDINGS if stem.endswith(end)), None)
    return (twin is not None and twin in known) or folders.folder_key(Path(folder).relative_to(root)) == "mask"


def _folders(root: Path) -> Iterator[str]:
    """The folder and all below it; hidden ones and links are not entered."""
    for folder, inner, _ in os.walk(root, followlinks=False):
        inner[:] = sorted(
            name for name in inner if not name.startswith(".") and name not in SKIPPED_FOLDERS and name != OWN
        )
        yield folder


def _entries(folder: str) -> Iterator[os.DirEntry[str]]:
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        yield from (one for one in entries if not one.name.startswith(".") and one.is_file())

"""What the file picker may show: the folders that it may open, what is in one of them, and the folders used lately.

The page is not trusted: every path that it sends is resolved, with its symbolic links, and refused unless it is in one of the
roots.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer_core import places
from trainer_core.errors import EaselError
from trainer_core.files import set_aside, write_whole
from trainer_core.jobs.folder import json_object, json_text
from trainer_core.text import printable

MACHINES = ("/content", "/kaggle/input", "/kaggle/working", "/workspace", "/notebooks")
"""Folders of Colab, Kaggle, RunPod and Paperspace where people keep their files, where they exist."""
MOST_ENTRIES = 400
MOST_READ = 20_000
"""How many entries of a folder are read: a picker must answer at once, also in a folder with a million files."""
MOST_RECENT = 6
MOST_FIELDS = 60
MODELS = (".safetensors", ".sft", ".ckpt", ".pt", ".pth", ".bin", ".gguf")

WEIGHTS = (*MODELS, ".index.json")
"""Also the index of a model in several files."""


class NotAllowedError(EaselError):
    """A path that the picker may not open."""


@dataclass(frozen=True)
class Place:
    """A folder from which the picker may start, and why it is offered."""

    path: Path
    title: str


@dataclass(frozen=True)
class Item:
    """A file or folder in a listing; `size_bytes` is 0 for a folder."""

    name: str
    path: Path
    is_folder: bool
    size_bytes: int = 0


@dataclass(frozen=True)
class Listing:
    """What is in a folder: folders first, by name. `parent` is None at a root; `left_out` is how many entries are not listed."""

    path: Path
    parent: Path | None
    items: tuple[Item, ...]
    left_out: int = 0


def roots() -> tuple[Place, ...]:
    """The folders that the picker may open, each with what is in it; those that exist, each once."""
    from trainer_core.models import library

    found = [
        Place(places.models(), "Easel's models"),
        Place(places.outputs(), "Results of your trainings"),
        Place(places.datasets(), "Datasets"),
    ]
    others = [root for root in library.roots().folders if root.app != "easel"]
    apps = [root.because for root in others]
    found += [
        Place(root.path, f"Models: {root.because}" + (f", {root.path.name}" if apps.count(root.because) > 1 else ""))
        for root in others
    ]
    found += [Place(Path.home(), "Home"), Place(places.home(), "Easel's folder")]
    if (shown := places.notebook_root()) is not None:
        found.append(Place(shown, "Notebooks"))
    found += [Place(Path(text), text) for text in MACHINES]
    unique: dict[str, Place] = {}
    for place in found:
        if places.is_folder(place.path):
            unique.setdefault(os.path.realpath(place.path), place)
    return tuple(unique.values())


def first_folders(field: str, *, models: bool) -> list[Path]:
    """The folders in which a picker may begin, the best first: that used last for this field, then that used last for any.

    With `models`, those follow in which models are: Easel's, where there is one already, and those of other programs.
    """
    found = [*([last] if (last := used_for(field)) is not None else []), *recent()]
    if models:
        known = [root.path for root in roots() if root.title == "Easel's models" or root.title.startswith("Models: ")]
        found += [path for path in known if not _is_empty(path)]
    return [*found, Path.home(), *(root.path for root in roots())]


def _is_empty(folder: Path) -> bool:
    try:
        with os.scandir(folder) as entries:
            return next((one for one in entries if not one.name.startswith(".")), None) is None
    except OSError:
        return True


def allowed(path: str | Path, among: Sequence[Place]) -> Path:
    """The real path of a file or folder in one of the roots.

    Raises:
        NotAllowedError: it does not exist, or it is outside of the roots, perhaps behind a symbolic link.
    """
    text = str(path)
    if not text or "\0" in text:
        raise NotAllowedError("This is not a path.")
    real = Path(os.path.realpath(text))
    if not any(real.is_relative_to(os.path.realpath(root.path)) for root in among):
        raise NotAllowedError(
            f"{printable(text, 200)} is not in a folder that Easel may show.",
            "Type its path into the field, or add its folder: easel models folders add FOLDER",
        )
    if not places.is_there(real):
        raise NotAllowedError(f"{printable(text, 200)} does not exist any more.")
    return real


def look(path: str | Path, among: Sequence[Place], extensions: Iterable[str] = (), find: str = "") -> Listing:
    """What is in a folder of the roots: its folders, and the files with one of these endings ("" and () for all).

    Hidden entries, links that lead out of the roots, and names that are not text are left out. `find` is a part of the names.

    Raises:
        NotAllowedError: the folder may not be shown, or cannot be read.
    """
    folder = allowed(path, among)
    endings, wanted = tuple(ending.lower() for ending in extensions), find.casefold()
    items: list[Item] = []
    left_out = 0
    try:
        with os.scandir(folder) as entries:
            for number, entry in enumerate(entries):
                if number >= MOST_READ:
                    left_out += 1
                    break
                if wanted in entry.name.casefold() and (item := _item(entry, among, endings)) is not None:
                    items.append(item)
    except OSError as error:
        why = error.strerror or "unknown error"
        raise NotAllowedError(f"{printable(str(folder), 200)} cannot be read: {why}.") from error
    items.sort(key=lambda item: (not item.is_folder, item.name.casefold()))
    is_root = any(folder == Path(os.path.realpath(root.path)) for root in among)
    parent = None if is_root and not _is_inside(folder.parent, among) else folder.parent
    return Listing(folder, parent, tuple(items[:MOST_ENTRIES]), left_out + max(0, len(items) - MOST_ENTRIES))


def _is_inside(path: Path, among: Sequence[Place]) -> bool:
    return any(path.is_relative_to(os.path.realpath(root.path)) for root in among)


def _item(entry: os.DirEntry[str], among: Sequence[Place], endings: tuple[str, ...]) -> Item | None:
    """The entry as it is shown; None if it is not."""
    if entry.name.startswith(".") or not _is_text(entry.name):
        return None
    try:
        if entry.is_symlink() and not _is_inside(Path(os.path.realpath(entry.path)), among):
            return None
        if entry.is_dir():
            return Item(entry.name, Path(entry.path), True)
        if not entry.is_file() or (endings and not entry.name.lower().endswith(endings)):
            return None
        return Item(entry.name, Path(entry.path), False, entry.stat().st_size)
    except OSError:
        return None  # a link that leads nowhere, or an entry that was deleted meanwhile


def _is_text(name: str) -> bool:
    """Whether a name can be sent to the page and comes back as it was."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def recent() -> tuple[Path, ...]:
    """The folders that were used lately, the newest first; without those that are gone."""
    kept = _kept().get("folders")
    texts = [text for text in kept if isinstance(text, str) and text] if isinstance(kept, list) else []
    return tuple(path for path in map(Path, texts[:MOST_RECENT]) if places.is_folder(path))


def used_for(field: str) -> Path | None:
    """The folder that was used last for this field; None if there is none, or it is gone."""
    text = _by_field().get(field)
    path = Path(text) if text else None
    return path if path is not None and places.is_folder(path) else None


def _by_field() -> dict[str, str]:
    kept = _kept().get("fields")
    rows = kept.items() if isinstance(kept, dict) else ()
    return {name: text for name, text in rows if isinstance(name, str) and isinstance(text, str) and text}


def _kept() -> Mapping[str, Any]:
    try:
        return json_object(_memory().read_bytes()) or {}
    except OSError:
        return {}


def remember(folder: Path, field: str = "") -> None:
    """Keeps a folder as the one used last, and as that of a field, if Easel's home can be written."""
    kept = [str(folder), *(str(path) for path in recent() if path != folder)][:MOST_RECENT]
    fields = {name: text for name, text in _by_field().items() if name != field}
    if field:
        fields = {field: str(folder), **fields}
    fields = dict(list(fields.items())[:MOST_FIELDS])
    with contextlib.suppress(OSError):
        if _memory().is_file() and json_object(_memory().read_bytes()) is None:
            set_aside(_memory())
        write_whole(_memory(), json_text({"folders": kept, "fields": fields}), personal=True)


def _memory() -> Path:
    return places.home() / "recent-folders.json"

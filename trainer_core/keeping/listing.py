"""What is in a folder: names, sizes, dates and kinds, in any order, and the space on its disk. No file is opened."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from trainer_core.errors import FilesError
from trainer_core.keeping import bounds
from trainer_core.keeping.bounds import Spot
from trainer_core.text import printable

Link = Literal["", "inside", "outside", "broken"]
MOST_ENTRIES = 50_000
"""How many names of a folder are read."""
MOST_MEASURED, LONGEST_MEASURE_S = 500_000, 5.0
_ENDINGS = {
    "model": (".safetensors", ".sft", ".ckpt", ".pt", ".pth", ".bin", ".gguf", ".onnx"),
    "image": (".png", ".jpg", ".jpeg", ".webp", ".avif", ".bmp", ".gif", ".heic", ".heif", ".jxl", ".tif", ".tiff"),
    "text": (".txt", ".caption", ".json", ".jsonl", ".csv", ".toml", ".yaml", ".yml", ".md", ".log"),
    "archive": (".zip", ".tar", ".gz", ".tgz", ".7z", ".rar", ".xz", ".zst"),
}
_KINDS = {ending: kind for kind, endings in _ENDINGS.items() for ending in endings}
SORTS: dict[str, Callable[[Entry], Any]] = {
    "name": lambda one: one.name.casefold(),
    "size": lambda one: one.size_bytes,
    "date": lambda one: one.modified_s,
    "kind": lambda one: (one.kind, one.name.casefold()),
}


@dataclass(frozen=True)
class Entry:
    """A file or folder. `modified_s` is a Unix time; the size of a folder is 0: `measure` counts it.

    `link` says whether it is a link, and whether it leads to something in the root, out of it, or nowhere.
    """

    name: str
    kind: str
    size_bytes: int
    modified_s: float
    is_folder: bool
    link: Link = ""

    def as_dict(self) -> dict[str, Any]:
        """It as JSON data."""
        return {
            "name": self.name,
            "kind": self.kind,
            "bytes": self.size_bytes,
            "modified": self.modified_s,
            "folder": self.is_folder,
            "link": self.link,
        }


@dataclass(frozen=True)
class Listing:
    """What is in a folder. `left_out` is how many names are not listed: they are hidden, cannot be shown as text, or are too many."""

    spot: Spot
    entries: tuple[Entry, ...]
    left_out: int = 0


@dataclass(frozen=True)
class Space:
    """The space on the disk of a root, in bytes."""

    free: int
    total: int


@dataclass(frozen=True)
class Size:
    """How much is in a file or folder; `is_partial` if it is so much that the counting was ended.

    `left_out` are those of the files that a download or a zip leaves out, because they are hidden or links, such as the part of a
    file that is not complete; `left_out_bytes` is their size.
    """

    size_bytes: int
    files: int
    is_partial: bool = False
    left_out: int = 0
    left_out_bytes: int = 0

    @property
    def sent(self) -> Size:
        """What a download or a zip of it contains."""
        return Size(self.size_bytes - self.left_out_bytes, self.files - self.left_out, self.is_partial)

    def __add__(self, other: Size) -> Size:
        """Both together."""
        return Size(
            self.size_bytes + other.size_bytes,
            self.files + other.files,
            self.is_partial or other.is_partial,
            self.left_out + other.left_out,
            self.left_out_bytes + other.left_out_bytes,
        )


def look(spot: Spot) -> Listing:
    """What is in a folder, by name; a root that does not exist yet is empty.

    Raises:
        FilesError: it is no folder, it lies outside, or it cannot be read.
    """
    path = bounds.entered(spot)
    if not spot.parts and not os.path.lexists(path):
        return Listing(spot, ())
    found: list[Entry] = []
    left_out = 0
    try:
        with os.scandir(path) as entries:
            for each in entries:
                entry = _entry(each, spot) if len(found) < MOST_ENTRIES else None
                if entry is not None:
                    found.append(entry)
                elif not each.name.startswith("."):
                    left_out += 1
    except OSError as error:
        why = error.strerror or "unknown error"
        raise FilesError(f"{printable(spot.text, 300)} cannot be shown: {why}.", "Open another folder.") from error
    return Listing(spot, ordered(found), left_out)


def entry(spot: Spot) -> Entry:
    """What is at a spot.

    Raises:
        FilesError: there is nothing, or it lies outside.
    """
    path = bounds.inside(spot)
    try:
        about = path.lstat()
    except (OSError, ValueError) as error:
        raise FilesError(f"{printable(spot.text, 300)} does not exist any more.", "Reload the folder.") from error
    return _of(path.name, path, about, spot)


def ordered(
    entries: Sequence[Entry], by: str = "name", *, descending: bool = False, find: str = ""
) -> tuple[Entry, ...]:
    """The entries whose name contains `find`, in this order; folders come first."""
    wanted = find.casefold()
    chosen = [one for one in entries if wanted in one.name.casefold()]
    chosen.sort(key=lambda one: one.name.casefold())
    chosen.sort(key=SORTS.get(by, SORTS["name"]), reverse=descending)
    chosen.sort(key=lambda one: not one.is_folder)
    return tuple(chosen)


def measure(spot: Spot) -> Size:
    """How large a file is, or all files in a folder; links are not followed.

    Raises:
        FilesError: it lies outside.
    """
    path = bounds.inside(spot)
    return measured(path)


def measured(path: Path) -> Size:
    """As `measure`, for any path."""
    total = files = out = out_bytes = 0
    until = time.monotonic() + LONGEST_MEASURE_S
    with contextlib.suppress(OSError):
        about = path.lstat()
        if not stat.S_ISDIR(about.st_mode):
            return Size(about.st_size if stat.S_ISREG(about.st_mode) else 0, 1)
    for place, inner, names in os.walk(path):
        is_hidden = "/." in place[len(str(path)) :]
        # A link to a folder is among the folders, and is not entered.
        links = (each for each in inner if os.path.islink(os.path.join(place, each)))  # noqa: PTH114, PTH118 - as below
        for name in (*names, *links):
            with contextlib.suppress(OSError):
                about = os.lstat(os.path.join(place, name))  # noqa: PTH118 - of half a million names
                is_file = stat.S_ISREG(about.st_mode)
                files += 1
                total += about.st_size if is_file else 0
                if is_hidden or name.startswith(".") or not is_file:
                    out += 1
                    out_bytes += about.st_size if is_file else 0
        if files > MOST_MEASURED or time.monotonic() > until:
            return Size(total, files, True, out, out_bytes)
    return Size(total, files, False, out, out_bytes)


def space(spot: Spot) -> Space | None:
    """The space on the disk of a root; None if it cannot be read."""
    folder = next((one for one in (spot.root.path, *spot.root.path.parents) if one.is_dir()), None)
    try:
        usage = shutil.disk_usage(folder) if folder is not None else None
    except OSError:
        return None
    return Space(usage.free, usage.total) if usage is not None else None


def kind_of(name: str) -> str:
    """The kind of a file by the ending of its name: "model", "image", "text", "archive" or "file"."""
    return _KINDS.get(Path(name).suffix.casefold(), "file")


def _entry(each: os.DirEntry[str], spot: Spot) -> Entry | None:
    if each.name.startswith(".") or not _is_text(each.name):
        return None
    try:
        return _of(each.name, Path(each.path), each.stat(follow_symlinks=False), spot)
    except OSError:
        return None


def _of(name: str, path: Path, about: os.stat_result, spot: Spot) -> Entry:
    link: Link = ""
    if stat.S_ISLNK(about.st_mode):
        link = "inside" if bounds.is_in(path, spot.root) else "outside"
        try:
            about = path.stat()
        except OSError:
            link = "broken"
    is_folder = stat.S_ISDIR(about.st_mode)
    size = about.st_size if stat.S_ISREG(about.st_mode) else 0
    kind = "folder" if is_folder else kind_of(name)
    return Entry(name, kind, size, about.st_mtime, is_folder, link)


def _is_text(name: str) -> bool:
    """Whether a name can be sent to a page, and comes back as it was."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True

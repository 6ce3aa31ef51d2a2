"""Where a result can be copied to: the folders from which ComfyUI, Forge and A1111 read, and one of the user's own choice.

The folder that the user chose last is remembered in <home>/results_folder.toml.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer_core import places
from trainer_core.errors import LibraryError, wrong_use
from trainer_core.files import read_toml, set_aside, write_whole
from trainer_core.models.library import chosen
from trainer_core.models.library.roots import apps, roots
from trainer_core.text import printable

VOLUMES = ("/workspace", "/content", "/kaggle/working", "/mnt", "/media", "/data", "/srv", "/Volumes", "/runpod-volume")
"""Where rented machines and desktops have the user's own folders."""
_VERSION = 1
_LONGEST_BYTES = 100_000


class OutsideError(LibraryError):
    """A folder lies outside of those to which results are copied, and the user has not allowed it."""


@dataclass(frozen=True)
class Destination:
    """A folder from which a program reads results. `app` is its table in apps.toml, `title` what a button calls it."""

    app: str
    title: str
    folder: Path

    def as_dict(self) -> dict[str, Any]:
        """It as JSON data."""
        return {"app": self.app, "title": self.title, "folder": str(self.folder)}


def destinations(kind: str, environment: Mapping[str, str] | None = None) -> tuple[Destination, ...]:
    """The programs on this machine that read results of this kind ("network", "embedding" or "checkpoint"), each once.

    A program is there if one of its model folders is; its folder for the results may be missing, and is made with the first.
    """
    environment = os.environ if environment is None else environment
    found: dict[str, Destination] = {}
    for app, table in apps().items():
        name = table.get("results", {}).get(kind)
        for place in _installed(table, environment) if name else ():
            target = place / name
            if _can_be_written(target):
                found.setdefault(os.path.realpath(target), Destination(app, table["called"], target))
    return tuple(found.values())


def destination(app: str, kind: str, environment: Mapping[str, str] | None = None) -> Destination:
    """The folder of one program.

    Raises:
        LibraryError: the program is not known, or it was not found on this machine.
    """
    table = apps().get(app)
    if table is None or "results" not in table:
        known = ", ".join(name for name, each in apps().items() if "results" in each)
        raise wrong_use(
            LibraryError(f"Easel does not know the folders of {printable(app, 50)!r}.", f"It knows: {known}.")
        )
    for found in destinations(kind, environment):
        if found.app == app:
            return found
    variables = " or ".join(table.get("environment", ()))
    raise LibraryError(f"{table['title']} was not found on this machine.", f"Set {variables} to its folder.")


def of_program(folder: Path, kind: str) -> Destination | None:
    """Where the program whose own folder this is, or its folder for models, reads results of this kind; None if it is no program's.

    Files that lie directly in these folders are seen by no program.
    """
    for app, table in sorted(apps().items(), key=lambda one: not _has_mark(folder, one[1])):
        name = table.get("results", {}).get(kind, "")
        first, _, rest = name.partition("/")
        if name and (_has_mark(folder, table) or (rest and places.is_folder(folder / name))):
            return Destination(app, table["called"], folder / name)
        if rest and folder.name == first and (_has_mark(folder.parent, table) or places.is_folder(folder / rest)):
            return Destination(app, table["called"], folder / rest)
    return None


def _has_mark(folder: Path, table: Mapping[str, Any]) -> bool:
    return any(places.is_there(folder / mark) for mark in table.get("marks", ()))


def own_folder(text: str, environment: Mapping[str, str] | None = None) -> Path:
    """The folder that a user typed, to which a result can be copied; a missing one is made if its parent exists.

    Raises:
        OutsideError: it lies outside of the folders that results may be copied to.
        LibraryError: it cannot be written, or Easel manages it.
    """
    path = Path(os.path.abspath(places.typed(text)))  # noqa: PTH100 - Path.resolve would follow links
    if not text.strip():
        raise LibraryError("No folder was given.", "Enter the path of a folder.")
    real = Path(os.path.realpath(path))
    inside_home = [places.runs(), places.jobs(), places.engines()]
    if any(real.is_relative_to(os.path.realpath(own)) for own in inside_home):
        raise LibraryError(f"{printable(str(path), 300)} is a folder that Easel manages.", "Choose another folder.")
    if not any(real.is_relative_to(root) for root in allowed(environment)):
        raise OutsideError(
            f"{printable(str(path), 300)} lies outside of the folders to which results are copied.",
            "Choose a folder in your home folder or beside your models, or add one: easel models folders add FOLDER",
        )
    if not _can_be_written(path):
        raise LibraryError(f"{printable(str(path), 300)} cannot be written.", "Check the path and its permissions.")
    return path


def allow(text: str) -> None:
    """Adds a folder that the user typed to their own; if it is missing, the nearest folder above it that exists.

    Raises:
        LibraryError: none of its folders exists, it cannot be read, or the list of folders cannot be written.
    """
    path = Path(os.path.abspath(places.typed(text)))  # noqa: PTH100 - Path.resolve would follow links
    found = next(each for each in (path, *path.parents) if each.is_dir())
    if found == Path(found.anchor):
        # All of the disk would be searched for models.
        raise LibraryError(f"{printable(str(path), 300)} does not exist.", "Make the folder, or check its path.")
    if found not in chosen.listed():
        chosen.add(found)


def allowed(environment: Mapping[str, str] | None = None) -> tuple[Path, ...]:
    """The folders in which a folder for results may lie, without links: the user's own, and those with models."""
    environment = os.environ if environment is None else environment
    found = [Path.home(), places.home(), Path.cwd(), *map(Path, VOLUMES)]
    if (root := places.notebook_root()) is not None:
        found.append(root)
    found += [each.path for each in roots(environment).folders if each.app != "kaggle"]
    kept = (Path(os.path.realpath(each)) for each in found)
    return tuple(each for each in dict.fromkeys(kept) if each != Path(each.anchor))


def remembered() -> Path | None:
    """The folder that the user chose last, if it can still be used."""
    try:
        table = _table()
        folder = table.get("folder")
        return own_folder(folder) if isinstance(folder, str) and table.get("version") == _VERSION else None
    except LibraryError:
        return None


def remember(folder: Path) -> None:
    """Keeps the folder that the user chose.

    Raises:
        LibraryError: Easel's home cannot be written.
    """
    import tomli_w

    try:
        try:
            _table()
        except LibraryError:
            set_aside(_kept_in())
        write_whole(_kept_in(), tomli_w.dumps({"version": _VERSION, "folder": str(folder)}).encode())
    except (OSError, UnicodeError) as error:
        raise LibraryError(f"{_kept_in()} cannot be written: {error}.", "Check its permissions.") from error


def _table() -> dict[str, Any]:
    """What the file says.

    Raises:
        LibraryError: there is none, or it is damaged.
    """
    return read_toml(_kept_in(), LibraryError, "", _LONGEST_BYTES)


def _kept_in() -> Path:
    return places.home() / "results_folder.toml"


def _installed(table: Mapping[str, Any], environment: Mapping[str, str]) -> Iterator[Path]:
    """The places where a program is installed, those that a variable names first."""
    named = [environment[name] for name in table.get("environment", ()) if environment.get(name)]
    for text in (*named, *table.get("usual", ())):
        place = places.typed(text)
        if any(places.is_folder(place / name) for name in table["folders"]):
            yield place


def _can_be_written(folder: Path) -> bool:
    """Whether a folder can be written, or made in a parent that exists."""
    place = folder if places.is_there(folder) else folder.parent
    return places.is_folder(place) and os.access(place, os.W_OK | os.X_OK)

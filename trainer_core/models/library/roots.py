"""The folders that are searched for models: Easel's own, those of other programs, and those the user added."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer_core import places
from trainer_core.errors import LibraryError
from trainer_core.files import read_toml
from trainer_core.models.library import chosen, extra_paths

ADDED = "EASEL_MODEL_FOLDERS"
"""The environment variable with model folders, separated as in PATH."""


@dataclass(frozen=True)
class Root:
    """A folder that is searched with all its subfolders.

    `app` is the program it belongs to ("easel", "yours", or a table of apps.toml); `because` says why it is searched.
    """

    path: Path
    app: str
    because: str


@dataclass(frozen=True)
class Roots:
    """The existing folders, each once, in the order of the search, and notices about folders that do not exist."""

    folders: tuple[Root, ...]
    notices: tuple[str, ...] = ()


def roots(environment: Mapping[str, str] | None = None) -> Roots:
    """Every folder that is searched for models. A named folder that does not exist gives a notice, never an error."""
    environment = os.environ if environment is None else environment
    found = [Root(places.models(), "easel", "Easel's models"), Root(places.outputs(), "easel", "Easel's results")]
    notices: list[str] = []
    found += _added(environment, notices)
    for app, table in apps().items():
        found += _of_app(app, table, environment, notices)
    unique: dict[str, Root] = {}
    for root in found:
        if places.is_folder(root.path):
            unique.setdefault(os.path.realpath(root.path), root)
    return Roots(tuple(unique.values()), tuple(notices))


@functools.cache
def apps() -> Mapping[str, Mapping[str, Any]]:
    """The programs whose folders Easel knows, by id: the tables of apps.toml."""
    return read_toml(Path(__file__).with_name("apps.toml"), LibraryError, "Install Easel again.")


def _added(environment: Mapping[str, str], notices: list[str]) -> Iterator[Root]:
    """The folders that the user added with the environment variable and with `easel models folders add`."""
    named = [places.typed(text) for text in environment.get(ADDED, "").split(os.pathsep) if text]
    try:
        kept = chosen.listed()
    except LibraryError as error:
        kept = ()
        notices.append(str(error))
    for folders, because in ((named, f"in {ADDED}"), (kept, "added by you")):
        for folder in folders:
            if not places.is_folder(folder):
                notices.append(f"{folder} ({because}) is not a folder that can be read.")
            yield Root(folder, "yours", because)


def _of_app(app: str, table: Mapping[str, Any], environment: Mapping[str, str], notices: list[str]) -> Iterator[Root]:
    title = table["title"]
    for variable in table.get("environment", ()):
        if text := environment.get(variable, ""):
            place = places.typed(text)
            if not any(places.is_folder(place / name) for name in table["folders"]):
                wanted = " or ".join(table["folders"])
                notices.append(f"{variable} is {place}, which contains no folder called {wanted}.")
            yield from _below(app, table, place, f"{title}, by {variable}", notices)
    for text in table.get("usual", ()):
        yield from _below(app, table, places.typed(text), title, notices)


def _below(app: str, table: Mapping[str, Any], place: Path, because: str, notices: list[str]) -> Iterator[Root]:
    """The model folders of a program that is installed at a place."""
    for name in table["folders"]:
        yield Root(place / name, app, because)
    extra = place / table.get("extra_paths", "")
    if "extra_paths" in table and places.is_there(extra):
        folders, wrong = extra_paths.read(extra)
        notices += wrong
        yield from (Root(folder, app, f"{because}, in {extra.name}") for folder in folders)

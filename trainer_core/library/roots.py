"""Where models are looked for: Easel's own folders, those of other programs, and those a person added."""

from __future__ import annotations

import functools
import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer_core import places
from trainer_core.errors import LibraryError
from trainer_core.library import chosen, extra_paths

ADDED = "EASEL_MODEL_FOLDERS"
"""The variable that names folders of models, separated as in PATH."""


@dataclass(frozen=True)
class Root:
    """A folder that is searched with all below it.

    `app` is the program it belongs to ("easel", "yours", or a table of apps.toml), `because` says why it is looked at.
    """

    path: Path
    app: str
    because: str


@dataclass(frozen=True)
class Roots:
    """The folders that are there, each once, in the order they are searched, and notices about those that are not."""

    folders: tuple[Root, ...]
    notices: tuple[str, ...] = ()


def roots(environment: Mapping[str, str] | None = None) -> Roots:
    """Every folder that models are looked for in. What is named and not there is a notice, never an error."""
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
    """The programs whose folders are known, by id: the tables of apps.toml."""
    return tomllib.loads(Path(__file__).with_name("apps.toml").read_text("utf-8"))


def _added(environment: Mapping[str, str], notices: list[str]) -> Iterator[Root]:
    """The folders a person added, by the variable and by `easel models folders add`."""
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
                notices.append(f"{variable} names {place}, which holds no folder called {wanted}.")
            yield from _below(app, table, place, f"{title}, by {variable}", notices)
    for text in table.get("usual", ()):
        yield from _below(app, table, places.typed(text), title, notices)


def _below(app: str, table: Mapping[str, Any], place: Path, because: str, notices: list[str]) -> Iterator[Root]:
    """The folders of models of a program that lies at a place."""
    for name in table["folders"]:
        yield Root(place / name, app, because)
    extra = place / table.get("extra_paths", "")
    if "extra_paths" in table and places.is_there(extra):
        folders, wrong = extra_paths.read(extra)
        notices += wrong
        yield from (Root(folder, app, f"{because}, in {extra.name}") for folder in folders)

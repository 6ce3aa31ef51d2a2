"""The recipe of a new model file: which tool made it of which inputs, with which settings, so that it can be made again.

It is JSON in the metadata of the file, under `easel.recipe`, and names no folder.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer_core import __version__
from trainer_core.errors import WeightsError
from trainer_core.models.header import Header
from trainer_core.models.header.tensors import shown
from trainer_core.text import printable

KEY = "easel.recipe"
MERGED_FROM = "modelspec.merged_from"
NO_LONGER_TRUE = frozenset(
    {"sshs_model_hash", "sshs_legacy_hash", "modelspec.hash_sha256", "modelspec.date", "modelspec.title", KEY}
)
"""The metadata of an input that is false for a file made of it: hashes of its tensors, its name and its date."""
CHUNK_BYTES = 4 << 20
LARGEST_RECIPE = 1 << 20
"""The most characters of a recipe that is read."""


@dataclass(frozen=True)
class Input:
    """A file that a recipe names, with its size in bytes and the SHA-256 of its bytes, in hexadecimal digits."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Recipe:
    """What made a file. The settings have names of files, not paths, in the order of `inputs`."""

    tool: str
    version: str
    settings: Mapping[str, Any]
    inputs: tuple[Input, ...]

    def text(self) -> str:
        """The recipe as JSON, always the same text for the same recipe."""
        table = {
            "tool": self.tool,
            "version": self.version,
            "settings": dict(self.settings),
            "inputs": [{"name": each.name, "size": each.size, "sha256": each.sha256} for each in self.inputs],
        }
        return json.dumps(table, sort_keys=True, separators=(",", ":"))


def of(tool: str, settings: Mapping[str, Any], inputs: Iterable[Input]) -> Recipe:
    """The recipe of a file that this version of Easel makes."""
    return Recipe(tool, __version__, settings, tuple(inputs))


def metadata(first: Mapping[str, str], recipe: Recipe, title: str, merged: Iterable[str] = ()) -> dict[str, str]:
    """The metadata of a new file: that of its first input as far as it is still true, and the recipe.

    `merged` are the names of the models that were merged into it.
    """
    kept = {key: value for key, value in first.items() if key not in NO_LONGER_TRUE}
    names = ", ".join(name.removesuffix(".safetensors") for name in merged)
    own = {"modelspec.title": title, MERGED_FROM: names, KEY: recipe.text()}
    return {**kept, **{key: value for key, value in own.items() if value}}


def hashed(header: Header) -> Input:
    """A file as an input of a recipe. The files of a model in several are hashed one after another, in their order.

    Raises:
        OSError: a file cannot be read.
    """
    files: Sequence[Path] = header.files or (header.path,)
    digest, size = hashlib.sha256(), 0
    for path in files:
        with path.open("rb", buffering=0) as file:
            buffer = bytearray(CHUNK_BYTES)
            view = memoryview(buffer)
            while count := file.readinto(buffer):
                digest.update(view[:count])
                size += count
    return Input(header.path.name, size, digest.hexdigest())


def check(found: Sequence[Input], hashes: Sequence[str]) -> None:
    """Checks that files are those of a recipe, if there are hashes to check.

    Raises:
        WeightsError: one is another file.
    """
    for own, wanted in zip(found, hashes, strict=bool(hashes)):
        if own.sha256 != wanted:
            raise WeightsError(
                f"{shown(own.name)} is not the file of the recipe: its SHA-256 is {own.sha256[:12]}..., not {wanted[:12]}...",
                "Look for the file with that hash.",
            )


def read(text: str, tool: str) -> Recipe:
    """The recipe in a JSON text from outside.

    Raises:
        WeightsError: it is not a recipe of this tool.
    """
    wrong = WeightsError(f"This is not a recipe of `easel {tool}`.", "Choose a file that Easel has made.")
    if len(text) > LARGEST_RECIPE:
        raise wrong
    try:
        table = json.loads(text)
        inputs = tuple(
            Input(printable(str(each["name"]), 255), int(each["size"]), str(each["sha256"])) for each in table["inputs"]
        )
        settings = table["settings"]
        if table["tool"] != tool or not isinstance(settings, dict):
            raise wrong
        return Recipe(tool, printable(str(table["version"]), 40), settings, inputs)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise wrong from error


def find(
    wanted: Sequence[Input], folders: Sequence[Path], matches: Callable[[Path], bool] = Path.is_file
) -> list[Path]:
    """Where the files of a recipe are: each in the first folder that has a file with its name and size.

    Raises:
        WeightsError: one is in none of the folders.
    """
    return [_found(each, folders, matches) for each in wanted]


def _found(wanted: Input, folders: Sequence[Path], matches: Callable[[Path], bool]) -> Path:
    # The name is from outside, and must not lead out of a folder.
    if wanted.name in ("", ".", "..") or Path(wanted.name).name != wanted.name:
        raise WeightsError(f"The recipe names {wanted.name!r:.80}, which is not the name of a file.", "")
    for folder in folders:
        path = folder / wanted.name
        if matches(path) and path.stat().st_size == wanted.size:
            return path
    raise WeightsError(
        f"{wanted.name} with {wanted.size} bytes, which the recipe needs, is in none of the folders: "
        f"{', '.join(map(str, folders))}.",
        "Name the folder that has it with --search.",
    )

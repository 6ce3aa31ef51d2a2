"""The local captioners that Easel knows: for each, its repository, its class in transformers and how it is asked, as a row of a table."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from trainer_core.errors import DatasetError, wrong_use
from trainer_core.files import read_rows

ENVIRONMENT = "captioner"
"""The environment of tools in which all of them run."""
FILES = ("config.json", "*.json", "*.safetensors", "*.txt", "*.jinja", "*.model")
"""What is fetched of a repository; no code, and no weights as pickles."""


@dataclass(frozen=True, kw_only=True)
class Captioner:
    """A model that writes captions on this machine. `purpose` says in a sentence what it is for. `memory_gib` is what it needs, about, in 16 bits a weight.

    With the form "task" the model is sent `task` instead of a question; with "chat" the question, after `system`.
    """

    id: str
    title: str
    purpose: str
    repository: str
    loader: str
    form: Literal["task", "chat"]
    memory_gib: float
    size_gib: float
    licence: str
    terms: str
    task: str = ""
    system: str = ""

    @property
    def files(self) -> tuple[str, ...]:
        """The files of the repository that are needed."""
        return FILES


@functools.cache
def captioners() -> Mapping[str, Captioner]:
    """The local captioners by id."""
    return read_rows(Path(__file__).with_suffix(".toml"), Captioner)


def get(name: str) -> Captioner:
    """The local captioner with this id.

    Raises:
        DatasetError: there is none.
    """
    if name not in captioners():
        raise wrong_use(DatasetError(f"There is no captioner {name!r:.60}.", f"Known: {', '.join(captioners())}."))
    return captioners()[name]

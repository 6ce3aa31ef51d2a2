"""What each training method makes, from how many images, and how large its result is, as data."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trainer_core.files import read_rows

FILE = Path(__file__).with_name("methods.toml")


@dataclass(frozen=True)
class Method:
    """One training method.

    `makes` says what the training makes, `images` how many images it needs, `size` how large the result is, all for people.
    `least_images` is the same as a number: with fewer, the user is warned.
    `values` are recommended settings by dotted path, with their `reasons`. `result` is the word for what it makes: "model", "embedding"; `notebook` the notebook that trains with it.
    """

    id: str
    title: str
    makes: str
    images: str
    size: str
    result: str
    notebook: str
    sources: tuple[str, ...]
    least_images: int
    values: Mapping[str, Any] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)


@functools.cache
def shipped() -> Mapping[str, Method]:
    """The methods by id, in the order of the file.

    Raises:
        EaselError: the file cannot be read.
    """
    return read_rows(FILE, Method)

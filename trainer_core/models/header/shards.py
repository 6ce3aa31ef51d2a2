"""Finds the number of a shard, its index, and the missing shards of the same model."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from trainer_core.text import amount

# Source: huggingface_hub serialization/_base.py, the names of shards; the index has the name of the whole file.
NAME = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})(?P<ending>\.safetensors|\.bin)")
MOST = 1000
"""The largest number of shards whose names are looked up."""


@dataclass(frozen=True)
class Shard:
    """One file of a model in several files.

    `index` is the name of the index in the same folder, "" without one; `missing` are the numbers of the missing shards.
    """

    number: int
    count: int
    index: str = ""
    missing: tuple[int, ...] = ()


def of(path: Path) -> Shard | None:
    """The shard that a file is, according to its name; None for a whole model, also if it is the only shard."""
    name = NAME.fullmatch(path.name)
    number, count = (int(name["number"]), int(name["count"])) if name else (0, 0)
    if name is None or count < 2 or not 0 < number <= count:
        return None
    index = f"{name['stem']}{name['ending']}.index.json"
    names = (f"{name['stem']}-{each:05}-of-{count:05}{name['ending']}" for each in range(1, min(count, MOST) + 1))
    missing = tuple(each for each, other in enumerate(names, 1) if not path.with_name(other).is_file())
    return Shard(number, count, index if path.with_name(index).is_file() else "", missing)


def loose(folder: Path) -> str:
    """The shards in a folder in words, such as "2 files of a model"; "" if it has none."""
    count = sum(of(place) is not None for place in folder.glob("*-of-*"))
    return f"{amount(count, 'file')} of a model" if count else ""

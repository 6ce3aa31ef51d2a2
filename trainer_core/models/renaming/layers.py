"""Which layers of a denoiser stand for each other in the names of its original code and in those of diffusers: layers.toml."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from trainer_core.errors import RenamingError
from trainer_core.files import from_table, read_toml
from trainer_core.models.renaming import HINT

NUMBER = "#"


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table of layers.toml, which describes the keys."""

    families: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...] = ()
    blocks: tuple[tuple[str, str], ...] = ()
    inner: tuple[tuple[str, ...], ...] = ()
    sizes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    swapped: tuple[str, ...] = ()
    swapped_last: tuple[str, ...] = ()


class Part(NamedTuple):
    """A part of an original layer that is a layer of its own in diffusers.

    It has `size` of the `of` equal parts of the original rows, from `start` on. `swapped`: its two halves are in the other order.
    """

    name: str
    start: int
    size: int
    of: int
    swapped: bool = False


class Joined(NamedTuple):
    """The original layer that a layer of diffusers is a part of, and which part."""

    original: str
    part: Part


@dataclass(frozen=True)
class _Row:
    original: str
    names: tuple[str, ...]
    sizes: tuple[int, ...]
    swapped: bool = False


@functools.lru_cache(maxsize=20_000)
def parts(family: str, original: str) -> tuple[Part, ...]:
    """The layers of diffusers that an original layer stands for, in the order of its rows; () if it has the same name there."""
    for pattern, row in _patterns(family)[0]:
        if found := pattern.fullmatch(original):
            return tuple(_parts(row, found.groups()))
    return ()


@functools.lru_cache(maxsize=20_000)
def joined(family: str, name: str) -> tuple[Joined, ...]:
    """The original layers that a layer of diffusers may be a part of; () if it has the same name there.

    There are several where the variants of a family differ: the one that a file has is meant.
    """
    found = []
    for pattern, row, place in _patterns(family)[1]:
        if match := pattern.fullmatch(name):
            numbers = match.groups()
            found.append(Joined(_filled(row.original, numbers), list(_parts(row, numbers))[place]))
    return tuple(found)


def is_swapped_only_last(family: str, original: str) -> bool:
    """Whether diffusers swaps the halves of this layer only in the last block, which a file shows by the layer's shape."""
    table = _table(family)
    return table is not None and any(
        _pattern(each).fullmatch(original) for each in (table.swapped_last if table else ())
    )


def _parts(row: _Row, numbers: tuple[str, ...]) -> Iterator[Part]:
    start, of = 0, sum(row.sizes)
    for name, size in zip(row.names, row.sizes, strict=True):
        yield Part(_filled(name, numbers), start, size, of, row.swapped)
        start += size


@functools.cache
def _patterns(
    family: str,
) -> tuple[list[tuple[re.Pattern[str], _Row]], list[tuple[re.Pattern[str], _Row, int]]]:
    rows = list(_rows(family))
    forwards = [(_pattern(row.original), row) for row in rows]
    backwards = [(_pattern(name), row, place) for row in rows for place, name in enumerate(row.names)]
    return forwards, backwards


def _rows(family: str) -> Iterator[_Row]:
    table = _table(family)
    if table is None:
        return
    for original, *names in table.rows:
        sizes = table.sizes.get(original, (1,) * len(names))
        yield _Row(original, tuple(names), sizes, original in table.swapped)
    for start, other in table.blocks:
        for original, *names in table.inner:
            full = f"{start}.{original}"
            sizes = table.sizes.get(full, (1,) * len(names))
            yield _Row(full, tuple(f"{other}.{name}" for name in names), sizes)
        # What `inner` does not have: the same in both. It stands last, so that it has only what is left.
        if start != other:
            yield _Row(f"{start}.*", (f"{other}.*",), (1,))


@functools.cache
def _pattern(template: str) -> re.Pattern[str]:
    """A template as a pattern: # is a number, and * at the end is everything else."""
    return re.compile(re.escape(template).replace(r"\#", r"(\d+)").replace("#", r"(\d+)").replace(r"\*", "(.+)"))


def _filled(template: str, values: tuple[str, ...]) -> str:
    for value in values:
        at = min(place for place in (template.find(NUMBER), template.find("*")) if place >= 0)
        template = template[:at] + value + template[at + 1 :]
    return template


def _table(family: str) -> Table | None:
    return next((table for table in _tables() if family in table.families), None)


@functools.cache
def _tables() -> tuple[Table, ...]:
    path = Path(__file__).with_name("layers.toml")
    rows = read_toml(path, hint=HINT)["tables"]
    return tuple(from_table(Table, row, path.name, RenamingError, HINT) for row in rows)

"""Conversions between layouts whose tensors are cut, joined and turned: each new tensor is built of rows of old ones.

No number changes. Unlike `renaming.pieces`, a new tensor can have rows of several old ones, in several files.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from trainer_core.errors import RenamingError
from trainer_core.models import renaming
from trainer_core.models.renaming import Form, Renaming
from trainer_core.text import printable

if TYPE_CHECKING:
    from trainer_core.models.header import TensorInfo

MOST_STEPS = 3
"""How many conversions may follow one another between two layouts."""


class Part(NamedTuple):
    """Rows of an old tensor, along its first dimension. A tensor without dimensions is one row. `file` counts the inputs."""

    file: int
    name: str
    first: int
    rows: int


@dataclass(frozen=True)
class Built:
    """A tensor of a new file: its parts, one below the other. `turned` is its shape before its two dimensions were swapped."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    parts: tuple[Part, ...]
    turned: tuple[int, int] | None = None

    @property
    def is_copy(self) -> bool:
        """Whether it has the bytes of its parts in their order."""
        return self.turned is None

    @property
    def rows(self) -> int:
        """How many rows it has, before it is turned."""
        return sum(part.rows for part in self.parts)


def whole(name: str, info: TensorInfo, file: int = 0) -> Built:
    """A tensor as it is."""
    return Built(name, info.dtype, info.shape, (Part(file, name, 0, info.shape[0] if info.shape else 1),))


def layouts(kind: str) -> Mapping[str, str]:
    """The layouts of a kind, each with a tensor name that only this layout has."""
    return {**renaming.layouts(kind), **renaming.table_of("conversions.toml")[0].get(kind, {})}


def layout_of(kind: str, names: Collection[str]) -> str:
    """The layout of the tensor names of a kind, without a prefix; "" if it is unknown."""
    return next((layout for layout, mark in layouts(kind).items() if mark in names), "")


def steps(kind: str, layout: str, to: str) -> list[Renaming] | None:
    """The conversions, in turn, from one layout of a kind to another; None if there are none."""
    rows = [row for name in ("renamings.toml", "conversions.toml") for row in renaming.table_of(name)[1]]
    reached: dict[str, list[Renaming]] = {layout: []}
    for _ in range(MOST_STEPS):
        if to in reached:
            break
        for row in rows:
            if kind in row.kinds and row.source in reached and row.to not in reached:
                reached[row.to] = [*reached[row.source], row]
    return reached.get(to)


def converted(kind: str, tensors: Mapping[str, Built], form: Form, to: Form) -> dict[str, Built]:
    """The tensors of a kind in another form. Tensors without the prefix of `form` are left out.

    Raises:
        RenamingError: there is no such conversion, or the tensors do not have that form.
    """
    found = steps(kind, form.layout, to.layout)
    if found is None:
        raise RenamingError(f"Easel has no conversion of {kind} from the layout {form.layout} to {to.layout}.")
    mine = {name[len(form.prefix) :]: each for name, each in tensors.items() if name.startswith(form.prefix)}
    for row in found:
        mine = _changed(mine, row)
    return {to.prefix + name: replace(each, name=to.prefix + name) for name, each in mine.items()}


def _changed(tensors: Mapping[str, Built], row: Renaming) -> dict[str, Built]:
    names = [name for name in tensors if not any(re.search(pattern, name) for pattern in row.drop)]
    left = {name: tensors[name] for name in names}
    made: dict[str, Built] = {}
    for new, each in _renamed(_joined(left, row), tensors, row):
        if new in made or not new:
            raise RenamingError(
                f"Two tensors would be called {printable(new, 120)}.", "The file is not in the layout it seems to have."
            )
        made[new] = each
    return made


def _joined(tensors: Mapping[str, Built], row: Renaming) -> Iterator[tuple[str, Built]]:
    """The tensors, those that `join` names as one."""
    targets: dict[str, tuple[str, list[str]]] = {}
    for pattern, others in row.join.items():
        for name in tensors:
            if found := re.fullmatch(pattern, name):
                *more, target = (found.expand(other) for other in others)
                targets[name] = target, [name, *more]
    used = {name for _, names in targets.values() for name in names}
    for name, each in tensors.items():
        if name in targets:
            target, names = targets[name]
            yield target, _one_below_the_other(target, [tensors.get(part) for part in names], names)
        elif name not in used:
            yield name, each


def _one_below_the_other(target: str, parts: list[Built | None], names: list[str]) -> Built:
    found = [part for part in parts if part is not None]
    if len(found) < len(parts):
        missing = next(name for name, part in zip(names, parts, strict=True) if part is None)
        raise RenamingError(f"The tensor {printable(missing, 120)} is missing.", "Download the model again.")
    if len({(part.dtype, part.shape[1:]) for part in found}) > 1 or any(
        part.turned or not part.shape for part in found
    ):
        raise RenamingError(
            f"The parts of {printable(target, 120)} differ in dtype or shape.", "Convert them to one dtype first."
        )
    height = sum(part.shape[0] for part in found)
    return replace(
        found[0], shape=(height, *found[0].shape[1:]), parts=tuple(each for part in found for each in part.parts)
    )


def _renamed(
    tensors: Iterator[tuple[str, Built]], before: Mapping[str, Built], row: Renaming
) -> Iterator[tuple[str, Built]]:
    for name, given in tensors:
        each = given
        for pattern, lacking in row.swap.items():
            if (found := re.search(pattern, name)) and (not lacking or found.expand(lacking) not in before):
                each = _cut(each, [1, 0], 2, name)
        is_split = False
        for pattern, targets in row.split.items():
            if found := re.fullmatch(pattern, name):
                is_split = True
                for target in dict.fromkeys(targets):
                    places = [place for place, other in enumerate(targets) if other == target]
                    yield _named(found.expand(target), row), _cut(each, places, len(targets), name)
        if not is_split:
            yield _in_shape(name, each, row)


def _in_shape(name: str, each: Built, row: Renaming) -> tuple[str, Built]:
    if len(each.shape) == 2 and any(re.search(pattern, name) for pattern in row.transpose):
        turned = None if each.turned else (each.shape[0], each.shape[1])
        each = replace(each, shape=(each.shape[1], each.shape[0]), turned=turned)
    new = _named(name, row)
    if len(each.shape) == 2 and any(re.search(pattern, new) for pattern in row.sizes):
        each = replace(each, shape=(*each.shape, 1, 1))
    if each.shape[2:] == (1, 1) and any(re.search(pattern, name) for pattern in row.flat):
        each = replace(each, shape=each.shape[:2])
    return new, each


def _cut(each: Built, places: list[int], count: int, name: str) -> Built:
    """Some of the equal parts of a tensor, one below the other."""
    if each.turned or not each.shape or each.shape[0] % count:
        raise RenamingError(
            f"{printable(name, 120)}, of the shape {list(each.shape)}, cannot be cut into {count} equal parts.",
            "The file is not in the layout it seems to have.",
        )
    height = each.shape[0] // count
    parts = tuple(part for place in places for part in _rows(each.parts, place * height, height))
    return replace(each, shape=(height * len(places), *each.shape[1:]), parts=parts)


def _rows(parts: tuple[Part, ...], first: int, rows: int) -> Iterator[Part]:
    """The rows of a tensor from row `first` on, in its parts."""
    position = 0
    for part in parts:
        start, end = max(first - position, 0), min(first + rows - position, part.rows)
        if start < end:
            yield part._replace(first=part.first + start, rows=end - start)
        position += part.rows


def _named(name: str, row: Renaming) -> str:
    for pattern, replacement in row.names:
        name = re.sub(pattern, replacement, name)
    return name

"""The layouts of tensor names that one kind of file can have, and lossless renamings between them. Not: writing files."""

from __future__ import annotations

import functools
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from trainer_core.errors import RenamingError
from trainer_core.files import from_table, read_toml

if TYPE_CHECKING:
    from trainer_core.models.header import TensorInfo

HINT = "Install Easel again."


@dataclass(frozen=True, kw_only=True)
class Renaming:
    """A renaming from one layout to another; renamings.toml and conversions.toml describe the keys."""

    kinds: tuple[str, ...]
    source: str
    to: str
    names: tuple[tuple[str, str], ...] = ()
    drop: tuple[str, ...] = ()
    sizes: tuple[str, ...] = ()
    split: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    transpose: tuple[str, ...] = ()
    join: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    swap: Mapping[str, str] = field(default_factory=dict)
    flat: tuple[str, ...] = ()


class Piece(NamedTuple):
    """One tensor of the new file: a range of the bytes of a tensor in the old one.

    `start` is the offset in the old file, if the header states it; `size` the number of bytes. `turned` is the shape of
    the old matrix if its two dimensions are swapped, else None. A tensor that the old file does not have is all `content`.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    size: int
    turned: tuple[int, int] | None = None
    content: bytes = b""


class Form(NamedTuple):
    """How the tensors of a file are named: the layout, "" if unknown, and the prefix of all its names."""

    layout: str
    prefix: str


@functools.cache
def layouts(kind: str) -> Mapping[str, str]:
    """The layouts of a kind of part or a family, each with a tensor name that only this layout has; empty if none is known."""
    return _tables()[0].get(kind, {})


def form_of(kind: str, names: Collection[str], prefix: str | None = None) -> Form | None:
    """The form of the tensor names of a kind in a file; None if the kind has no known layout, or the file has none of them.

    `prefix` is the prefix of the names, if it is known.
    """
    known = layouts(kind)
    if prefix is not None:
        return next((Form(layout, prefix) for layout, mark in known.items() if prefix + mark in names), None)
    # A name can end with the mark of two layouts: the longer mark is the right one.
    for layout, mark in sorted(known.items(), key=lambda row: -len(row[1])):
        found = [name.removesuffix(mark) for name in names if name.endswith(mark)]
        if fitting := [each for each in found if not each or each.endswith(".")]:
            return Form(layout, min(fitting, key=len))
    return None


def is_possible(kind: str, form: Form, to: Form) -> bool:
    """Whether a file of this kind can be renamed from one form to another without loss."""
    known = layouts(kind)
    return (
        form.layout in known and to.layout in known and (form.layout == to.layout or _find(kind, form, to) is not None)
    )


def pieces(kind: str, tensors: Mapping[str, TensorInfo], form: Form, to: Form) -> list[Piece]:
    """The tensors of the renamed file, in the order of the old one. Tensors without the prefix of `form` are left out.

    Raises:
        RenamingError: this renaming is unknown, or the file does not have that form.
    """
    if not is_possible(kind, form, to):
        raise RenamingError(f"Easel has no renaming of {kind} from the layout {form.layout} to {to.layout}.")
    renaming = _find(kind, form, to)
    mine = {name[len(form.prefix) :]: info for name, info in tensors.items() if name.startswith(form.prefix)}
    made = [piece for name, info in mine.items() for piece in _pieces(name, info, renaming)]
    found = {to.prefix + piece.name: piece._replace(name=to.prefix + piece.name) for piece in made}
    mark = layouts(kind)[to.layout]
    if len(found) < len(made) or to.prefix + mark not in found or any(not piece.name for piece in made):
        raise RenamingError(
            "The file is not in the layout that this renaming is for.", "Download the file in the other layout."
        )
    return list(found.values())


def _pieces(name: str, info: TensorInfo, renaming: Renaming | None) -> Iterator[Piece]:
    size = info.size_bytes
    start = info.start_bytes
    if renaming is None:
        yield Piece(name, info.dtype, info.shape, start, size)
        return
    if any(re.search(pattern, name) for pattern in renaming.drop):
        return
    for pattern, targets in renaming.split.items():
        if found := re.fullmatch(pattern, name):
            part = _divided(info, len(targets))
            for place, target in enumerate(targets):
                each = size // len(targets)
                yield Piece(_renamed(found.expand(target), renaming), info.dtype, part, start + place * each, each)
            return
    shape, turned = info.shape, None
    if any(re.search(pattern, name) for pattern in renaming.transpose) and len(shape) == 2:
        _check_whole_bytes(info)
        shape, turned = (shape[1], shape[0]), (shape[0], shape[1])
    new = _renamed(name, renaming)
    if len(shape) == 2 and any(re.search(pattern, new) for pattern in renaming.sizes):
        shape = (*shape, 1, 1)
    yield Piece(new, info.dtype, shape, start, size, turned)


def _divided(info: TensorInfo, count: int) -> tuple[int, ...]:
    """The shape of each of the equal parts of a tensor."""
    _check_whole_bytes(info)
    if not info.shape or info.shape[0] % count:
        raise RenamingError(f"A tensor of the shape {list(info.shape)} cannot be cut into {count} equal parts.")
    return (info.shape[0] // count, *info.shape[1:])


def _check_whole_bytes(info: TensorInfo) -> None:
    from trainer_core.models.header import BITS

    if BITS[info.dtype] % 8:
        raise RenamingError(f"Weights of the dtype {info.dtype} are packed and cannot be cut.")


def _renamed(name: str, renaming: Renaming) -> str:
    for pattern, replacement in renaming.names:
        name = re.sub(pattern, replacement, name)
    return name


def _find(kind: str, form: Form, to: Form) -> Renaming | None:
    """The renaming between two layouts of a kind; None if there is none, or none is needed."""
    wanted = (form.layout, to.layout)
    return next((each for each in _tables()[1] if kind in each.kinds and (each.source, each.to) == wanted), None)


def _tables() -> tuple[Mapping[str, Mapping[str, str]], tuple[Renaming, ...]]:
    return table_of("renamings.toml")


@functools.cache
def table_of(name: str) -> tuple[Mapping[str, Mapping[str, str]], tuple[Renaming, ...]]:
    """The layouts of each kind, and the renamings, in a table beside this module."""
    path = Path(__file__).with_name(name)
    table = read_toml(path, hint=HINT)
    rows = ({"source": row.pop("from"), **row} for row in table["renamings"])
    return table["layouts"], tuple(from_table(Renaming, row, path.name, RenamingError, HINT) for row in rows)

"""Reads the values of tensors from the file in pieces, so that a checkpoint of many GB needs a few MB of memory.

Files are read, not memory-mapped: a file that shrinks meanwhile raises an error, and does not kill the process.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from trainer_core.errors import HeaderError
from trainer_core.models import header
from trainer_core.models.header import Header, TensorInfo
from trainer_core.text import printable
from trainer_core.training.acceptance.result import number, some

# By dtype: the unsigned integer that it is read as, and the bits that are all set in its infinities and NaNs: without its
# sign a value is finite if it is below them. F8_E4M3 has no infinity: there they mark its NaN. C64 is two F32.
# Source: IEEE 754; OCP 8-bit floating point specification, 1.0.
EXPONENTS: Mapping[str, tuple[str, int]] = {
    "F64": ("<u8", 0x7FF0_0000_0000_0000),
    "F32": ("<u4", 0x7F80_0000),
    "C64": ("<u4", 0x7F80_0000),
    "F16": ("<u2", 0x7C00),
    "BF16": ("<u2", 0x7F80),
    "F8_E5M2": ("<u1", 0x7C),
    "F8_E4M3": ("<u1", 0x7F),
}
# The relative difference that a conversion to this dtype may cause: one unit in the last place, which is two roundings.
# The smallest number that is exact in F16 is 2 ** -24.
PRECISION: Mapping[str, float] = {"F64": 2.0**-52, "F32": 2.0**-23, "F16": 2.0**-10, "BF16": 2.0**-7}
SMALLEST = 2.0**-24
PLAIN = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "<i1", "U8": "<u1"}
PIECE_BYTES = 1 << 20


@dataclass(frozen=True)
class Stored:
    """One tensor: its file and its entry in that file's header."""

    path: Path
    info: TensorInfo


@dataclass(frozen=True)
class Content:
    """Whether all values of a tensor are finite, and whether any of them is not zero. Minus zero is zero."""

    finite: bool
    has_values: bool


def stored(found: Header) -> dict[str, Stored]:
    """The file and the entry of each tensor of a header; a model may have several shards.

    Raises:
        HeaderError: a file is not safetensors, or has changed since the header was read.
    """
    result: dict[str, Stored] = {}
    for file in found.files:
        prefix = f"{file.parent.name}/" if found.is_folder else ""
        for key, info in header.read_file(file).tensors.items():
            if found.tensors.get(prefix + key) == info:
                result[prefix + key] = Stored(file, info)
    if len(result) != len(found.tensors):
        raise HeaderError(f"{printable(found.path.name, 200)} changed while it was read.")
    return result


def content(tensor: Stored) -> Content:
    """Whether a tensor is finite and has values. Only the dtypes of `EXPONENTS` are checked for NaN and infinity.

    Raises:
        HeaderError: the file has become shorter.
        OSError: it cannot be read.
    """
    kind, infinite = EXPONENTS.get(tensor.info.dtype, ("<u1", None))
    without_sign = np.array(-1 if infinite is None else (1 << (8 * np.dtype(kind).itemsize - 1)) - 1).astype(kind)
    largest = 0
    for bits in _pieces(tensor, kind):
        np.bitwise_and(bits, without_sign, out=bits)
        largest = max(largest, int(bits.max()))
        if infinite is not None and largest >= infinite:
            return Content(False, True)
    return Content(True, largest > 0)


def not_finite(contents: Mapping[str, Content]) -> list[str]:
    """The reason about tensors with NaN or infinity; empty if all values are finite."""
    broken = [key for key, each in contents.items() if not each.finite]
    return [f"The weights contain NaN or infinity in {some(broken)}: the training failed."] if broken else []


def differ(one: Stored, other: Stored, through: str = "") -> bool | None:
    """Whether two tensors of the same shape have different values; None if their dtypes cannot be compared.

    Tensors of the same dtype are compared exactly. If one was converted to another dtype, or both were converted to the
    dtype `through`, only differences larger than its rounding count.

    Raises:
        HeaderError: a file has become shorter.
        OSError: one cannot be read.
    """
    formats = {one.info.dtype, other.info.dtype, through or one.info.dtype}
    if len(formats) == 1:
        pairs = zip(_pieces(one, "<u1"), _pieces(other, "<u1"), strict=True)
        return any((left != right).any() for left, right in pairs)
    if not formats <= PRECISION.keys():
        return None
    share = max(PRECISION[each] for each in formats)
    count = PIECE_BYTES // 8
    for left, right in zip(_numbers(one, count), _numbers(other, count), strict=True):
        if (np.abs(left - right) > share * np.abs(right) + SMALLEST).any():
            return True
    return False


def rows(tensor: Stored) -> Iterator[Any]:
    """The rows of a matrix as F64 arrays of shape (some, columns). Nothing for other shapes and dtypes.

    Raises:
        HeaderError: the file has become shorter.
        OSError: it cannot be read.
    """
    if tensor.info.dtype not in PRECISION or len(tensor.info.shape) != 2 or 0 in tensor.info.shape:
        return
    columns = tensor.info.shape[1]
    for piece in _numbers(tensor, max(1, PIECE_BYTES // 8 // columns) * columns):
        yield piece.reshape(-1, columns)


def scalar(tensor: Stored) -> float | None:
    """The value of a tensor with a single number; None for other tensors, and for dtypes that numpy cannot read.

    Raises:
        HeaderError: the file has become shorter.
        OSError: it cannot be read.
    """
    if math.prod(tensor.info.shape) != 1 or tensor.info.dtype not in (*PLAIN, "BF16"):
        return None
    return number(next(_numbers(tensor, 1))[0])


def _numbers(tensor: Stored, count: int) -> Iterator[Any]:
    """The values as F64, `count` at a time."""
    if tensor.info.dtype == "BF16":
        for bits in _pieces(tensor, "<u2", count):
            yield (bits.astype("<u4") << 16).view("<f4").astype("<f8")
    else:
        kind = PLAIN[tensor.info.dtype]
        yield from (piece.astype("<f8") for piece in _pieces(tensor, kind, count))


def _pieces(tensor: Stored, kind: str, count: int | None = None) -> Iterator[Any]:
    """The values as arrays of `kind`, `count` at a time or as many as fit; each array overwrites the previous one."""
    size = np.dtype(kind).itemsize
    room = np.empty(count or PIECE_BYTES // size, kind)
    left = tensor.info.size_bytes // size
    with tensor.path.open("rb", buffering=0) as file:
        file.seek(tensor.info.start_bytes)
        while left:
            piece = room[: min(left, len(room))]
            _fill(file, piece, tensor.path)
            left -= len(piece)
            yield piece


def _fill(file: Any, piece: Any, path: Path) -> None:
    raw = piece.view("u1")
    while len(raw):
        got = file.readinto(raw)
        if not got:
            raise HeaderError(f"{printable(path.name, 200)} became shorter while it was read.")
        raw = raw[got:]

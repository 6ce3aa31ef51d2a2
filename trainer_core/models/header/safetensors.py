"""Reads the header of a safetensors file: eight bytes with its length, then JSON with the position of each tensor."""

from __future__ import annotations

import json
import struct
from collections import Counter
from collections.abc import Callable, Mapping
from math import prod
from typing import Any, BinaryIO, TypeGuard

import orjson

from trainer_core.errors import HeaderError
from trainer_core.models.header.tensors import BITS, LARGEST_SIZE, MOST_DIMENSIONS, TensorInfo
from trainer_core.text import printable

LONGEST_HEADER_BYTES = 100_000_000
"""Source: safetensors/src/tensor.rs, MAX_HEADER_SIZE."""

Found = tuple[dict[str, TensorInfo], dict[str, str]]
"""The tensors and the metadata of a file."""


def matches(start: bytes) -> bool:
    """Whether a file that starts with these bytes is a safetensors file. Text would give a header length far too large."""
    return start[8:9] == b"{" and int.from_bytes(start[:8], "little") <= LONGEST_HEADER_BYTES


def read(name: str, file: BinaryIO, start: bytes, size_bytes: int) -> Found:
    """The tensors and the metadata of a file. `start` holds its first bytes; nothing after the header is read.

    Raises:
        HeaderError: it is not a safetensors file, or it is damaged.
    """
    if len(start) < 8:
        raise HeaderError(f"{name} is cut short: only {size_bytes} bytes.", "Download it again.")
    (length,) = struct.unpack("<Q", start[:8])
    if length > LONGEST_HEADER_BYTES and start[8:9] != b"{":
        raise HeaderError(f"{name} is not a model: its format is not known.", "Choose a .safetensors file.")
    if length > LONGEST_HEADER_BYTES:
        raise HeaderError(f"{name} is not a safetensors file: its header would be {length} bytes long.")
    if 8 + length > size_bytes:
        raise HeaderError(f"{name} is cut short: it ends inside its header.", "Download it again.")
    file.seek(8)
    text = file.read(length)
    if len(text) < length:
        raise HeaderError(f"{name} is cut short: it ends inside its header.", "Download it again.")
    table = parse_object(name, text)
    # Every tensor has one. More of them mean that a name is there twice: the JSON reader keeps only the last.
    if text.count(b'"data_offsets"') > len(table) or text.count(b'"__metadata__"') > 1:
        _refuse_twice(name, text)
    metadata = _metadata(name, table.pop("__metadata__", {}))
    if not table:
        raise HeaderError(f"{name} contains no tensors, so it is not a model.")
    return _tensors(name, table, 8 + length, size_bytes), metadata


def parse_object(name: str, data: bytes, load: Callable[[bytes], Any] = orjson.loads) -> dict[str, Any]:
    """The JSON object in these bytes. Files written by Python need Python's own `load`: they may contain Infinity.

    Raises:
        HeaderError: they contain something else.
    """
    try:
        value = load(data)
    except (ValueError, RecursionError) as error:
        raise HeaderError(f"{name} is not what its name says: its header is not JSON.") from error
    if not isinstance(value, dict):
        raise HeaderError(f"{name} is not what its name says: its header is not a JSON object.")
    return value


def _refuse_twice(name: str, text: bytes) -> None:
    """Raises when an object of the header contains a name twice."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            twice = Counter(key for key, _ in pairs).most_common(1)[0][0]
            raise _damaged(name, twice, "the header contains its name twice")
        return found

    json.loads(text, object_pairs_hook=once)


def _metadata(name: str, value: Any) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise HeaderError(f"{name} is damaged: its metadata is not text.")
    return value


def _tensors(name: str, table: Mapping[str, Any], data_start: int, size_bytes: int) -> dict[str, TensorInfo]:
    """The tensors of a file, after a check that they fill its data from start to end without overlap.

    Written for speed: a checkpoint has thousands of tensors, and the checks take as long as the JSON.
    """
    tensors, position, is_in_order = {}, 0, True
    make = tuple.__new__  # half the time of TensorInfo(...)
    # Thousands of tensors share a few pairs of dtype and shape. Each pair is checked once, and its checked shape is reused.
    known: dict[tuple[str, tuple[int, ...]], tuple[tuple[int, ...], int]] = {}
    for key, entry in table.items():
        try:
            dtype, listed, (begin, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
            pair = dtype, tuple(listed)
            if pair not in known:
                known[pair] = _checked(dtype, listed)
            shape, bits = known[pair]
            if bits != 8 * (end - begin) or not type(begin) is type(end) is int or type(listed) is not list:
                raise ValueError
        except (TypeError, KeyError, ValueError):
            raise _damaged(name, key, _fault(entry)) from None
        is_in_order = is_in_order and begin == position
        position = end
        tensors[key] = make(TensorInfo, (dtype, shape, data_start + begin))
    if not is_in_order:
        position = _end(name, table)
    missing = data_start + position - size_bytes
    if missing > 0:
        raise HeaderError(f"{name} is cut short: the last {missing} bytes are missing.", "Download it again.")
    if missing < 0:
        raise HeaderError(f"{name} is damaged: {-missing} bytes follow its last tensor.", "Download it again.")
    return tensors


def _checked(dtype: str, shape: Any) -> tuple[tuple[int, ...], int]:
    """The shape, and the size in bits of a tensor with it.

    Raises:
        ValueError, KeyError: the shape is not a list of sizes, or the dtype is unknown.
    """
    if not _sizes(shape) or len(shape) > MOST_DIMENSIONS:
        raise ValueError
    return tuple(shape), BITS[dtype] * prod(shape)


def _end(name: str, table: Mapping[str, Any]) -> int:
    """The end of the last tensor, when the header lists the tensors in another order than the file stores them."""
    position = 0
    for (begin, end), key in sorted((entry["data_offsets"], key) for key, entry in table.items()):
        if begin != position:
            raise _damaged(name, key, "it overlaps another or leaves a gap")
        position = end
    return position


def _fault(entry: Any) -> str:
    """What is wrong with the entry of a tensor."""
    if not isinstance(entry, dict):
        return "its entry is not an object"
    dtype, shape, offsets = entry.get("dtype"), entry.get("shape"), entry.get("data_offsets")
    if not isinstance(dtype, str) or dtype not in BITS:
        return f"its dtype {printable(str(dtype), 40)} is unknown"
    if not _sizes(shape) or len(shape) > MOST_DIMENSIONS:
        return "its shape is not a list of sizes"
    if not _sizes(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        return "its offsets are not a start and an end"
    return "its size does not match its shape"


def _sizes(value: Any) -> TypeGuard[list[int]]:
    return isinstance(value, list) and all(type(size) is int and 0 <= size < LARGEST_SIZE for size in value)


def _damaged(name: str, key: str, reason: str) -> HeaderError:
    return HeaderError(f"{name} is damaged: tensor {printable(key, 120)}: {reason}.", "Download it again.")

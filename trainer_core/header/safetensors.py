"""The header of a safetensors file: a length of eight bytes, then JSON that says where each tensor lies in the rest."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import Any, BinaryIO, TypeGuard

from trainer_core.errors import HeaderError
from trainer_core.header.tensors import BITS, LARGEST_SIZE, MOST_DIMENSIONS, TensorInfo
from trainer_core.text import printable

LONGEST_HEADER_BYTES = 100_000_000
"""Source: safetensors/src/tensor.rs, MAX_HEADER_SIZE."""

Found = tuple[dict[str, TensorInfo], dict[str, str]]
"""The tensors and the metadata of a file."""


def matches(start: bytes) -> bool:
    """Whether a file that starts so is a safetensors file. Eight characters of text would be a header far too long."""
    return start[8:9] == b"{" and int.from_bytes(start[:8], "little") <= LONGEST_HEADER_BYTES


def read(name: str, file: BinaryIO, start: bytes, size_bytes: int) -> Found:
    """The tensors and the metadata of a file whose first bytes have been read: it is read no further than its header.

    Raises:
        HeaderError: it is no safetensors file, or it is damaged.
    """
    if len(start) < 8:
        raise HeaderError(f"{name} is cut short: only {size_bytes} bytes.", "Download it again.")
    (length,) = struct.unpack("<Q", start[:8])
    if length > LONGEST_HEADER_BYTES:
        raise HeaderError(f"{name} is not a safetensors file: its header would be {length} bytes long.")
    if 8 + length > size_bytes:
        raise HeaderError(f"{name} is cut short: it ends inside its header.", "Download it again.")
    text = start[8 : 8 + length]
    if len(text) < length:
        text += file.read(length - len(text))
    if len(text) < length:
        raise HeaderError(f"{name} is cut short: it ends inside its header.", "Download it again.")
    table = parse_object(name, text)
    metadata = _metadata(name, table.pop("__metadata__", {}))
    if not table:
        raise HeaderError(f"{name} holds no tensors, so it is not a model.")
    return _tensors(name, table, 8 + length, size_bytes), metadata


def parse_object(name: str, data: bytes) -> dict[str, Any]:
    """The JSON object in these bytes.

    Raises:
        HeaderError: they hold something else.
    """
    try:
        value = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise HeaderError(f"{name} is not what its name says: its header is no JSON.") from error
    if not isinstance(value, dict):
        raise HeaderError(f"{name} is not what its name says: its header is no JSON object.")
    return value


def _metadata(name: str, value: Any) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise HeaderError(f"{name} is damaged: its metadata is not text.")
    return value


def _tensors(name: str, table: Mapping[str, Any], data_start: int, size_bytes: int) -> dict[str, TensorInfo]:
    """The tensors of a file, checked to fill its data from start to end without overlap."""
    spans, tensors = [], {}
    for key, entry in table.items():
        dtype, shape, (begin, end) = _entry(name, key, entry)
        tensors[key] = info = TensorInfo(dtype, shape, data_start + begin)
        if info.size_bytes != end - begin:
            raise _damaged(name, key, "its size does not follow from its shape")
        spans.append((begin, end, key))
    position = 0
    for begin, end, key in sorted(spans):
        if begin != position:
            raise _damaged(name, key, "it overlaps another or leaves a gap")
        position = end
    missing = data_start + position - size_bytes
    if missing > 0:
        raise HeaderError(f"{name} is cut short: the last {missing} bytes are missing.", "Download it again.")
    if missing < 0:
        raise HeaderError(f"{name} is damaged: {-missing} bytes follow after its last tensor.", "Download it again.")
    return tensors


def _entry(name: str, key: str, entry: Any) -> tuple[str, tuple[int, ...], tuple[int, int]]:
    if not isinstance(entry, dict):
        raise _damaged(name, key, "its entry is no object")
    dtype, shape, offsets = entry.get("dtype"), entry.get("shape"), entry.get("data_offsets")
    if not isinstance(dtype, str) or dtype not in BITS:
        raise _damaged(name, key, f"its number format {printable(str(dtype), 40)} is unknown")
    if not _sizes(shape) or len(shape) > MOST_DIMENSIONS:
        raise _damaged(name, key, "its shape is no list of sizes")
    if not _sizes(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise _damaged(name, key, "its offsets are not a start and an end")
    return dtype, tuple(shape), (offsets[0], offsets[1])


def _sizes(value: Any) -> TypeGuard[list[int]]:
    return isinstance(value, list) and all(type(size) is int and 0 <= size < LARGEST_SIZE for size in value)


def _damaged(name: str, key: str, reason: str) -> HeaderError:
    return HeaderError(f"{name} is damaged: tensor {printable(key, 120)}: {reason}.", "Download it again.")

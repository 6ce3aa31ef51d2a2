"""Reads the header of a GGUF file: metadata values by name, then the tensors with their sizes in reverse order.

Counts and lengths in the file are not trusted: nothing is allocated for them, and each is checked against the file size.
Source: ggml/docs/gguf.md; gguf-py 0.19, gguf_reader.py and constants.py.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from typing import Any, BinaryIO

from trainer_core.errors import HeaderError
from trainer_core.models.header.cursor import Cursor
from trainer_core.models.header.tensors import GGML_BLOCKS, LARGEST_SIZE, TensorInfo
from trainer_core.text import printable

MAGIC = b"GGUF"
VERSIONS = (2, 3)
DEFAULT_ALIGNMENT_BYTES = 32
MOST_DIMENSIONS = 4
MOST_TENSORS = 100_000
MOST_VALUES = 100_000
MOST_LIST_ITEMS = 4_000_000
"""How many strings and lists may be inside lists. The longest vocabularies have under a million."""
DEEPEST_LIST = 4
LONGEST_NAME_BYTES = 4096
LONGEST_TEXT_BYTES = 4096
LEAST_VALUE_BYTES, LEAST_TENSOR_BYTES = 13, 24

# Source: ggml.h, enum ggml_type.
TYPES = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 6: "Q5_0", 7: "Q5_1", 8: "Q8_0", 9: "Q8_1", 10: "Q2_K", 11: "Q3_K",
    12: "Q4_K", 13: "Q5_K", 14: "Q6_K", 15: "Q8_K", 16: "IQ2_XXS", 17: "IQ2_XS", 18: "IQ3_XXS", 19: "IQ1_S",
    20: "IQ4_NL", 21: "IQ3_S", 22: "IQ2_S", 23: "IQ4_XS", 24: "I8", 25: "I16", 26: "I32", 27: "I64", 28: "F64",
    29: "IQ1_M", 30: "BF16", 34: "TQ1_0", 35: "TQ2_0", 39: "MXFP4", 40: "NVFP4", 41: "Q1_0",
}  # fmt: skip
# Source: gguf.h, enum gguf_type.
SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
INT32, STRING, LIST = 5, 8, 9

ORIGINAL_SHAPE = "comfy.gguf.orig_shape."
"""Followed by a tensor's name: the key of its shape before it was padded into blocks. Source: ComfyUI-GGUF, tools/convert.py."""


def read(name: str, file: BinaryIO, start: bytes, size_bytes: int) -> tuple[dict[str, TensorInfo], dict[str, str]]:
    """The tensors and the short metadata values of a GGUF file; shapes are in PyTorch's order.

    Raises:
        HeaderError: the file is damaged, or has an unsupported version.
    """
    cursor = Cursor(name, file, start, size_bytes)
    cursor.skip(len(MAGIC))
    version = cursor.u32()
    if version not in VERSIONS:
        swapped = int.from_bytes(version.to_bytes(4, "little"), "big")
        what = "in big-endian byte order" if swapped in VERSIONS else f"of version {version}"
        raise HeaderError(f"{name} is a GGUF file {what}, which is not supported.", "Choose one of version 2 or 3.")
    tensor_count, value_count = cursor.u64(), cursor.u64()
    least_bytes = tensor_count * LEAST_TENSOR_BYTES + value_count * LEAST_VALUE_BYTES
    if tensor_count > MOST_TENSORS or value_count > MOST_VALUES or least_bytes > size_bytes:
        said = f"its header lists {tensor_count} tensors and {value_count} values"
        raise HeaderError(f"{name} is damaged: {said}, more than fit into the file.", "Download it again.")
    values = _Values(cursor).read(value_count)
    if tensor_count == 0:
        raise HeaderError(f"{name} contains no tensors, so it is not a model.")
    tensors = _tensors(cursor, tensor_count)
    alignment = _alignment(name, values)
    data_start = -(-cursor.position // alignment) * alignment
    tensors = _placed(name, tensors, data_start, alignment, size_bytes)
    return {key: _original(name, key, info, values) for key, info in tensors.items()}, _texts(values)


class _Values:
    """Reads the metadata values before the tensors. Lists that are not shapes, and long texts, are skipped."""

    def __init__(self, cursor: Cursor) -> None:
        self.cursor = cursor
        self.items_left = MOST_LIST_ITEMS

    def read(self, count: int) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for _ in range(count):
            key = _name(self.cursor)
            if key in values:
                raise _damaged(self.cursor.name, f"it contains the value {printable(key, 120)} twice")
            values[key] = self._value(self.cursor.u32(), is_kept=key.startswith(ORIGINAL_SHAPE))
        return values

    def _value(self, kind: int, *, is_kept: bool = False, depth: int = 0) -> Any:
        if kind in SCALARS:
            return struct.unpack("<" + SCALARS[kind], self.cursor.take(struct.calcsize(SCALARS[kind])))[0]
        if kind == STRING:
            return self._text()
        if kind != LIST or depth >= DEEPEST_LIST:
            raise _damaged(self.cursor.name, f"a value of the unknown kind {kind}" if kind != LIST else "nested lists")
        kind, count = self.cursor.u32(), self.cursor.u64()
        if kind in SCALARS:
            if is_kept and kind == INT32 and count <= 16:
                return struct.unpack(f"<{count}i", self.cursor.take(4 * count))
            self.cursor.skip(struct.calcsize(SCALARS[kind]) * count)
            return None
        self.items_left -= count
        if self.items_left < 0:
            raise _damaged(self.cursor.name, f"the length of a list is {count} items")
        for _ in range(count):
            if kind == STRING:
                self.cursor.skip(self.cursor.u64())
            else:
                self._value(kind, depth=depth + 1)
        return None

    def _text(self) -> str | None:
        length = self.cursor.u64()
        if length > LONGEST_TEXT_BYTES:
            self.cursor.skip(length)
            return None
        return self.cursor.take(length).decode("utf-8", "replace")


def _name(cursor: Cursor) -> str:
    length = cursor.u64()
    if length > LONGEST_NAME_BYTES:
        raise _damaged(cursor.name, f"the length of a name is {length} bytes")
    try:
        return cursor.take(length).decode("utf-8")
    except UnicodeDecodeError as error:
        raise _damaged(cursor.name, "a name is not valid text") from error


def _tensors(cursor: Cursor, count: int) -> dict[str, TensorInfo]:
    """The tensors as the file lists them; their starts are counted from the start of the data."""
    tensors: dict[str, TensorInfo] = {}
    for _ in range(count):
        key = _name(cursor)
        if key in tensors:
            raise _damaged(cursor.name, f"it contains the tensor {printable(key, 120)} twice")
        tensors[key], fault = _tensor(cursor)
        if fault:
            raise _damaged(cursor.name, f"tensor {printable(key, 120)}: {fault}")
    return tensors


def _tensor(cursor: Cursor) -> tuple[TensorInfo, str]:
    """One tensor without its name, and what is wrong with it."""
    nothing = TensorInfo("F32", ())
    dimensions = cursor.u32()
    if dimensions > MOST_DIMENSIONS:
        return nothing, f"it has {dimensions} dimensions"
    *sizes, kind, start = struct.unpack(f"<{dimensions}QIQ", cursor.take(8 * dimensions + 12))
    if kind not in TYPES:
        return nothing, f"its dtype {kind} is unknown"
    if max(sizes, default=0) >= LARGEST_SIZE or math.prod(sizes) >= LARGEST_SIZE:
        return nothing, "its shape is not a list of sizes"
    dtype = TYPES[kind]
    if dtype in GGML_BLOCKS and math.prod(sizes[:1]) % GGML_BLOCKS[dtype][0]:
        return nothing, f"its rows are not whole blocks of {dtype}"
    return TensorInfo(dtype, tuple(reversed(sizes)), start), ""


def _alignment(name: str, values: Mapping[str, Any]) -> int:
    alignment = values.get("general.alignment", DEFAULT_ALIGNMENT_BYTES)
    if type(alignment) is not int or not 0 < alignment <= 1 << 20 or alignment & (alignment - 1):
        raise _damaged(name, "its alignment is not a power of two")
    return alignment


def _placed(
    name: str, tensors: Mapping[str, TensorInfo], data_start: int, alignment: int, size_bytes: int
) -> dict[str, TensorInfo]:
    """The tensors with their starts in the file. Checks that they follow one another and that none is cut short."""
    position = 0
    for key, info in sorted(tensors.items(), key=lambda item: item[1].start_bytes):
        if info.start_bytes != -(-position // alignment) * alignment:
            raise _damaged(name, f"tensor {printable(key, 120)}: it overlaps another or leaves a gap")
        position = info.start_bytes + info.size_bytes
    missing = data_start + position - size_bytes
    if missing > 0:
        raise HeaderError(f"{name} is cut short: the last {missing} bytes are missing.", "Download it again.")
    return {key: info._replace(start_bytes=data_start + info.start_bytes) for key, info in tensors.items()}


def _original(name: str, key: str, info: TensorInfo, values: Mapping[str, Any]) -> TensorInfo:
    """The tensor with the shape it had before it was padded into blocks, where the file states it."""
    shape = values.get(ORIGINAL_SHAPE + key)
    if shape is None:
        return info
    if not isinstance(shape, tuple) or min(shape, default=0) < 0 or math.prod(shape) != math.prod(info.shape):
        raise _damaged(name, f"tensor {printable(key, 120)}: its original shape has another size")
    return info._replace(shape=shape)


def _texts(values: Mapping[str, Any]) -> dict[str, str]:
    """The metadata values that are text or a number, as text."""
    kept = {key: value for key, value in values.items() if value is not None and not isinstance(value, tuple)}
    return {key: str(value).lower() if isinstance(value, bool) else str(value) for key, value in kept.items()}


def _damaged(name: str, reason: str) -> HeaderError:
    return HeaderError(f"{name} is damaged: {reason}.", "Download it again.")

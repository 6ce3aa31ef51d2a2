"""What a model file says about itself before its weights: names, shapes and number formats of its tensors, and metadata.

Only the header is read, so a 7 GB file takes milliseconds and no weight is ever loaded. Files come from strangers: any
bytes lead either to a `Header` or to a `HeaderError`.
"""

from __future__ import annotations

import json
import math
import stat
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, TypeGuard

from trainer_core.errors import HeaderError
from trainer_core.text import printable

LONGEST_HEADER_BYTES = 100_000_000
"""Source: safetensors/src/tensor.rs, MAX_HEADER_SIZE."""
MOST_DIMENSIONS = 16
LARGEST_SIZE = 2**63

# Source: safetensors/src/tensor.rs, Dtype.
BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "U16": 16, "I16": 16, "U32": 32, "I32": 32, "U64": 64, "I64": 64,
    "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8,
    "F16": 16, "BF16": 16, "F32": 32, "F64": 64, "C64": 64,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One tensor of a file: its number format as safetensors spells it, its shape, and where in the file it starts."""

    dtype: str
    shape: tuple[int, ...]
    start_bytes: int = 0

    @property
    def size_bytes(self) -> int:
        """How many bytes the tensor takes in the file."""
        return math.prod(self.shape) * BITS[self.dtype] // 8


@dataclass(frozen=True)
class Header:
    """A model's header. `format` is "safetensors" for a file and "diffusers" for a folder.

    In a folder each key is prefixed by its component ("unet/conv_in.weight"), and `configs` holds the JSON beside the
    weights: "" for model_index.json, else by component. A file has no configs.
    """

    path: Path
    tensors: Mapping[str, TensorInfo]
    metadata: Mapping[str, str]
    format: str
    configs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def is_folder(self) -> bool:
        """Whether this is a whole pipeline: its keys then begin with their component."""
        return self.format == "diffusers"


def read(path: Path | str) -> Header:
    """The header of a safetensors file or of a diffusers folder.

    Raises:
        HeaderError: there is no such file, it cannot be read, or it is no model; the message says which.
    """
    from trainer_core import pipeline_folder

    path = Path(path)
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:
        raise HeaderError(f"{_name(path)} cannot be read: {_cause(error)}.", "Check the path.") from error
    if stat.S_ISDIR(mode):
        try:
            return pipeline_folder.read(path)
        except OSError as error:
            raise HeaderError(f"{_name(path)} cannot be read: {_cause(error)}.", "Check its permissions.") from error
    if not stat.S_ISREG(mode):
        raise HeaderError(f"{_name(path)} is neither a file nor a folder.", "Choose a .safetensors file.")
    return read_file(path)


def read_file(path: Path) -> Header:
    """The header of one safetensors file.

    Raises:
        HeaderError: as `read`.
    """
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(0)
            table, data_start = _table(path, file, size)
    except OSError as error:
        raise HeaderError(f"{_name(path)} cannot be read: {_cause(error)}.") from error
    metadata = _metadata(path, table.pop("__metadata__", {}))
    if not table:
        raise HeaderError(f"{_name(path)} holds no tensors, so it is not a model.")
    return Header(path, _tensors(path, table, data_start, size), metadata, "safetensors")


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        HeaderError: it cannot be read, is too long, or holds something else.
    """
    try:
        with path.open("rb") as file:
            return _object(path, file.read(LONGEST_HEADER_BYTES))
    except OSError as error:
        raise HeaderError(f"{_name(path)} cannot be read: {_cause(error)}.") from error


def _table(path: Path, file: BinaryIO, size: int) -> tuple[dict[str, Any], int]:
    """The JSON object in front of the weights, and where the weights start."""
    start = file.read(512)
    if reason := _foreign(start):
        raise HeaderError(f"{_name(path)} {reason[0]}.", reason[1])
    if len(start) < 8:
        raise HeaderError(f"{_name(path)} is cut short: only {size} bytes.", "Download it again.")
    (length,) = struct.unpack("<Q", start[:8])
    if length > LONGEST_HEADER_BYTES:
        raise HeaderError(f"{_name(path)} is not a safetensors file: its header would be {length} bytes long.")
    if 8 + length > size:
        raise HeaderError(f"{_name(path)} is cut short: it ends inside its header.", "Download it again.")
    file.seek(8)
    return _object(path, file.read(length)), 8 + length


def _foreign(start: bytes) -> tuple[str, str] | None:
    """What the first bytes of a file are when they are no safetensors file, and what to do."""
    text = start.lstrip().lower()
    if not start:
        return "is empty", "Download it again."
    if start.startswith(b"version https://git-lfs"):
        return (
            "is a Git LFS pointer, not the model itself",
            "Fetch the file with git lfs pull, or download it directly.",
        )
    if text.startswith((b"<!doctype", b"<html", b"<?xml")):
        return "is a web page, not a model", "The download needs a login or another link."
    # A zip archive or a pickle stream of protocol 2 and up: what torch.save writes. The length of a header may begin with the
    # same two bytes; its JSON follows then.
    is_pickle = start[0] == 0x80 and start[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05") and start[8:9] != b"{"
    if start.startswith(b"PK\x03\x04") or is_pickle:
        return "is a pickle (.ckpt, .pt): not read in this version, as it can run code", "Convert it to safetensors."
    if start.startswith(b"GGUF"):
        return "is a GGUF file: not read in this version", "Choose the model as safetensors."
    return None


def _object(path: Path, data: bytes) -> dict[str, Any]:
    try:
        value = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise HeaderError(f"{_name(path)} is not what its name says: its header is no JSON.") from error
    if not isinstance(value, dict):
        raise HeaderError(f"{_name(path)} is not what its name says: its header is no JSON object.")
    return value


def _metadata(path: Path, value: Any) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise HeaderError(f"{_name(path)} is damaged: its metadata is not text.")
    return value


def _tensors(path: Path, table: Mapping[str, Any], data_start: int, size: int) -> dict[str, TensorInfo]:
    """The tensors of a file, checked to fill its data from start to end without overlap."""
    spans, tensors = [], {}
    for key, entry in table.items():
        dtype, shape, (begin, end) = _entry(path, key, entry)
        tensors[key] = info = TensorInfo(dtype, shape, data_start + begin)
        if info.size_bytes != end - begin:
            raise _damaged(path, key, "its size does not follow from its shape")
        spans.append((begin, end, key))
    position = 0
    for begin, end, key in sorted(spans):
        if begin != position:
            raise _damaged(path, key, "it overlaps another or leaves a gap")
        position = end
    missing = data_start + position - size
    if missing > 0:
        raise HeaderError(f"{_name(path)} is cut short: the last {missing} bytes are missing.", "Download it again.")
    if missing < 0:
        raise HeaderError(
            f"{_name(path)} is damaged: {-missing} bytes follow after its last tensor.", "Download it again."
        )
    return tensors


def _entry(path: Path, key: str, entry: Any) -> tuple[str, tuple[int, ...], tuple[int, int]]:
    if not isinstance(entry, dict):
        raise _damaged(path, key, "its entry is no object")
    dtype, shape, offsets = entry.get("dtype"), entry.get("shape"), entry.get("data_offsets")
    if not isinstance(dtype, str) or dtype not in BITS:
        raise _damaged(path, key, f"its number format {printable(str(dtype), 40)} is unknown")
    if not _sizes(shape) or len(shape) > MOST_DIMENSIONS:
        raise _damaged(path, key, "its shape is no list of sizes")
    if not _sizes(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise _damaged(path, key, "its offsets are not a start and an end")
    return dtype, tuple(shape), (offsets[0], offsets[1])


def _sizes(value: Any) -> TypeGuard[list[int]]:
    return isinstance(value, list) and all(type(size) is int and 0 <= size < LARGEST_SIZE for size in value)


def _damaged(path: Path, key: str, reason: str) -> HeaderError:
    return HeaderError(f"{_name(path)} is damaged: tensor {printable(key, 120)}: {reason}.", "Download it again.")


def _name(path: Path) -> str:
    return printable(path.name or str(path), 200)


def _cause(error: Exception) -> str:
    return printable(getattr(error, "strerror", None) or "the path is not valid", 200)

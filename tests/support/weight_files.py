"""Model files with numbers in them, of every format that a conversion reads, written by hand."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

DTYPES = {
    np.dtype(np.float64): "F64", np.dtype(np.float32): "F32", np.dtype(np.float16): "F16", np.dtype(ml_dtypes.bfloat16): "BF16",
    np.dtype(ml_dtypes.float8_e4m3fn): "F8_E4M3", np.dtype(ml_dtypes.float8_e5m2): "F8_E5M2", np.dtype(np.int64): "I64",
    np.dtype(np.uint8): "U8", np.dtype(np.int32): "I32",
}  # fmt: skip
NUMPY = {name: dtype for dtype, name in DTYPES.items()}
Arrays = Mapping[str, np.ndarray[Any, Any]]


def safetensors(path: Path, arrays: Arrays, metadata: Mapping[str, str] | None = None) -> Path:
    """A safetensors file."""
    table: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    data = b""
    for name, array in arrays.items():
        raw = np.ascontiguousarray(array).tobytes()
        table[name] = {
            "dtype": DTYPES[array.dtype],
            "shape": list(array.shape),
            "data_offsets": [len(data), len(data) + len(raw)],
        }
        data += raw
    text = json.dumps(table).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


def read(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    """The arrays of a safetensors file, read without Easel."""
    whole = path.read_bytes()
    (length,) = struct.unpack("<Q", whole[:8])
    table = json.loads(whole[8 : 8 + length])
    table.pop("__metadata__", None)
    data = whole[8 + length :]
    return {
        name: np.frombuffer(data[slice(*row["data_offsets"])], NUMPY[row["dtype"]]).reshape(row["shape"])
        for name, row in table.items()
    }


def metadata(path: Path) -> dict[str, str]:
    """The metadata of a safetensors file, read without Easel."""
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        return json.loads(file.read(length)).get("__metadata__", {})


def equal(one: Arrays, other: Arrays) -> bool:
    """Whether two models have the same tensors, bit by bit."""
    return one.keys() == other.keys() and all(
        one[name].dtype == other[name].dtype
        and one[name].shape == other[name].shape
        and one[name].tobytes() == other[name].tobytes()
        for name in one
    )


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def strided(key: str, count: int, offset: int, sizes: Sequence[int], strides: Sequence[int]) -> bytes:
    """The opcodes for a tensor of float32 in a storage."""

    def several(values: Sequence[int]) -> bytes:
        return b"(" + b"".join(b"J" + struct.pack("<i", value) for value in values) + b"t"

    storage = (
        b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text(key) + text("cpu") + b"J" + struct.pack("<i", count)
    )
    return (
        b"ctorch._utils\n_rebuild_tensor_v2\n("
        + storage
        + b"tQJ"
        + struct.pack("<i", offset)
        + several(sizes)
        + several(strides)
        + b"\x89ccollections\nOrderedDict\n)RtR"
    )


def torch_zip(
    path: Path, tensors: Mapping[str, bytes], storages: Arrays, compression: int = zipfile.ZIP_STORED
) -> Path:
    """A file of torch.save with these tensors (of `strided`) in these storages."""
    pickled = b"\x80\x02}(" + b"".join(text(name) + code for name, code in tensors.items()) + b"u."
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        archive.writestr("archive/data.pkl", pickled)
        for key, array in storages.items():
            archive.writestr(f"archive/data/{key}", array.tobytes())
    path.write_bytes(buffer.getvalue())
    return path


def gguf(path: Path, tensors: Mapping[str, tuple[int, tuple[int, ...], bytes]]) -> Path:
    """A GGUF file of version 3 with tensors of (type, shape in PyTorch's order, bytes)."""
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), 0)
    data = b""
    for name, (kind, shape, raw) in tensors.items():
        head += struct.pack("<Q", len(name)) + name.encode() + struct.pack("<I", len(shape))
        head += b"".join(struct.pack("<Q", size) for size in reversed(shape)) + struct.pack("<IQ", kind, len(data))
        data += raw + bytes(-len(raw) % 32)
    head += bytes(-len(head) % 32)
    path.write_bytes(head + data)
    return path

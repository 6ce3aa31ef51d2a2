"""The dtypes of model files as numpy has them: from the stored numbers to float32, and back."""

from __future__ import annotations

import functools
import sys

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from trainer_core.errors import WeightsError
from trainer_core.weights import halves
from trainer_core.weights.dtypes import FLOATS

Floats = NDArray[np.float32]
__all__ = ["FLOATS", "Floats", "dtype", "floats", "into_floats", "is_finite", "stored"]

# Source: safetensors/src/tensor.rs, Dtype. The formats with 4 and 6 bits are not here: several numbers share a byte.
_NUMPY: dict[str, type[np.generic]] = {
    "F64": np.float64, "F32": np.float32, "F16": np.float16, "BF16": ml_dtypes.bfloat16,
    "F8_E4M3": ml_dtypes.float8_e4m3fn, "F8_E5M2": ml_dtypes.float8_e5m2, "F8_E8M0": ml_dtypes.float8_e8m0fnu,
    "F8_E4M3FNUZ": ml_dtypes.float8_e4m3fnuz, "F8_E5M2FNUZ": ml_dtypes.float8_e5m2fnuz,
    "BOOL": np.bool_, "U8": np.uint8, "I8": np.int8, "U16": np.uint16, "I16": np.int16, "U32": np.uint32, "I32": np.int32,
    "U64": np.uint64, "I64": np.int64, "C64": np.complex64,
}  # fmt: skip


@functools.cache
def dtype(name: str) -> np.dtype[np.generic]:
    """The numpy dtype of a dtype of safetensors, in the byte order of the file.

    Raises:
        WeightsError: numpy has no such numbers, as with the packed formats.
    """
    if name not in _NUMPY:
        raise WeightsError(f"Weights of the type {name} cannot be computed with.", "Use a file in fp16, bf16 or fp32.")
    return np.dtype(_NUMPY[name]).newbyteorder("<")


def floats(values: NDArray[np.generic]) -> Floats:
    """The numbers in float32; the same array if they already are."""
    if values.dtype == np.float16 and values.flags.c_contiguous:
        found = np.empty(values.shape, np.float32)
        halves.widened(values.reshape(-1).view(np.float16), found.reshape(-1))
        return found
    return values.astype(np.float32, copy=False)


def into_floats(values: NDArray[np.generic], into: Floats) -> None:
    """Writes flat numbers in float32 into an array of the same size."""
    if values.dtype == np.float16:
        halves.widened(values.view(np.float16), into)
    else:
        np.copyto(into, values, casting="unsafe")


def stored(values: Floats, name: str) -> NDArray[np.generic]:
    """Float32 numbers in the dtype of a file, rounded to the nearest one, halves to even."""
    if name == "F16" and values.flags.c_contiguous and sys.byteorder == "little":
        return halves.narrowed(values.reshape(-1)).reshape(values.shape)
    # A number too large for the dtype becomes infinite there, or none at all, as everywhere in the field.
    with np.errstate(over="ignore", invalid="ignore"):
        return values.astype(dtype(name), copy=False)


_NOT_FINITE = {
    "F64": (np.uint64, 0x7FF0 << 48), "F32": (np.uint32, 0x7F800000), "F16": (np.uint16, 0x7C00), "BF16": (np.uint16, 0x7F80),
    "F8_E4M3": (np.uint8, 0x7F), "F8_E5M2": (np.uint8, 0x7C),
}  # fmt: skip
"""The bits that only a number that is infinite or not a number has all of, sign aside."""


def is_finite(values: NDArray[np.generic], name: str) -> bool:
    """Whether every number of an array in this dtype of a file is finite."""
    if name not in _NOT_FINITE:
        return bool(np.isfinite(values.astype(np.float32)).all())
    kind, mask = _NOT_FINITE[name]
    bits = values.reshape(-1).view(kind)
    return not bits.size or int(np.bitwise_and(bits, kind(mask)).max()) != mask

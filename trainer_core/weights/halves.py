"""Converts between float32 and float16 with integer arithmetic, several times as fast as numpy's own conversion, and to the same bits."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BLOCK = 1 << 16
"""The numbers that are converted at once: what is in between stays in a processor's cache."""
_INFINITE = 0x7C00
"""The exponent bits of a float16 that is infinite or not a number."""
# The sign and the exponent of a float16, extended to 32 bits and shifted to their places in a float32.
_KEPT = np.array([0x8FFFE000], np.uint32).view(np.int32)[0]
_REBIASED = np.float32(2.0**112)
_SIZE, _EXPONENT, _SIGN = np.uint32(0x7FFFFFFF), np.uint32(0x7F800000), np.uint32(0x8000)
_OVER = 0x47800000
"""65536 as bits of a float32; from 65520 on a number becomes infinite."""
_LEAST = np.float32(2.0**-14)
"""The smallest number with all bits of its fraction."""
_TEN_BITS = np.uint32(13 << 23)
_BIAS = np.uint32(0x1F800)


def widened(values: NDArray[np.float16], into: NDArray[np.float32]) -> None:
    """Writes float16 numbers as float32 into an array of the same size; both are flat."""
    bits = values.view(np.uint16)
    for start in range(0, bits.size, BLOCK):
        part, out = bits[start : start + BLOCK], into[start : start + BLOCK]
        if int(np.bitwise_and(part, np.uint16(_INFINITE)).max()) == _INFINITE:
            np.copyto(out, part.view(np.float16))
            continue
        wide = out.view(np.int32)
        np.copyto(wide, part.view(np.int16))
        np.left_shift(wide, 13, out=wide)
        np.bitwise_and(wide, _KEPT, out=wide)
        # The exponent is still that of a float16, whose bias is smaller by 112.
        np.multiply(out, _REBIASED, out=out)


def narrowed(values: NDArray[np.float32]) -> NDArray[np.float16]:
    """Flat float32 numbers as float16, rounded to the nearest, halves to even; too large ones become infinite."""
    found = np.empty(values.size, np.float16)
    size, power = (np.empty(min(BLOCK, values.size), np.uint32) for _ in range(2))
    for start in range(0, values.size, BLOCK):
        part = values[start : start + BLOCK]
        _narrow(part, found[start : start + BLOCK], size[: part.size], power[: part.size])
    return found


def _narrow(
    part: NDArray[np.float32], out: NDArray[np.float16], size: NDArray[np.uint32], power: NDArray[np.uint32]
) -> None:
    """Rounds by an addition: to a number's size is added what makes its last bit that of a float16 of this size.

    That is the power of two below it times 2^13, and at least 2^-14 times 2^13: then the eleven bits that a float16 keeps are the
    last ones of the sum, and the processor has rounded it.
    """
    bits = part.view(np.uint32)
    np.bitwise_and(bits, _SIZE, out=size)
    if int(size.max()) > _OVER:
        with np.errstate(over="ignore", invalid="ignore"):
            np.copyto(out, part, casting="unsafe")
        return
    np.bitwise_and(size, _EXPONENT, out=power)
    np.maximum(power.view(np.float32), _LEAST, out=power.view(np.float32))
    np.add(power, _TEN_BITS, out=power)
    np.add(size.view(np.float32), power.view(np.float32), out=size.view(np.float32))
    # Only the last 16 bits count, so the exponent of the sum need not be taken away.
    np.right_shift(power, 13, out=power)
    np.add(size, power, out=size)
    np.subtract(size, _BIAS, out=size)
    np.right_shift(bits, 16, out=power)
    np.bitwise_and(power, _SIGN, out=power)
    np.add(size, power, out=size)
    np.copyto(out.view(np.uint16), size, casting="unsafe")

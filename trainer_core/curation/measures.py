"""Measures of one decoded image, as raw numbers; what they mean, and from which value on they count, is in `quality`.

Everything is measured on small parts: a gray copy whose longer side is 512 px, and a part of at most 512 px by side in full
size, around the sharpest place. So it takes about as long as a fifth of the decoding.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING

from PIL import Image

if TYPE_CHECKING:
    import numpy as np

SIDE = 512
"""The longer side of the gray copy, and the side of the part in full size, in pixels."""
WAVES = 256
"""The side of the part whose frequencies are measured, in pixels."""
LEAST_SIDE = 32
"""Smaller images are not measured, in pixels."""
TILES = 8
"""Sharpness is measured in so many tiles by side, of which the sharpest counts: a soft background is no fault."""
TRAINED_SIDE = 1024
"""Frequencies of larger images are measured as if their shorter side was about this long: no more is trained."""
BLOCK = 8
"""The side of the blocks of JPEG in pixels."""
SKIPPED = 4
"""Blocks are looked for in every so many rows and columns."""
LEAST_BAR = 3
"""Narrower bars are none, in pixels of the gray copy."""
FLAT = 2.5
"""The largest deviation of the values in a row of a bar."""
STEP, STEP_SHARE = 12, 0.75
"""At the end of a bar, this share of the row differs by at least so much: a subject before a plain background is no bar."""


def plain(image: Image.Image) -> Image.Image:
    """A loaded image as it is measured: gray with eight bits, or with its colours and alpha channel if it is transparent."""
    if image.mode.startswith("I"):
        return _eight_bits(image)
    if image.has_transparency_data:
        return image.convert("RGBA")
    return image if image.mode == "L" else image.convert("L")


def small_gray(whole: Image.Image) -> Image.Image:
    """The gray copy of a plain image, with transparent parts on white."""
    factor = max(whole.size) // SIDE
    gray = _on_white(whole.reduce(factor) if factor > 1 else whole)
    if max(gray.size) > SIDE:
        scale = SIDE / max(gray.size)
        gray = gray.resize([max(1, round(side * scale)) for side in gray.size], Image.Resampling.BILINEAR)
    return gray


def measure(whole: Image.Image, gray: Image.Image) -> Mapping[str, float]:
    """The measures of a plain image and its gray copy; none of an image that is too small to be measured."""
    import numpy as np

    if min(gray.size) < LEAST_SIDE:
        return {}
    values = np.asarray(gray, dtype=np.int16)
    tiles = _sharpness(values)
    place = np.unravel_index(int(np.argmax(tiles)), tiles.shape)
    sharpest = ((place[1] + 0.5) / tiles.shape[1], (place[0] + 0.5) / tiles.shape[0])
    found = {**_tones(gray), "blur": float(tiles.max()), "bars": _bars(values)}
    part = _part(whole, sharpest, SIDE, 1)
    if min(part.size) >= 8 * BLOCK:
        found["blocks"] = _blocks(np.asarray(part, dtype=np.int16))
    factor = max(1, min(whole.size) // TRAINED_SIDE)
    fine = _middle(part) if factor == 1 else _part(whole, sharpest, WAVES * factor, factor)
    if min(fine.size) >= LEAST_SIDE:
        found["detail"] = _detail(np.asarray(fine, dtype=np.float32))
    return {name: round(value, 4) for name, value in found.items()}


def _on_white(image: Image.Image) -> Image.Image:
    if image.mode != "RGBA":
        return image
    white = Image.new("RGBA", image.size, "white")
    white.alpha_composite(image)
    return white.convert("L")


def _eight_bits(image: Image.Image) -> Image.Image:
    import numpy as np

    return Image.fromarray((np.asarray(image, dtype=np.int64).clip(0, 65535) >> 8).astype(np.uint8))


def _part(whole: Image.Image, place: tuple[float, float], side: int, factor: int) -> Image.Image:
    """A gray part of the image in full size around a place (shares of width and height), reduced by a factor; it begins at a block."""
    box = [0, 0, 0, 0]
    for axis, length in enumerate(whole.size):
        start = max(0, min(int(place[axis] * length) - side // 2, length - side)) // BLOCK * BLOCK
        box[axis], box[axis + 2] = start, min(length, start + side)
    part = _on_white(whole.crop((box[0], box[1], box[2], box[3])))
    return part.reduce(factor) if factor > 1 else part


def _middle(part: Image.Image) -> Image.Image:
    left, top = (max(0, (side - WAVES) // 2) for side in part.size)
    return part.crop((left, top, min(part.width, left + WAVES), min(part.height, top + WAVES)))


def _tones(gray: Image.Image) -> Mapping[str, float]:
    """Brightness (the middle value), contrast (between the darkest and the lightest hundredth) and deviation, of 0 to 255."""
    import numpy as np

    counts, total = np.array(gray.histogram()), gray.width * gray.height
    low, middle, high = np.searchsorted(counts.cumsum(), (0.01 * total, 0.5 * total, 0.99 * total))
    levels = np.arange(256) - float(counts @ np.arange(256)) / total
    spread = float(counts @ levels**2) / total
    return {"brightness": float(middle), "contrast": float(high - low), "deviation": spread**0.5}


def _sharpness(values: np.ndarray) -> np.ndarray:
    """The mean size of the second derivative in each tile, in every other row."""
    import numpy as np

    bent = values[1:-1:2, 1:-1] * 4
    for near in (values[:-2:2, 1:-1], values[2::2, 1:-1], values[1:-1:2, :-2], values[1:-1:2, 2:]):
        bent -= near
    np.abs(bent, out=bent)
    high, wide = (side // TILES for side in bent.shape)
    whole = bent[: high * TILES, : wide * TILES].reshape(TILES, high, TILES * wide)
    return whole.sum(axis=1, dtype=np.int32).reshape(TILES, TILES, wide).sum(axis=2) / (high * wide)


def _blocks(values: np.ndarray) -> float:
    """How much larger steps between pixels are at the borders of 8-px blocks than inside, about 1 without blocks."""
    import numpy as np

    ratios = []
    for turned in (values[::SKIPPED], np.ascontiguousarray(values[:, ::SKIPPED].T)):
        steps = np.abs(turned[:, 1:] - turned[:, :-1]).mean(axis=0)
        count = len(steps) // BLOCK
        # The middle of each place in a block: a single edge of the subject does not count.
        phases = sorted(np.median(steps[: count * BLOCK].reshape(count, BLOCK), axis=0).tolist())
        ratios.append((phases[-1] + 0.25) / (phases[BLOCK // 2 - 1] + 0.25))
    # A grid has borders in both directions; stripes of the subject have not.
    return min(ratios)


def _detail(values: np.ndarray) -> float:
    """The logarithm (base 10) of the share of the power above half of the highest frequency."""
    import numpy as np

    fine = whole = 0.0
    for turned in (values[::2], np.ascontiguousarray(values[:, ::2].T)):
        level = (turned - turned.mean(axis=1, keepdims=True)) * _window(turned.shape[1])
        waves = np.fft.rfft(level, axis=1)
        power = (waves.real**2 + waves.imag**2).mean(axis=0)
        fine += float(power[len(power) // 2 :].sum())
        whole += float(power.sum())
    return float(np.log10((fine + 1e-9) / (whole + 1e-3)))


@functools.cache
def _window(length: int) -> np.ndarray:
    import numpy as np

    return np.hanning(length).astype(np.float32)


def _bars(values: np.ndarray) -> float:
    """The share of a side that plain bars at both of its ends take, 0 without bars."""
    return max(_ends(values), _ends(values.T))


def _ends(values: np.ndarray) -> float:
    first, last = _bar(values), _bar(values[::-1])
    return (first + last) / len(values) if min(first, last) >= LEAST_BAR else 0.0


def _bar(values: np.ndarray) -> int:
    """How many of the first rows are a bar: all of one value, with a sharp end."""
    import numpy as np

    half = values[: len(values) // 2]
    edge = half[:LEAST_BAR]
    if (edge.max(axis=1) - edge.min(axis=1)).max() > 6 * FLAT:
        return 0
    level = float(half[0].mean())
    is_flat = (half.std(axis=1) <= FLAT) & (np.abs(half.mean(axis=1) - level) <= FLAT)
    if is_flat.all():
        return 0
    end = int(np.argmin(is_flat))
    # The row after the first one that differs: the end may lie between two rows.
    after = half[min(end + 1, len(half) - 1)]
    return end if float((np.abs(after - level) >= STEP).mean()) >= STEP_SHARE else 0

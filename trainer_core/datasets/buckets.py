"""Aspect buckets: groups of images that are scaled to the same shape, so that a batch can contain them. Standard library only.

Engines make buckets in one of two ways; each declares which (`buckets` in [dataset] of its backend.toml).
"""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Iterable, Mapping

Size = tuple[int, int]
"""(width, height) in pixels."""


def limits(side: int, step: int) -> tuple[int, int]:
    """The shortest and the longest side of a bucket, in pixels: half and double the side of the square (aspect ratios up to 4:1)."""
    return min(side, max(step, side // 2 // step * step)), max(step, -(-side * 2 // step) * step)


def listed(sizes: Iterable[Size], side: int, step: int, least: int, most: int) -> Mapping[str, int]:
    """The number of images in each bucket, if each image gets the listed shape with the nearest aspect ratio.

    Source: sd-scripts 48d368f, library/train_util.py, BucketManager.select_bucket, and library/model_util.py,
    make_bucket_resolutions.
    """
    # If the shortest side is below the step, the engine stops; a rule reports that.
    least, most = max(step, least - least % step), most + -most % step
    return _counted(_nearest(size, side, step, least, most) for size in sizes)


def nearest(size: Size, side: int, step: int) -> Size:
    """The listed shape of an image, with the usual limits."""
    least, most = limits(side, step)
    return _nearest(size, side, step, max(step, least - least % step), most + -most % step)


@functools.lru_cache(100_000)  # a dataset has few different sizes, but every plan counts it again
def _nearest(size: Size, side: int, step: int, least: int, most: int) -> Size:
    shapes, ratio = _shapes(side, step, least, most), size[0] / size[1]
    return size if size in shapes else min(shapes, key=lambda shape: abs(shape[0] / shape[1] - ratio))


@functools.cache
def _shapes(side: int, step: int, least: int, most: int) -> tuple[Size, ...]:
    """The listed shapes, sorted: if two are equally near, the engine uses the first one."""
    square = max(side // step * step, 1)  # 0 stops the engine, and a rule reports it
    found = {(square, square)}
    for width in range(least, most + 1, step):
        height = min(most, side * side // width // step * step)
        if height >= least:
            found |= {(width, height), (height, width)}
    return tuple(sorted(found))


def shrunk(sizes: Iterable[Size], side: int, step: int) -> Mapping[str, int]:
    """The number of images in each bucket, if images are scaled down but never up, and cut to multiples of the step.

    Source: the same function of sd-scripts with bucket_no_upscale.
    """
    return _counted(_shrunk(width, height, side * side, step) for width, height in sizes)


def _shrunk(width: int, height: int, area: int, step: int) -> Size:
    width, height = shrunk_size(width, height, area, step)
    return width // step * step, height // step * step


def shrunk_size(width: int, height: int, area: int, step: int) -> Size:
    """The size to which an image is scaled down before it is cut to its bucket."""

    def rounded(number: float) -> int:
        return int(number + 0.5) // step * step

    ratio = width / height
    if width * height > area:
        wide = math.sqrt(area * ratio)
        by_width, by_height = rounded(wide), rounded(area / wide)
        other_height, other_width = rounded(by_width / ratio), rounded(by_height * ratio)
        if not other_height or not by_height:  # the engine stops at an image this narrow
            return by_width, by_height
        if abs(by_width / other_height - ratio) < abs(other_width / by_height - ratio):
            width, height = by_width, int(by_width / ratio + 0.5)
        else:
            width, height = int(by_height * ratio + 0.5), by_height
    return width, height


def rounded(sizes: Iterable[Size], side: int, step: int) -> Mapping[str, int]:
    """The number of images in each bucket, if sides are rounded to the step, and buckets are aspect ratios with two decimals.

    Source: SimpleTuner 4.10.1, helpers/multiaspect/image.py, calculate_new_size_by_pixel_area, and
    helpers/image_manipulation/training_sample.py, calculate_target_size.
    """
    shapes = (rounded_size(size, side, step) for size in sizes)
    return Counter(str(round(width / height, 2)) for width, height in shapes)


def rounded_size(size: Size, side: int, step: int) -> Size:
    """The size to which an image is cut if sides are rounded to the step."""
    edge = _multiple(int(math.sqrt(side * side / 1000**2 * 1e6)), step)
    ratio = round(size[0] / size[1], 2)
    if ratio == 1.0 and size[0] == size[1]:
        return edge, edge
    root = math.sqrt(ratio) if ratio > 0 else 1.0
    return _multiple(edge * root, step), _multiple(edge / root, step)


def _multiple(number: float, step: int) -> int:
    return max(round(number / step) * step, step)


def square(sizes: Iterable[Size]) -> Mapping[str, int]:
    """The one bucket of images that are all cut to the same square."""
    return {"square": sum(1 for _ in sizes)}


def _counted(shapes: Iterable[Size]) -> Mapping[str, int]:
    return Counter(f"{width} x {height}" for width, height in shapes)

"""What an engine makes of one image: to which size it is scaled, which bucket it gets, and how much of it is cropped away."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from trainer_core.datasets import buckets
from trainer_core.datasets.buckets import Size

if TYPE_CHECKING:
    from trainer_core.datasets.rules import DatasetRules

Way = Literal["listed", "rounded", "shrunk", "square"]
"""How buckets are made, as the functions of `buckets` are called."""


@dataclass(frozen=True)
class Placed:
    """An image in its bucket: scaled to one size, then cropped to the bucket, both in pixels."""

    bucket: Size
    scaled: Size

    @property
    def lost(self) -> float:
        """The share of the image that is cropped away, from 0 to 1."""
        wide, high = (min(one, other) for one, other in zip(self.bucket, self.scaled, strict=True))
        return max(0.0, 1 - wide * high / max(1, self.scaled[0] * self.scaled[1]))


def way(rules: DatasetRules, *, bucketing: bool = True) -> Way | None:
    """How an engine with these rules makes buckets; None if that is not known."""
    if not bucketing:
        return "square"
    if rules.buckets == "listed" and not rules.enlarges:
        return "shrunk"
    return rules.buckets or None


def placed(size: Size, made: Way, side: int, step: int) -> Placed:
    """What becomes of an image of this size (upright, in pixels) with a resolution of `side` and buckets in steps of `step` pixels."""
    if made == "rounded":
        return _rounded(size, side, step)
    if made == "shrunk":
        return _shrunk(size, side * side, step)
    bucket = (side, side) if made == "square" else buckets.nearest(size, side, step)
    return Placed(bucket, _covering(size, bucket))


def _covering(size: Size, bucket: Size) -> Size:
    """The size at which an image covers the bucket. Source: sd-scripts 48d368f, library/train_util.py, BucketManager.select_bucket."""
    is_wide = size[0] / size[1] > bucket[0] / bucket[1]
    scale = bucket[1] / size[1] if is_wide else bucket[0] / size[0]
    return int(size[0] * scale + 0.5), int(size[1] * scale + 0.5)


def _shrunk(size: Size, area: int, step: int) -> Placed:
    """Source: the same function, with bucket_no_upscale."""
    scaled = buckets.shrunk_size(*size, area, step)
    return Placed((scaled[0] // step * step, scaled[1] // step * step), scaled)


def _rounded(size: Size, side: int, step: int) -> Placed:
    """Source: SimpleTuner 4.10.1, helpers/multiaspect/image.py, calculate_new_size_by_pixel_area."""
    target, ratio = buckets.rounded_size(size, side, step), size[0] / size[1]
    if size[0] == size[1]:
        return Placed(target, target)
    wide, high = target
    scaled = (wide, int(wide / ratio)) if wide < high else (int(high * ratio), high)
    if wide > scaled[0]:
        more = wide - scaled[0]
        scaled = scaled[0] + more, scaled[1] + int(more / ratio)
    elif high > scaled[1]:
        more = high - scaled[1]
        scaled = scaled[0] + int(more * ratio), scaled[1] + more
    return Placed(target, scaled)

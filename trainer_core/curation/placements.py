"""What an engine crops of each image of a dataset, the worst first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainer_core.datasets import bucket_places

if TYPE_CHECKING:
    from trainer_core.datasets.bucket_places import Way
    from trainer_core.datasets.buckets import Size
    from trainer_core.datasets.scan import Dataset

MUCH = 0.25
"""From this share on, the loss is worth a look; a tenth is usual at 512 px."""


@dataclass(frozen=True)
class Placement:
    """An image in its bucket: its size, the size to which it is scaled, the bucket to which it is cropped, and the share that is lost.

    `enlarged` is by how much it is enlarged: 2 is twice as wide; 1 or less is not.
    """

    name: str
    size: Size
    scaled: Size
    bucket: Size
    lost: float
    enlarged: float


def placements(dataset: Dataset, made: Way, side: int, step: int) -> list[Placement]:
    """The images that are trained, those that lose the most first. `side` is the resolution and `step` the bucket step, in pixels."""
    found = []
    for image in dataset.images:
        size = max(1, image.width), max(1, image.height)
        placed = bucket_places.placed(size, made, side, step)
        enlarged = round(placed.scaled[0] / size[0], 2)
        found.append(Placement(image.name, size, placed.scaled, placed.bucket, round(placed.lost, 4), enlarged))
    return sorted(found, key=lambda one: (-one.lost, -one.enlarged, one.name))

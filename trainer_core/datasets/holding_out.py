"""Holds images of a dataset out of the training, so that the loss of images that are not trained can be measured."""

from __future__ import annotations

import dataclasses
import hashlib

from trainer_core.datasets.scan import Dataset


def held_out(dataset: Dataset, share: float) -> Dataset:
    """The dataset without the held-out images, which are its `validation`; at least one of several images stays, unless all are held out.

    The choice depends only on the names of the images: all runs of a dataset hold out the same ones, and an added image does not
    exchange the others.
    """
    count = len(dataset.images)
    wanted = round(count * share)
    if share < 1:
        wanted = min(max(wanted, 1), count - 1)
    if share <= 0 or wanted < 1:
        return dataset
    ranked = sorted(dataset.images, key=lambda image: hashlib.sha256(image.name.encode("utf-8", "replace")).digest())
    chosen = {image.name for image in ranked[:wanted]}
    own, others = (
        tuple(image for image in dataset.images if (image.name in chosen) is is_chosen) for is_chosen in (True, False)
    )
    return dataclasses.replace(dataset, images=others, validation=dataclasses.replace(dataset, images=own))

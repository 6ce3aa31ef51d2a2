"""Stages all image folders of a plan in a run, and says which captions they have there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from trainer_core.plan.subsets import FIRST, ImageFolder

if TYPE_CHECKING:
    from trainer_core.datasets.scan import Dataset
    from trainer_core.plan.sections import TrainingPlan
    from trainer_core.training.folder import RunFolder


def stage(dataset: Dataset, folder: RunFolder, plan: TrainingPlan) -> Mapping[str, str]:
    """Stages the images of every folder of the plan, and returns the captions as `Place.captions` has them.

    Raises:
        DatasetError: an image or a mask can no longer be read.
        OSError: the folder cannot be written.
    """
    from trainer_core.datasets.stage import stage as stage_one

    captions: dict[str, str] = {}
    for each in plan.folders:
        found = dataset.folders.get(each.name)
        if found is None:
            continue
        if found.validation is not None:
            stage_one(found.validation, folder.path / each.validation_name, each.caption)
        if each.is_trained:
            masks = folder.path / each.masks_name if each.masks else None
            controls = [folder.path / name for name in each.controls_names]
            staged = stage_one(found, folder.path / each.name, each.caption, masks, controls)
            captions |= named(each, staged.captions)
    return captions


def expected(dataset: Dataset | None, plan: TrainingPlan) -> dict[str, str]:
    """The same captions before anything is staged, provided that no image has to be corrected."""
    from trainer_core.datasets.stage import expected_captions

    there = dataset.folders if dataset is not None else {}
    every = ((each, there[each.name]) for each in plan.folders if each.name in there and each.is_trained)
    return {
        name: text
        for each, found in every
        for name, text in named(each, expected_captions(found, each.caption)).items()
    }


def named(folder: ImageFolder, captions: Mapping[str, str]) -> Mapping[str, str]:
    """The captions of a folder by the file name in the first folder, or by "folder/name"; those of class images are left out."""
    if folder.is_regularisation:
        return {}
    return captions if folder.setting == FIRST else {f"{folder.name}/{name}": text for name, text in captions.items()}

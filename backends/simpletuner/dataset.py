"""The entries of SimpleTuner's list of data backends: the images, and the cache of captions.

Source: helpers/data_backend/factory.py, helpers/prompts.py and documentation/DATALOADER.md of 4.10.1.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from trainer_core.engines.seam import Place
from trainer_core.plan.sections import TrainingPlan
from trainer_core.plan.subsets import FIRST, ImageFolder

CACHE_FOLDER = "cache"
LIKE_THE_IMAGES = ("resolution", "resolution_type", "minimum_image_size", "crop", "crop_style", "crop_aspect")
ORDERS = 8
"""How many tag orders of each caption are encoded before training; one is picked at random at each step."""


def data_backends(plan: TrainingPlan, place: Place) -> list[dict[str, Any]]:
    """The entries of multidatabackend.json: each image folder with its masks and control images, and the cache of captions."""
    entries = [entry for folder in plan.folders for entry in _folder(plan, place, folder)]
    return [*entries, _captions(place)]


def _folder(plan: TrainingPlan, place: Place, folder: ImageFolder) -> list[dict[str, Any]]:
    images = _images(plan, place, folder)
    # Source: documentation/DREAMBOOTH.md, Masked loss: a dataset of conditioning images, which the other one names.
    shown = [_conditioning(images, "masks", "mask", place.masks(folder))] if folder.masks else []
    for number, controls in enumerate(place.controls(folder), 1):
        # Cut as the image is, whose buckets it takes over. Source: helpers/data_backend/factory.py, DatasetDuplicator.
        entry = _conditioning(images, f"controls-{number}", "reference_strict", controls)
        shown.append(entry | {"cache_dir_vae": f"{images['cache_dir_vae']}-controls-{number}"})
    if not shown:
        return [images]
    return [images | {"conditioning_data": [entry["id"] for entry in shown]}, *shown]


def _conditioning(images: dict[str, Any], name: str, kind: str, folder: Path) -> dict[str, Any]:
    """The entry of a dataset that belongs to the images of another one: each file has the name of its image."""
    return {
        "id": f"{images['id']}-{name}",
        "type": "local",
        "dataset_type": "conditioning",
        "conditioning_type": kind,
        "instance_data_dir": str(folder),
        **{each: images[each] for each in LIKE_THE_IMAGES if each in images},
    }


def _images(plan: TrainingPlan, place: Place, folder: ImageFolder) -> dict[str, Any]:
    own = "" if folder.setting == FIRST else f"-{folder.name}"
    entry: dict[str, Any] = {
        "id": f"images{own}",
        "type": "local",
        "dataset_type": "image",
        "instance_data_dir": str(place.images(folder)),
        "caption_strategy": "textfile",
        "metadata_backend": "discovery",
        "resolution": folder.resolution,
        # The side of a square of the same area, as with the other engines.
        "resolution_type": "pixel_area",
        "minimum_image_size": 0,
        # The engine counts the repetitions after the first time.
        "repeats": folder.repeats - 1,
        "cache_dir_vae": str(_cache(place) / f"vae{own}"),
    }
    if plan.dataset.bucketing:
        entry["crop"] = False
    else:
        entry |= {"crop": True, "crop_style": "center", "crop_aspect": "square"}
    if folder.shuffle_captions:
        entry["caption_shuffle"] = {
            "enable": True,
            "count": ORDERS,
            "split_on": "comma",
            "position_start": folder.keep_tokens,
            "include_original": False,
        }
    if folder.is_regularisation:
        # The target is what the base model itself predicts. Source: helpers/training/trainer.py, _prepare_regularisation_parent_targets.
        entry["is_regularisation_data"] = True
    return entry


def _captions(place: Place) -> dict[str, Any]:
    return {
        "id": "captions",
        "type": "local",
        "dataset_type": "text_embeds",
        "default": True,
        "cache_dir": str(_cache(place) / "text"),
    }


def _cache(place: Place) -> Path:
    return place.run / CACHE_FOLDER

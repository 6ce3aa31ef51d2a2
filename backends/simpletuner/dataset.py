"""The entries of SimpleTuner's list of data backends: the images, and the cache of captions.

Source: helpers/data_backend/factory.py, helpers/prompts.py and documentation/DATALOADER.md of 4.10.1.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from trainer_core.engines.seam import Place
from trainer_core.plan.sections import TrainingPlan

CACHE_FOLDER = "cache"
ORDERS = 8
"""How many tag orders of each caption are encoded before training; one is picked at random at each step."""


def data_backends(plan: TrainingPlan, place: Place) -> list[dict[str, Any]]:
    """The entries of multidatabackend.json."""
    return [_images(plan, place), _captions(place)]


def _images(plan: TrainingPlan, place: Place) -> dict[str, Any]:
    settings = plan.dataset
    entry: dict[str, Any] = {
        "id": "images",
        "type": "local",
        "dataset_type": "image",
        "instance_data_dir": str(place.dataset),
        "caption_strategy": "textfile",
        "metadata_backend": "discovery",
        "resolution": settings.resolution,
        # The side of a square of the same area, as with the other engines.
        "resolution_type": "pixel_area",
        "minimum_image_size": 0,
        # The engine counts the repetitions after the first time.
        "repeats": settings.repeats - 1,
        "cache_dir_vae": str(_cache(place) / "vae"),
    }
    if settings.bucketing:
        entry["crop"] = False
    else:
        entry |= {"crop": True, "crop_style": "center", "crop_aspect": "square"}
    if settings.shuffle_captions:
        entry["caption_shuffle"] = {
            "enable": True,
            "count": ORDERS,
            "split_on": "comma",
            "position_start": settings.keep_tokens,
            "include_original": False,
        }
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

"""The files for musubi-tuner that describe the dataset and the sample prompts.

Source: dataset/config_utils.py, ConfigSanitizer, whose types are strict; training/sampling_prompts.py, load_prompts.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from backends.musubi.cell import MusubiCell
from trainer_core.engines.seam import Place
from trainer_core.plan.prompts import EffectivePrompt
from trainer_core.plan.sections import TrainingPlan
from trainer_core.plan.subsets import ImageFolder

CACHE = "cache"
"""The folder of the run with the encoded images and captions: the engine trains what is there, so no other run may use it."""

PAIRS = PurePosixPath("engine")
OWN_SHAPES = 256
"""The lowest resolution at which control images keep their own aspect ratio. Source: dataset/bucket.py, calculate_bucket_resolution: it
divides by 0 for an image that would become 32 pixels wide; at this resolution that is one 28 times as high as wide."""


def encoded(plan: TrainingPlan) -> list[ImageFolder]:
    """The image folders that the engine encodes and trains."""
    return [folder for folder in plan.folders if folder.is_trained and not folder.is_regularisation]


def cache(place: Place, folder: ImageFolder) -> Path:
    """The folder with the encoded images and captions of an image folder."""
    return place.run / CACHE / folder.name


def dataset(plan: TrainingPlan, place: Place) -> dict[str, Any]:
    """The dataset description: one dataset for each image folder, with a cache folder of its own."""
    return {"datasets": [_dataset(plan, place, folder) for folder in encoded(plan)]}


def _dataset(plan: TrainingPlan, place: Place, folder: ImageFolder) -> dict[str, Any]:
    table = {
        "image_directory": str(place.images(folder)),
        "cache_directory": str(cache(place, folder)),
        "caption_extension": folder.caption_extension,
        "resolution": [folder.resolution, folder.resolution],
        "batch_size": plan.schedule.batch_size,
        "num_repeats": folder.repeats,
        "enable_bucket": plan.dataset.bucketing,
    }
    shown = place.controls(folder)
    if not shown:
        return table
    if plan.dataset.bucketing and folder.resolution >= OWN_SHAPES:
        # Else they are cut to the shape of their image; without buckets both are cut to the same square.
        table["control_resolution"] = table["resolution"]
    if len(shown) == 1:
        return table | {"control_directory": str(shown[0])}
    # In a folder the engine finds several control images of an image by numbers in their names, which a list does not need.
    del table["image_directory"]
    return table | {"image_jsonl_file": str(place.run / pairs_file(folder))}


def pairs_file(folder: ImageFolder) -> PurePosixPath:
    """The list of the images with their control images, in the run, of a folder that has several for each image."""
    return PAIRS / f"{folder.name}.jsonl"


def listed(plan: TrainingPlan, place: Place) -> Iterator[tuple[ImageFolder, tuple[Path, ...]]]:
    """The image folders whose control images must be listed, with the folders of these."""
    for folder in encoded(plan):
        shown = place.controls(folder)
        if len(shown) > 1:
            yield folder, shown


def prompts(plan: TrainingPlan, cell: MusubiCell) -> str:
    """The sample prompts as JSON: in the engine's text form, " --w" inside a prompt would be read as an option."""
    return json.dumps([_prompt(each, cell) for each in plan.sample_prompts], indent=2, ensure_ascii=False) + "\n"


def _prompt(sample: EffectivePrompt, cell: MusubiCell) -> dict[str, Any]:
    """One prompt; the engine counts them by their order, from which it makes the names of the samples."""
    prompt = {
        "prompt": sample.text,
        "width": sample.width,
        "height": sample.height,
        "sample_steps": sample.inference_steps,
        cell.guidance: float(sample.guidance),
        "seed": sample.seed,
        **cell.prompts,
    }
    negative = sample.negative_prompt or cell.default_negative
    return {**prompt, "negative_prompt": negative} if negative else prompt

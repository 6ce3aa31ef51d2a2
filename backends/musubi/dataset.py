"""The files for musubi-tuner that describe the dataset and the sample prompts.

Source: dataset/config_utils.py, ConfigSanitizer, whose types are strict; training/sampling_prompts.py, load_prompts.
"""

from __future__ import annotations

import json
from typing import Any

from backends.musubi.cell import MusubiCell
from trainer_core.engines.seam import Place
from trainer_core.plan.prompts import EffectivePrompt
from trainer_core.plan.sections import TrainingPlan
from trainer_core.plan.subsets import ImageFolder

CACHE = "cache"
"""The folder of the run with the encoded images and captions: the engine trains what is there, so no other run may use it."""


def dataset(plan: TrainingPlan, place: Place) -> dict[str, Any]:
    """The dataset description: one dataset for each image folder, with a cache folder of its own."""
    return {
        "datasets": [
            _dataset(plan, place, folder)
            for folder in plan.folders
            if folder.is_trained and not folder.is_regularisation
        ]
    }


def _dataset(plan: TrainingPlan, place: Place, folder: ImageFolder) -> dict[str, Any]:
    return {
        "image_directory": str(place.images(folder)),
        "cache_directory": str(place.run / CACHE / folder.name),
        "caption_extension": folder.caption_extension,
        "resolution": [folder.resolution, folder.resolution],
        "batch_size": plan.schedule.batch_size,
        "num_repeats": folder.repeats,
        "enable_bucket": plan.dataset.bucketing,
    }


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
        "cfg_scale": float(sample.guidance),
        "seed": sample.seed,
    }
    negative = sample.negative_prompt or cell.default_negative
    return {**prompt, "negative_prompt": negative} if negative else prompt

"""The files for sd-scripts that describe the dataset, the captions and the sample prompts.

Source: library/config_util.py (the dataset; its types are strict: it refuses 0 where it expects 0.0) and the
sample_images of each family.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from backends.kohya.cell import KohyaCell
from trainer_core.datasets import buckets
from trainer_core.engines.seam import Place
from trainer_core.plan.prompts import EffectivePrompt
from trainer_core.plan.sections import TrainingPlan

METADATA = PurePosixPath("engine") / "captions.json"


def dataset(plan: TrainingPlan, cell: KohyaCell, place: Place, native: Mapping[str, Any]) -> dict[str, Any]:
    """The dataset description."""
    settings = plan.dataset
    step, side = settings.bucket_step, settings.resolution
    # The engine's own limits would stop a run below 256 px.
    least, most = buckets.limits(side, step)
    table = {
        "resolution": side,
        "batch_size": plan.schedule.batch_size,
        "enable_bucket": settings.bucketing,
        "bucket_reso_steps": step,
        # This file overrides the configuration file, which has the native settings, so they must be repeated here.
        "min_bucket_reso": native.get("min_bucket_reso", least),
        "max_bucket_reso": native.get("max_bucket_reso", most),
        "subsets": [_subset(plan, cell, place), *([_class_subset(plan, place)] if plan.has_class_images else [])],
    }
    return {"datasets": [table]}


def _subset(plan: TrainingPlan, cell: KohyaCell, place: Place) -> dict[str, Any]:
    settings = plan.dataset
    subset: dict[str, Any] = {
        "image_dir": str(place.dataset),
        "num_repeats": settings.repeats,
        "shuffle_caption": settings.shuffle_captions,
        "keep_tokens": settings.keep_tokens,
        "flip_aug": settings.flip,
        "random_crop": settings.random_crop,
        "color_aug": settings.color_augmentation,
    }
    if plan.model.method != "textual_inversion":  # its parser does not have these options
        subset |= {
            "caption_dropout_rate": float(settings.caption_dropout),
            "caption_tag_dropout_rate": float(settings.tag_dropout),
        }
    if cell.captions == "metadata":
        return {**subset, "metadata_file": str(place.run / METADATA)}
    subset["caption_extension"] = settings.caption_extension
    if settings.trigger:
        subset["class_tokens"] = settings.trigger
    return subset


def _class_subset(plan: TrainingPlan, place: Place) -> dict[str, Any]:
    """The class images, processed as those of the subject; the trigger word, which stays in place there, is not in them."""
    settings = plan.dataset
    return {
        "image_dir": str(place.class_images),
        "is_reg": True,
        "num_repeats": settings.class_repeats,
        "shuffle_caption": settings.shuffle_captions,
        "flip_aug": settings.flip,
        "random_crop": settings.random_crop,
        "color_aug": settings.color_augmentation,
        "caption_dropout_rate": float(settings.caption_dropout),
        "caption_tag_dropout_rate": float(settings.tag_dropout),
        "caption_extension": settings.caption_extension,
        **({"class_tokens": settings.class_caption} if settings.class_caption else {}),
    }


def metadata(place: Place) -> str:
    """The captions by file name, for the script that reads all of them from one file. Source: FineTuningDataset."""
    return _json({name: {"caption": caption} for name, caption in place.captions.items()})


def prompts(plan: TrainingPlan, cell: KohyaCell) -> str:
    """The sample prompts as JSON: in the engine's text form, " --w" inside a prompt would be read as an option."""
    return _json([_prompt(each, cell) for each in plan.sample_prompts])


def _prompt(sample: EffectivePrompt, cell: KohyaCell) -> dict[str, Any]:
    """One prompt; the engine counts them by their order, from which it makes the names of the samples."""
    prompt = {
        "prompt": sample.text,
        "width": sample.width,
        "height": sample.height,
        "sample_steps": sample.inference_steps,
        # FLUX.1 takes distilled guidance as a number; `scale` is classifier-free guidance.
        cell.guidance or "scale": float(sample.guidance),
        "seed": sample.seed,
        **cell.sample,
    }
    return {**prompt, "negative_prompt": sample.negative_prompt} if sample.negative_prompt else prompt


def _json(data: Any) -> str:
    return json.dumps(data, indent=2, ensure_ascii=False) + "\n"

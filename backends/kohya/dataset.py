"""The files for sd-scripts that describe the dataset, the captions and the sample prompts.

Source: library/config_util.py (the dataset; its types are strict: it refuses 0 where it expects 0.0) and the
sample_images of each family.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from backends.kohya.cell import KohyaCell
from trainer_core.datasets import buckets
from trainer_core.engines.seam import Place
from trainer_core.plan.prompts import EffectivePrompt
from trainer_core.plan.sections import TrainingPlan
from trainer_core.plan.subsets import FIRST, ImageFolder

FOLDER, METADATA = PurePosixPath("engine"), PurePosixPath("engine") / "captions.json"


def dataset(plan: TrainingPlan, cell: KohyaCell, place: Place, native: Mapping[str, Any]) -> dict[str, Any]:
    """The dataset description: one dataset for each resolution, and another one for folders with masks."""
    groups: dict[tuple[int, bool], list[ImageFolder]] = {}
    for folder in plan.folders if cell.masks else (dataclasses.replace(each, masks="") for each in plan.folders):
        if folder.is_trained:
            groups.setdefault(folder.group, []).append(folder)
    held_out = _held_out(plan, cell, place, native) if plan.has_validation else []
    return {"datasets": [*(_dataset(plan, cell, place, native, group) for group in groups.values()), *held_out]}


def _held_out(plan: TrainingPlan, cell: KohyaCell, place: Place, native: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The datasets of images that are held out, one for each resolution: all of their images are for validation.

    The engine's own split trains some of the images that it holds out. Source: library/train_util.py, split_train_val, which is
    called twice, and rounds once up and once to the nearest number.
    """
    groups: dict[int, list[ImageFolder]] = {}
    for folder in plan.folders:
        if folder.validation_share:
            plain = {"masks": "", "alpha_masks": None, "caption_dropout": 0.0, "tag_dropout": 0.0, "flip": False}
            groups.setdefault(folder.resolution, []).append(dataclasses.replace(folder, repeats=1, **plain))
    found = [_dataset(plan, cell, place, native, folders) for folders in groups.values()]
    for table, folders in zip(found, groups.values(), strict=True):
        table |= {"validation_split": 1.0, "validation_seed": 0}
        for subset, folder in zip(table["subsets"], folders, strict=True):
            subset |= {"image_dir": str(place.validation(folder)), "random_crop": False, "color_aug": False}
    return found


def _dataset(
    plan: TrainingPlan, cell: KohyaCell, place: Place, native: Mapping[str, Any], folders: Sequence[ImageFolder]
) -> dict[str, Any]:
    step, side = plan.dataset.bucket_step, folders[0].resolution
    # The engine's own limits would stop a run below 256 px.
    least, most = buckets.limits(side, step)
    return {
        "resolution": side,
        "batch_size": plan.schedule.batch_size,
        "enable_bucket": plan.dataset.bucketing,
        "bucket_reso_steps": step,
        # This file overrides the configuration file, which has the native settings, so they must be repeated here.
        "min_bucket_reso": native.get("min_bucket_reso", least),
        "max_bucket_reso": native.get("max_bucket_reso", most),
        "subsets": [_subset(plan, cell, place, folder) for folder in folders],
    }


def _subset(plan: TrainingPlan, cell: KohyaCell, place: Place, folder: ImageFolder) -> dict[str, Any]:
    subset: dict[str, Any] = {
        "image_dir": str(place.images(folder)),
        "num_repeats": folder.repeats,
        "shuffle_caption": folder.shuffle_captions,
        # Regularisation images do not have the trigger word, which stays in place elsewhere.
        **({} if folder.is_regularisation and not folder.keep_tokens else {"keep_tokens": folder.keep_tokens}),
        "flip_aug": folder.flip,
        "random_crop": plan.dataset.random_crop,
        "color_aug": plan.dataset.color_augmentation,
    }
    if folder.caption_choices is not None:
        subset["enable_wildcard"] = folder.caption_choices
    if plan.model.method != "textual_inversion":  # its parser does not have these options
        subset |= {
            "caption_dropout_rate": float(folder.caption_dropout),
            "caption_tag_dropout_rate": float(folder.tag_dropout),
        }
    if folder.alpha_masks is not None and not folder.masks:
        subset["alpha_mask"] = folder.alpha_masks
    if cell.captions == "metadata":
        return {**subset, "metadata_file": str(place.run / metadata_file(folder))}
    subset["caption_extension"] = folder.caption_extension
    if folder.masks:
        # The class of such a dataset has no class tokens; each staged image has a caption file.
        return {**subset, "conditioning_data_dir": str(place.masks(folder))}
    if folder.is_regularisation:
        subset["is_reg"] = True
    if folder.caption:
        subset["class_tokens"] = folder.caption
    return subset


def metadata_file(folder: ImageFolder) -> PurePosixPath:
    """The file with the captions of an image folder, for the script that reads all of them from one file."""
    return METADATA if folder.setting == FIRST else FOLDER / f"captions_{folder.name}.json"


def metadata(plan: TrainingPlan, place: Place) -> dict[PurePosixPath, str]:
    """These files: the captions by file name. Source: FineTuningDataset."""
    found = {}
    for folder in plan.folders:
        start = "" if folder.setting == FIRST else f"{folder.name}/"
        own = {
            name.removeprefix(start): {"caption": caption}
            for name, caption in place.captions.items()
            if name.startswith(start) and (start or "/" not in name)
        }
        found[metadata_file(folder)] = _json(own)
    return found


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

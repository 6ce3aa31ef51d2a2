"""Problems that musubi-tuner would have with the dataset, network, optimizer, schedule and samples of a plan.

Each rule covers a case where the engine stops, or silently ignores a setting. `cell` is the entry of `backend.toml` for
the plan's family and method.
"""

from __future__ import annotations

from collections.abc import Iterator

from backends.musubi import render
from backends.musubi.cell import MusubiCell
from trainer_core import catalog
from trainer_core.engines.claim import caption_problems, flavour_problems
from trainer_core.plan import effect, fields, more_folders
from trainer_core.plan.effect import no_effect
from trainer_core.plan.sections import TrainingPlan
from trainer_core.plan.subsets import LIST
from trainer_core.problems import Fix, Problem

NETWORK_SETTINGS = {"rank", "alpha", "dropout", *render.NETWORK_ARGUMENTS}
UNCHANGED = {
    "shuffle_captions": "captions are encoded once, so tags stay in order.",
    "tag_dropout": "captions are encoded once, so no tag is left out.",
    "caption_dropout": "captions are encoded once, and each image is always trained with its own.",
    "flip": "images are encoded once, so none is flipped.",
    "random_crop": "images are encoded once, so each is always cropped in its centre.",
    "color_augmentation": "images are encoded once, so their colours stay.",
}
"""Settings of [dataset] that would change an image or a caption at each step, and why they do not."""


def check(plan: TrainingPlan, cell: MusubiCell) -> Iterator[Problem]:
    """The Problems of everything except memory and native settings."""
    yield from flavour_problems(cell, plan.model.variant)
    yield from _folder(plan, cell)
    yield from more_folders.problems(plan, lambda one: _folder(one, cell))
    yield from _own_folders(plan)
    yield from caption_problems(cell, plan.dataset.caption_tokens)
    yield from _network(plan)
    yield from _schedule(plan)
    yield from _samples(plan)


def _folder(plan: TrainingPlan, cell: MusubiCell) -> Iterator[Problem]:
    """The Problems of the images and captions of the first folder."""
    settings, step = plan.dataset, cell.bucket_step
    for name, why in UNCHANGED.items():
        if getattr(settings, name):
            yield Problem(
                f"dataset.{name}",
                "warning",
                f"{_title(name)} has no effect: {why}",
                effect.leave_out(f"dataset.{name}"),
            )
    if settings.keep_tokens:
        yield Problem(
            "dataset.keep_tokens",
            "info",
            "Keep tokens has no effect: tags are not shuffled.",
            effect.leave_out("dataset.keep_tokens"),
        )
    if settings.bucketing and settings.bucket_step != step:
        # Source: dataset/bucket.py, ARCHITECTURE_STEPS_MAP.
        severity = "warning" if settings.bucket_step != type(settings)().bucket_step else "info"
        message = f"musubi-tuner always uses a bucket step of {step} for this model."
        yield Problem("dataset.bucket_step", severity, message, Fix(f"Use {step}", {"dataset.bucket_step": step}))
    elif not settings.bucketing and settings.bucket_step != type(settings)().bucket_step:
        yield Problem("dataset.bucket_step", "info", "The bucket step has no effect while aspect buckets are off.")
    if not settings.bucketing and settings.resolution % step:
        nearest = max(step, round(settings.resolution / step) * step)
        message = f"Without aspect buckets the resolution must be a multiple of {step}."
        yield Problem("dataset.resolution", "error", message, Fix(f"Use {nearest}", {"dataset.resolution": nearest}))


def _title(name: str) -> str:
    return fields.all_fields()[f"dataset.{name}"].title


def _own_folders(plan: TrainingPlan) -> Iterator[Problem]:
    for folder in plan.folders:
        for name, given in (("alpha_masks", folder.alpha_masks), ("caption_choices", folder.caption_choices)):
            if given is not None and folder.setting == LIST:
                fix = Fix("Leave it out", more_folders.changed(plan, folder, {name: None}))
                yield Problem(LIST, "warning", f"{folder.label}: {name} has no effect with musubi-tuner.", fix)


def _network(plan: TrainingPlan) -> Iterator[Problem]:
    network = plan.network
    if network.train_text_encoder:
        message = "This engine cannot train the text encoder: captions are encoded once, before the training."
        fix = Fix("Do not train it", {"network.train_text_encoder": False})
        yield Problem("network.train_text_encoder", "error", message, fix)
    defaults = type(network).model_fields
    for name in catalog.algorithms()[network.algorithm].settings:
        changed = getattr(network, name) != defaults[name].default
        if changed and name not in NETWORK_SETTINGS and not name.startswith("conv_") and name != "tucker":
            # Source: networks/loha.py and lokr.py: they are the engine's own, not LyCORIS'.
            yield no_effect(f"network.{name}", "the engine's own module for this algorithm does not have it.")


def _schedule(plan: TrainingPlan) -> Iterator[Problem]:
    optimizer, schedule = catalog.optimizers()[plan.optimizer.name], plan.schedule
    if optimizer.schedule_free:
        # Source: get_dummy_scheduler: an empty schedule; two of these optimizers warm up by themselves.
        if schedule.warmup_steps and plan.optimizer.name not in render.WARMS_UP_ITSELF:
            yield no_effect("schedule.warmup_steps", f"{optimizer.title} has no warm-up.")
    elif schedule.scheduler == "constant" and schedule.warmup_steps:
        fix = Fix("Use constant_with_warmup", {"schedule.scheduler": "constant_with_warmup"})
        message = "The constant schedule has no warm-up, and the engine stops when one is set."
        yield Problem("schedule.warmup_steps", "error", message, fix)
    if schedule.scheduler == "polynomial" and plan.optimizer.learning_rate <= 1e-7:
        # Source: transformers, get_polynomial_decay_schedule_with_warmup: "lr_end must be smaller than initial lr".
        message = "This schedule ends at a learning rate of 1e-7, so the learning rate must be higher than that."
        yield Problem("schedule.scheduler", "error", message, Fix("Use linear", {"schedule.scheduler": "linear"}))


def _samples(plan: TrainingPlan) -> Iterator[Problem]:
    if plan.sampling.every_steps and plan.has_controls:
        path = "sampling.prompts" if plan.sampling.prompts else "sampling.prompt"
        message = "The samples are made of the prompt alone: this model is shown no control image for them, so they show less than it learns."
        yield Problem(path, "info", message)

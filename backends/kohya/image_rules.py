"""Problems that sd-scripts would have with the image folders, captions and masks of a plan. See `rules`."""

from __future__ import annotations

from collections.abc import Iterator

from backends.kohya import render
from backends.kohya.cell import KohyaCell
from trainer_core.draft.checks.dataset import GENERIC_TRIGGERS
from trainer_core.engines import needs
from trainer_core.plan import fields, more_folders
from trainer_core.plan.effect import no_effect
from trainer_core.plan.sections import TrainingPlan
from trainer_core.problems import Fix, Problem

KNOWN_WORDS = GENERIC_TRIGGERS - {"1girl", "1boy"}  # CLIP's vocabulary has no words with digits


def check(plan: TrainingPlan, cell: KohyaCell) -> Iterator[Problem]:
    """The Problems of every image folder, and of masks."""
    yield from _folder(plan, cell)
    yield from more_folders.problems(plan, lambda one: _folder(one, cell))
    yield from _choices(plan)
    if plan.has_validation:
        yield from _validation(plan)
    if any(folder.masks for folder in plan.folders) and cell.masks:
        yield from _masks(plan)


def _folder(plan: TrainingPlan, cell: KohyaCell) -> Iterator[Problem]:
    """The Problems of the images and captions of the first folder."""
    yield from _buckets(plan, cell)
    yield from _images(plan, cell)
    yield from _cached_captions(plan, cell)


def _choices(plan: TrainingPlan) -> Iterator[Problem]:
    for folder in plan.folders:
        if folder.caption_choices and plan.memory.cache_text_encoder:
            message = f"{folder.label}: cached captions do not change, so no line or word can be chosen at each step."
            off = Fix("Do not cache", {"memory.cache_text_encoder": False})
            yield Problem(folder.setting, "error", message, off)


def _validation(plan: TrainingPlan) -> Iterator[Problem]:
    native = render.native(plan)
    for name, path in (
        ("validation_split", "dataset.validation_share"),
        ("validate_every_n_steps", "dataset.validate_every"),
        ("validate_every_n_epochs", "dataset.validate_every"),
    ):
        if name in native:
            message = f"{name} and {path} set the same thing: remove one of them."
            yield Problem(f"native.{render.ID}.{name}", "error", message, needs.leave_out(plan, render.ID, name))


def _masks(plan: TrainingPlan) -> Iterator[Problem]:
    """Source: library/train_util.py, ControlNetDataset; library/config_util.py."""
    if not plan.dataset.bucketing:
        # Without buckets it squeezes the mask into the square from which it cuts the image.
        message = "Without aspect buckets sd-scripts would not cut the masks as it cuts the images."
        yield Problem("dataset.bucketing", "error", message, Fix("Turn aspect buckets on", {"dataset.bucketing": True}))
    if plan.dataset.random_crop:
        message = "sd-scripts cannot crop images with masks at random."
        yield Problem("dataset.random_crop", "error", message, Fix("Turn it off", {"dataset.random_crop": False}))
    native = render.native(plan)
    if native.get("masked_loss") is False:
        message = "masked_loss is off, so the masks would not be read."
        yield Problem("native.kohya.masked_loss", "error", message, needs.leave_out(plan, render.ID, "masked_loss"))
    if native.get("validation_split"):
        # Its validation dataset is made with is_training_dataset = True.
        message = "With masks sd-scripts would measure the validation loss with the images that it trains."
        yield Problem(
            "native.kohya.validation_split", "error", message, needs.leave_out(plan, render.ID, "validation_split")
        )


def _buckets(plan: TrainingPlan, cell: KohyaCell) -> Iterator[Problem]:
    """Source: library/train_util.py, verify_bucket_reso_steps, as each script calls it."""
    settings, wanted = plan.dataset, cell.bucket_step
    if settings.bucketing and settings.bucket_step % wanted:
        message = f"The bucket step must be a multiple of {wanted}."
        fix = Fix(f"Use {wanted}", {"dataset.bucket_step": wanted})
        yield Problem("dataset.bucket_step", "error", message, fix)
    if settings.bucketing and settings.bucket_step > settings.resolution:
        message = (
            f"The bucket step of {settings.bucket_step} px is larger than the resolution of {settings.resolution} px."
        )
        fix = Fix(f"Use {wanted}", {"dataset.bucket_step": wanted}) if wanted <= settings.resolution else None
        yield Problem("dataset.bucket_step", "error", message, fix)
    if not settings.bucketing:
        if settings.resolution % wanted:
            nearest = max(wanted, round(settings.resolution / wanted) * wanted)
            message = f"Without aspect buckets the resolution must be a multiple of {wanted}."
            fix = Fix(f"Use {nearest}", {"dataset.resolution": nearest})
            yield Problem("dataset.resolution", "error", message, fix)
        if settings.bucket_step != type(settings)().bucket_step:
            message = "The bucket step has no effect while aspect buckets are off."
            yield Problem("dataset.bucket_step", "info", message)


def _images(plan: TrainingPlan, cell: KohyaCell) -> Iterator[Problem]:
    settings, from_one_file = plan.dataset, cell.captions == "metadata"
    if from_one_file and not plan.memory.cache_latents:
        # Source: fine_tune.py: its dataset uses the caching strategy, which is set only when latents are cached.
        message = "The engine needs cached latents for this method: without them it stops."
        yield Problem("memory.cache_latents", "error", message, Fix("Cache latents", {"memory.cache_latents": True}))
    for name in ("random_crop", "color_augmentation"):
        # Source: library/train_util.py, is_latent_cacheable.
        if getattr(settings, name) and plan.memory.cache_latents:
            title = fields.all_fields()[f"dataset.{name}"].title
            message = f"{title} changes the image at each step, so its latents cannot be cached."
            off = Fix("Turn it off", {f"dataset.{name}": False})
            fix = off if from_one_file else Fix("Do not cache latents", {"memory.cache_latents": False})
            yield Problem(f"dataset.{name}", "error", message, fix)
    if settings.keep_tokens and not settings.shuffle_captions and not settings.tag_dropout:
        fix = Fix("Set it to 0", {"dataset.keep_tokens": 0})
        message = "Keep tokens has no effect: tags are neither shuffled nor dropped."
        yield Problem("dataset.keep_tokens", "info", message, fix)
    if plan.model.method == "textual_inversion":
        # Source: train_textual_inversion.py, ConfigSanitizer(..., support_dropout=False).
        for name in ("caption_dropout", "tag_dropout"):
            if getattr(settings, name):
                yield no_effect(f"dataset.{name}", "textual inversion never drops captions or tags.")
        if settings.trigger.strip() in KNOWN_WORDS:
            # Source: the same file: "tokenizer has same word to token string". Easel does not have the whole vocabulary.
            message = "The model's tokenizer already has this word, and the engine stops. Choose an invented word."
            yield Problem("dataset.trigger", "error", message)


def _cached_captions(plan: TrainingPlan, cell: KohyaCell) -> Iterator[Problem]:
    """Source: is_text_encoder_output_cacheable, and assert_extra_args of each script."""
    path, off = "memory.cache_text_encoder", Fix("Do not cache", {"memory.cache_text_encoder": False})
    if not plan.memory.cache_text_encoder:
        return
    how = cell.cache_text_encoder
    if how == "no":
        message = "This engine cannot cache the text encoder for this model family and method."
        yield Problem(path, "error", message, off)
        return
    if plan.network.train_text_encoder and how != "partly":
        yield Problem(path, "error", "The outputs of a text encoder that is trained cannot be cached.", off)
    if plan.dataset.shuffle_captions:
        yield Problem(path, "error", "Cached captions do not change, so tags cannot be shuffled.", off)
    if plan.dataset.tag_dropout:
        yield Problem(path, "error", "Cached captions do not change, so tags cannot be dropped.", off)
    if plan.dataset.caption_dropout and how != "dropout":
        yield Problem(path, "error", "Caption dropout does not work with the text encoder cache.", off)

"""Problems that SimpleTuner would have with the image folders, captions and masks of a plan. See `rules`."""

from __future__ import annotations

from collections.abc import Iterator

from backends.simpletuner import dataset
from backends.simpletuner.cell import SimpleTunerCell
from trainer_core.plan import effect, more_folders
from trainer_core.plan.effect import no_effect
from trainer_core.plan.sections import TrainingPlan
from trainer_core.plan.subsets import LIST, ImageFolder
from trainer_core.problems import Fix, Problem


def check(plan: TrainingPlan, installed: str, cell: SimpleTunerCell) -> Iterator[Problem]:
    """The Problems of every image folder; `installed` is the engine's version."""
    yield from _folder(plan, installed, cell)
    yield from more_folders.problems(plan, lambda one: _folder(one, installed, cell))
    for folder in plan.folders:
        yield from _several(plan, folder, installed)
    of_class = next((folder for folder in plan.folders if folder.is_regularisation), None)
    if of_class is not None:
        message = "SimpleTuner trains the network to change nothing in class images, each as often as its repeats."
        yield Problem(of_class.setting, "info", message)
    if of_class is not None and plan.dataset.class_weight != 1:
        # Source: helpers/training/trainer.py: the loss of regularisation data has no factor.
        yield no_effect("dataset.class_weight", "SimpleTuner counts class images as much as all others.")


def _folder(plan: TrainingPlan, installed: str, cell: SimpleTunerCell) -> Iterator[Problem]:
    yield from _shapes(plan, cell)
    yield from _augmentation(plan, installed)


def _several(plan: TrainingPlan, folder: ImageFolder, installed: str) -> Iterator[Problem]:
    """The Problems of what SimpleTuner has for all folders together, or not at all."""
    if folder.setting == LIST:
        without = {
            "alpha_masks": "it cannot use the transparency of images as masks.",
            "caption_choices": "it always takes each line of a caption file as a caption, and never one of {red|blue}.",
        }
        for name, why in without.items():
            if getattr(folder, name) is not None:
                fix = Fix("Leave it out", more_folders.changed(plan, folder, {name: None}))
                yield Problem(LIST, "warning", f"{folder.label}: {name} has no effect with SimpleTuner: {why}", fix)
        if folder.caption_dropout != plan.dataset.caption_dropout:
            # Source: helpers/configuration/cmd_args.py, --caption_dropout_probability.
            message = f"{folder.label}: SimpleTuner has one caption dropout for all folders."
            fix = Fix("Leave it out", more_folders.changed(plan, folder, {"caption_dropout": None}))
            yield Problem(LIST, "warning", message, fix)
    if installed.startswith("3.") and (folder.masks or folder.controls_given or folder.is_regularisation):
        message = "With SimpleTuner 3 Easel has not tried masks, control images and class images. Install version 4, or leave them out."
        yield Problem(folder.setting, "error", f"{folder.label}: {message}" if folder.label else message)


def _shapes(plan: TrainingPlan, cell: SimpleTunerCell) -> Iterator[Problem]:
    settings, step = plan.dataset, cell.bucket_step
    if settings.bucket_step != step:
        message = f"SimpleTuner always uses a bucket step of {step} for this model."
        severity = "warning" if settings.bucket_step != type(settings)().bucket_step else "info"
        yield Problem("dataset.bucket_step", severity, message, Fix(f"Use {step}", {"dataset.bucket_step": step}))
    if settings.resolution % step:
        nearest = max(step, round(settings.resolution / step) * step)
        message = f"The resolution must be a multiple of {step} here."
        yield Problem("dataset.resolution", "error", message, Fix(f"Use {nearest}", {"dataset.resolution": nearest}))


def _augmentation(plan: TrainingPlan, installed: str) -> Iterator[Problem]:
    settings = plan.dataset
    if settings.shuffle_captions and installed.startswith("3."):
        # Source: helpers/prompts.py of 3.1.6 has no caption_shuffle.
        yield _cannot("dataset.shuffle_captions", "SimpleTuner 3 cannot shuffle tags: they stay in order.")
    elif settings.shuffle_captions:
        message = f"SimpleTuner encodes each caption in {dataset.ORDERS} tag orders before training, and picks one at random at each step."
        yield Problem("dataset.shuffle_captions", "info", message)
    elif settings.keep_tokens:
        fix = Fix("Set it to 0", {"dataset.keep_tokens": 0})
        yield Problem("dataset.keep_tokens", "info", "Keep tokens has no effect: tags are not shuffled.", fix)
    if settings.flip:
        yield _cannot("dataset.flip", "SimpleTuner cannot flip images at random.")
    if settings.random_crop:
        # Source: helpers/multiaspect: the position is chosen once, when the images are first read.
        yield _cannot("dataset.random_crop", "SimpleTuner crops an image at the same position for the whole run.")
    if settings.color_augmentation:
        yield _cannot("dataset.color_augmentation", "SimpleTuner cannot change the colours of images.")
    if settings.tag_dropout:
        yield _cannot("dataset.tag_dropout", "SimpleTuner can drop only whole captions, not single tags.")


def _cannot(path: str, message: str) -> Problem:
    return Problem(path, "warning", message, effect.leave_out(path))

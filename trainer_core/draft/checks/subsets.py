"""Rules for several image folders: each can be read and trained, and they go together."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from trainer_core.datasets import folders
from trainer_core.draft.checks.case import Case
from trainer_core.plan import more_folders
from trainer_core.plan.images import CLASS_METHODS
from trainer_core.plan.subsets import CLASS, LIST, ImageFolder
from trainer_core.problems import Fix, Problem
from trainer_core.text import printable

NO_CAPTION = folders.REGULARISATION_FOLDERS | {"class", "dataset", "images", "img", "train"}
"""Names of folders that do not say what is in their images."""

if TYPE_CHECKING:
    from trainer_core.datasets.scan import Dataset
    from trainer_core.engines.claim import Cell


def in_each(rule: Callable[[Case], Iterator[Problem]]) -> Callable[[Case], Iterator[Problem]]:
    """The rule for the first image folder, applied to each further one with images as well."""

    @functools.wraps(rule)
    def check(case: Case) -> Iterator[Problem]:
        yield from rule(case)
        for folder, found in _more(case):
            if not folder.is_regularisation:
                plan = more_folders.alone(case.plan, folder)
                own = Case(plan, replace(case.facts, dataset=found), case.backend, case.below)
                yield from (more_folders.of_folder(case.plan, folder, problem) for problem in rule(own))

    return check


def folders_are_usable(case: Case) -> Iterator[Problem]:
    """Each further folder can be read and has a caption for every image; adds the Problems from its scan."""
    for folder in case.plan.folders:
        found = case.images_of(folder)
        if folder.setting != LIST or found is None:
            continue
        if isinstance(found, str):
            yield Problem(LIST, "error", f"{folder.label}: {found}", more_folders.removed(case.plan, folder))
            continue
        yield from (more_folders.of_folder(case.plan, folder, problem) for problem in found.problems)
        without = sum(not image.caption for image in found.images)
        if without and not folder.caption.strip():
            message = f"{without} of {len(found.images)} images have no caption, and the folder has none for them."
            advice = "Write captions, or fill in its field Default caption, such as: a dog."
            yield Problem(LIST, "error", f"{folder.label}: {message} {advice}", _named(case, folder))


def _named(case: Case, folder: ImageFolder) -> Fix | None:
    """The fix that takes the name of a folder of class images as their caption; None where it says nothing of them."""
    if not folder.is_regularisation:
        return None
    name = Path(folder.path).name
    word = (said.word if (said := folders.repeats(name)) is not None else name).strip()
    if not word or word.isdigit() or word.casefold().replace(" ", "_") in NO_CAPTION:
        return None
    word = word.replace("_", " ")
    return Fix(
        f"Use “{printable(word, 60)}” as their caption", more_folders.changed(case.plan, folder, {"caption": word})
    )


def folders_are_different(case: Case) -> Iterator[Problem]:
    """No folder is trained twice without a difference that explains it."""
    seen: dict[tuple[object, ...], ImageFolder] = {}
    for folder in case.plan.folders:
        if not folder.path:
            continue
        key = (os.path.normpath(folder.path), folder.selection, folder.resolution)
        if (other := seen.setdefault(key, folder)) is not folder:
            first = other.label or "the first one"
            message = f"{folder.label} has the same images as {first}, so they are trained once more."
            fix = more_folders.removed(case.plan, folder) if folder.setting == LIST else None
            yield Problem(
                folder.setting, "warning", f"{message} Leave it out, or give the other one more repeats.", fix
            )


def folders_are_trained(case: Case) -> Iterator[Problem]:
    """The engine and the method can train each further folder as it is declared."""
    plan, claim = case.plan, case.claim
    cell = claim.cell(plan.model.method) if claim is not None and plan.model.method in claim.methods else None
    for index, subset in enumerate(plan.dataset.subsets):
        if subset.kind == "regularisation" and plan.model.method not in CLASS_METHODS:
            rest = tuple(dict(each.model_dump()) for at, each in enumerate(plan.dataset.subsets) if at != index)
            message = f"Image folder {index + 2} has no effect: this method trains no regularisation images."
            yield Problem(LIST, "warning", message, Fix("Leave this folder out", {LIST: rest}))
    if cell is None or case.backend is None:
        return
    for folder in plan.folders:
        if folder.setting == LIST:
            yield from _unsupported(case, folder, cell, case.backend.manifest.title)


def _unsupported(case: Case, folder: ImageFolder, cell: Cell, engine: str) -> Iterator[Problem]:
    plan = case.plan
    if folder.is_regularisation and not cell.class_images:
        message = f"{folder.label}: {engine} trains no regularisation images with this model."
        yield Problem(LIST, "error", message, more_folders.removed(plan, folder))
    without = Fix("Train them without masks", more_folders.changed(plan, folder, {"masks": None}))
    if folder.validation_share and not cell.validation:
        message = f"{folder.label}: {engine} cannot measure the loss of held-out images with this model."
        # Without a value of its own it would get that of the first folder.
        share = 0.0 if plan.dataset.validation_share else None
        fix = Fix("Train all of them", more_folders.changed(plan, folder, {"validation_share": share}))
        yield Problem(LIST, "error", message, fix)
    if folder.masks and not cell.masks:
        yield Problem(LIST, "error", f"{folder.label}: {engine} reads no mask files with this method.", without)
    elif folder.masks and folder.is_regularisation:
        # Source: sd-scripts, library/config_util.py: a subset with masks cannot have is_reg.
        yield Problem(LIST, "error", f"{folder.label}: regularisation images cannot have masks.", without)
    if folder.masks and folder.alpha_masks:
        message = f"{folder.label}: it has mask files, so the transparency of its images masks nothing."
        one = Fix("Use the mask files", more_folders.changed(plan, folder, {"alpha_masks": None}))
        yield Problem(LIST, "error", message, one)


def class_images_have_partners(case: Case) -> Iterator[Problem]:
    """Regularisation images have the resolution of some images of the subject, if the engine counts them for each resolution."""
    backend = case.backend
    if backend is None or not backend.manifest.dataset.balances_class_images:
        return
    # Source: sd-scripts, library/train_util.py, DreamBoothDataset: each dataset counts its own, and leaves out the rest.
    groups = {folder.group for folder in case.plan.folders if not folder.is_regularisation}
    plain = [side for side, has_masks in groups if not has_masks]
    for folder in case.plan.folders:
        if folder.is_regularisation and folder.group not in groups:
            what = folder.label or "The class images"
            masked = " without masks" if (folder.resolution, True) in groups else ""
            message = f"{what}: no other folder{masked} has their resolution of {folder.resolution} px, so they are not trained."
            is_in_list = folder.setting == LIST
            fix = more_folders.removed(case.plan, folder) if is_in_list else Fix("Use none", {CLASS: ""})
            if plain and is_in_list:
                fix = Fix(f"Use {plain[0]} px", more_folders.changed(case.plan, folder, {"resolution": plain[0]}))
            yield Problem(folder.setting, "error", message, fix)


def selections_are_whole(case: Case) -> Iterator[Problem]:
    """Says how many images a selection leaves out, and whether some of its images are gone."""
    for folder in case.plan.folders:
        found = case.images_of(folder)
        if found is None or isinstance(found, str) or not found.selected:
            continue
        setting = LIST if folder.setting == LIST else "dataset.selection"
        start = f"{folder.label}: the" if folder.label else "The"
        message = f'{start} selection "{folder.selection}" has {found.selected} images'
        if found.gone:
            named = f"{len(found.gone)} no longer in the folder ({printable(found.gone[0], 80)})"
            yield Problem(setting, "warning", f"{message}, {named}.")
        else:
            yield Problem(setting, "info", f"{message}: only these are trained.")


def held_out_images_are_there(case: Case) -> Iterator[Problem]:
    """Says how many images are held out, or that none can be."""
    plan = case.plan
    share = "dataset.validation_share"
    for folder in plan.folders:
        found = case.images_of(folder)
        setting = LIST if folder.setting == LIST else share
        if not folder.validation_share or folder.is_regularisation or found is None or isinstance(found, str):
            continue
        label = f"{folder.label}: " if folder.label else ""
        if found.validation is None and found.images:
            message = f"{label}No image can be held out of {len(found.images)}."
            yield Problem(setting, "warning", f"{message} Add images, or hold out none.")
        elif found.validation is not None:
            yield Problem(
                setting,
                "info",
                f"{label}{len(found.validation.images)} of {len(found.images) + len(found.validation.images)} images are held out of the training.",
            )


def _more(case: Case) -> Iterator[tuple[ImageFolder, Dataset]]:
    """The further folders of the list that were scanned."""
    for folder in case.plan.folders:
        found = case.images_of(folder)
        if folder.setting == LIST and found is not None and not isinstance(found, str):
            yield folder, found

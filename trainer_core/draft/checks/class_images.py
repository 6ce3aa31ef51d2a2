"""Rules for class images: those of other subjects of the same kind, which are trained so that the model does not forget them."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator

from trainer_core.draft.checks.case import Case
from trainer_core.engines import batches
from trainer_core.plan.subsets import LIST
from trainer_core.problems import Fix, Problem

PATH, CAPTION = "dataset.class_path", "dataset.class_caption"
NONE = Fix("Use none", {PATH: ""})


def class_images_are_usable(case: Case) -> Iterator[Problem]:
    """The folder of class images can be read, and each of them has a caption; adds the Problems from its scan."""
    plan, dataset = case.plan, case.facts.dataset
    if dataset is None or not case.plan.dataset.class_path or not _are_trained(case):
        return
    found = dataset.class_images
    if found is None:
        reason = dataset.class_error or f"The folder {plan.dataset.class_path} could not be read."
        yield Problem(PATH, "error", f"Class images: {reason}", NONE)
        return
    if os.path.realpath(found.root) == os.path.realpath(dataset.root):
        message = "The class images are the images of the subject. Choose a folder with others of the same kind."
        yield Problem(PATH, "error", message, NONE)
        return
    for problem in found.problems:
        where = PATH if problem.path == "dataset.path" else problem.path
        yield dataclasses.replace(problem, path=where, message=f"Class images: {problem.message}")
    without = sum(not image.caption for image in found.images)
    if without and not plan.dataset.class_caption.strip():
        message = (
            f"{without} of {len(found.images)} class images have no caption. Write what they show, such as: a dog."
        )
        yield Problem(CAPTION, "error", message)


def class_images_show_others(case: Case) -> Iterator[Problem]:
    """The trigger word is not in the captions of class images: it would mean all of them."""
    dataset, trigger = case.facts.dataset, case.plan.dataset.trigger.strip()
    if dataset is None or not trigger or not _are_trained(case):
        return
    from trainer_core.datasets import caption_text

    for folder in case.plan.folders:
        found = dataset.folders.get(folder.name)
        if found is None or not folder.is_regularisation:
            continue
        if caption_text.has_word(folder.caption, trigger):
            message = (
                f'The class caption contains the trigger word "{trigger}", so it would mean every image of the class.'
            )
            fix = Fix("Leave it empty", {CAPTION: ""})
            own = folder.setting == LIST and folder.caption != case.plan.dataset.class_caption
            yield Problem(LIST, "warning", message) if own else Problem(CAPTION, "warning", message, fix)
        named = sum(caption_text.has_word(image.caption or "", trigger) for image in found.images)
        if named:
            message = (
                f'The captions of {named} of {len(found.images)} class images contain the trigger word "{trigger}".'
            )
            message = f"{message} Remove it from them: it should mean the subject alone."
            yield Problem(
                folder.setting, "warning", f"{folder.label}: {message}" if folder.setting == LIST else message
            )


def class_images_are_enough(case: Case) -> Iterator[Problem]:
    """Says how many class images an epoch has, and how many are left out."""
    dataset, engine = case.facts.dataset, case.backend.manifest if case.backend else None
    if dataset is None or engine is None or not dataset.images:
        return
    there = {name: len(found.images) for name, found in dataset.folders.items()}
    of_class = [folder for folder in case.plan.folders if folder.is_regularisation and there.get(folder.name)]
    uses = batches.uses(case.plan, there, engine)
    used = sum(many for folder in of_class for many, _ in uses.get(folder.name, ()))
    each_epoch = sum(many * each for folder in of_class for many, each in uses.get(folder.name, ()))
    if not used:
        return
    path, own = of_class[0].setting, {folder.name for folder in of_class}
    of_subject = sum(many * each for name, found in uses.items() if name not in own for many, each in found)
    message = f"An epoch has {each_epoch} class images beside {of_subject} of the subject"
    every = sum(there[folder.name] for folder in of_class)
    if used < every:
        message += (
            f". Only the first {used} of the {every} class images are used, because there are no more of the subject"
        )
        more = Fix("Use each once", {"dataset.class_repeats": 1}) if case.plan.dataset.class_repeats > 1 else None
        yield Problem(path, "warning", f"{message}.", more or (Fix("Use none", {PATH: ""}) if path == PATH else None))
    else:
        twice = ", so it takes twice the steps" if each_epoch == of_subject else ""
        yield Problem(path, "info", f"{message}{twice}.")


def _are_trained(case: Case) -> bool:
    """Whether the plan has class images and the engine trains them; other rules say so if it does not."""
    method = case.plan.model.method
    return case.plan.has_class_images and case.claim is not None and case.claim.cell(method).class_images

"""Rules for class images: those of other subjects of the same kind, which are trained so that the model does not forget them."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator

from trainer_core.draft.checks.case import Case
from trainer_core.engines import batches
from trainer_core.problems import Fix, Problem

PATH, CAPTION = "dataset.class_path", "dataset.class_caption"
NONE = Fix("Use none", {PATH: ""})


def class_images_are_usable(case: Case) -> Iterator[Problem]:
    """The folder of class images can be read, and each of them has a caption; adds the Problems from its scan."""
    plan, dataset = case.plan, case.facts.dataset
    if dataset is None or not _are_trained(case):
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
    found = case.facts.dataset.class_images if case.facts.dataset else None
    trigger = case.plan.dataset.trigger.strip()
    if found is None or not trigger or not _are_trained(case):
        return
    from trainer_core.datasets import caption_text

    if caption_text.has_word(case.plan.dataset.class_caption, trigger):
        message = f'The class caption contains the trigger word "{trigger}", so it would mean every image of the class.'
        yield Problem(CAPTION, "warning", message, Fix("Leave it empty", {CAPTION: ""}))
    named = sum(caption_text.has_word(image.caption or "", trigger) for image in found.images)
    if named:
        message = f'The captions of {named} of {len(found.images)} class images contain the trigger word "{trigger}".'
        yield Problem(PATH, "warning", f"{message} Remove it from them: it should mean the subject alone.")


def class_images_are_enough(case: Case) -> Iterator[Problem]:
    """Says how many class images an epoch has, and how many are left out."""
    dataset, engine = case.facts.dataset, case.backend.manifest if case.backend else None
    if dataset is None or dataset.class_images is None or not dataset.class_images.images or not dataset.images:
        return
    there = len(dataset.class_sizes)
    uses = batches.class_uses(case.plan, len(dataset.images), there, engine)
    used, each_epoch = sum(many for many, _ in uses), sum(many * each for many, each in uses)
    if not uses:
        return
    message = f"An epoch has {each_epoch} class images beside {len(dataset.images) * case.plan.dataset.repeats} of the subject"
    if used < there:
        message += (
            f". Only the first {used} of the {there} class images are used, because there are no more of the subject"
        )
        more = Fix("Use each once", {"dataset.class_repeats": 1}) if case.plan.dataset.class_repeats > 1 else None
        yield Problem(PATH, "warning", f"{message}.", more or Fix("Use none", {PATH: ""}))
    else:
        yield Problem(PATH, "info", f"{message}, so it takes twice the steps.")


def _are_trained(case: Case) -> bool:
    """Whether the plan has class images and the engine trains them; other rules say so if it does not."""
    method = case.plan.model.method
    return case.plan.has_class_images and case.claim is not None and case.claim.cell(method).class_images

"""Rules for the images, the captions and the trigger word."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from trainer_core.catalog import methods
from trainer_core.draft.checks.case import Case
from trainer_core.draft.checks.controls import captions_are_instructions
from trainer_core.draft.checks.subsets import in_each
from trainer_core.engines import batches
from trainer_core.plan import fields, more_folders
from trainer_core.plan.subsets import FIRST
from trainer_core.problems import Fix, Problem
from trainer_core.text import printable

if TYPE_CHECKING:
    from trainer_core.engines.claim import Cell

GENERIC_TRIGGERS = frozenset({"boy", "character", "girl", "man", "person", "style", "woman", "1girl", "1boy"})


def dataset_is_usable(case: Case) -> Iterator[Problem]:
    """A dataset is chosen and can be read; adds the Problems from its scan."""
    plan, facts = case.plan, case.facts
    if not plan.dataset.path:
        yield Problem("dataset.path", "error", "No dataset is chosen. Choose the folder with your images.")
    elif facts.dataset is None:
        reason = facts.dataset_error or f"The dataset folder {plan.dataset.path} could not be read."
        there = case.at("dataset.path")
        # A user often points at one of the images instead of their folder.
        is_file = there is not None and there.exists and not there.is_folder
        folder = str(PurePath(there.path).parent) if there is not None and is_file else ""
        fix = Fix("Choose its folder", {"dataset.path": folder}) if folder else None
        yield Problem("dataset.path", "error", reason, fix)
    else:
        yield from facts.dataset.problems


def trigger_is_good(case: Case) -> Iterator[Problem]:
    """There is a trigger word if one is needed, and it is not a word that every model already knows."""
    plan, facts = case.plan, case.facts
    trigger = plan.dataset.trigger.strip()
    if not trigger:
        images = facts.dataset.images if facts.dataset else ()
        without = sum(not image.caption for image in images)
        # The word in the name of a folder such as 10_elena is what sd-scripts itself uses in place of captions.
        named = facts.dataset.repeats.word if facts.dataset and facts.dataset.repeats else ""
        fix = Fix(f"Use {named}", {"dataset.trigger": named}) if named else None
        is_edit = captions_are_instructions(case)
        if without and is_edit:
            message = f"{without} of {len(images)} images have no caption, which says what the edit does."
            yield Problem("dataset.path", "error", f"{message} Write one beside each of them.")
        elif without:
            message = f"{without} of {len(images)} images have no caption, and there is no trigger word to use instead."
            yield Problem("dataset.trigger", "error", f"{message} Set a trigger word, or write captions.", fix)
        elif not is_edit:
            message = "There is no trigger word, so no word turns the result on: it slightly changes every image."
            yield Problem("dataset.trigger", "warning", message, fix)
    elif trigger.lower() in GENERIC_TRIGGERS:
        message = (
            f'The trigger word "{trigger}" already has a meaning for the model. Choose a rare word, such as a name.'
        )
        yield Problem("dataset.trigger", "warning", message)


def method_has_its_images(case: Case) -> Iterator[Problem]:
    """The dataset does not have far fewer images than the training method usually needs."""
    dataset, method = case.facts.dataset, methods.shipped()[case.plan.model.method]
    count = len(dataset.images) if dataset is not None else 0
    if 0 < count < method.least_images:
        message = f"{method.title} usually takes {method.images}, and this dataset has {count}: the model may only repeat these images."
        yield Problem("dataset.path", "warning", f"{message} Add images, or use another method.")


def repeats_are_those_of_the_folder(case: Case) -> Iterator[Problem]:
    """The repeats in a folder name, as in 10_elena, equal those of the plan. Easel does not use them by itself."""
    asked = case.facts.dataset.repeats if case.facts.dataset else None
    if asked is not None and asked.number != case.plan.dataset.repeats:
        message = f"The folder name sets {asked.number} repeats, but this job uses {case.plan.dataset.repeats}."
        fix = Fix(f"Use {asked.number}", {"dataset.repeats": asked.number})
        yield Problem("dataset.repeats", "info", message, fix)


@in_each
def images_are_large_enough(case: Case) -> Iterator[Problem]:
    """If the engine does not enlarge images, each side is at least one bucket step, even after the image is reduced.

    Source: sd-scripts, library/train_util.py, BucketManager.select_bucket: otherwise it stops with a division by zero.
    """
    rules = case.backend.manifest.dataset.with_native(_native(case)) if case.backend else None
    if rules is None or rules.enlarges or case.facts.dataset is None or not case.plan.dataset.bucketing:
        return
    step, area = case.plan.dataset.bucket_step, case.plan.dataset.resolution**2
    small = [
        image.name
        for image in case.facts.dataset.images
        if min(image.width, image.height) * min(1.0, (area / (image.width * image.height)) ** 0.5) < step
    ]
    if small:
        named = f"{small[0]} and {len(small) - 1} more are" if len(small) > 1 else f"{small[0]} is"
        message = (
            f"{named} smaller than a bucket step of {step} px, and images are not enlarged: the engine would stop."
        )
        yield Problem("dataset.path", "error", f"{message} Remove it, or let the engine enlarge images.")


@in_each
def captions_are_read_to_the_end(case: Case) -> Iterator[Problem]:
    """Captions are not longer than the text encoder reads. Only text that is certainly lost is reported."""
    cell, dataset = case.claim.cell(case.plan.model.method) if case.claim else None, case.facts.dataset
    limit = _tokens_read(case, cell) if cell else 0
    if cell is None or dataset is None or not limit:
        return
    from trainer_core.datasets import caption_text

    # Without CLIP's vocabulary the counts are lower limits, so only text that is certainly lost is reported.
    merges = case.facts.clip if cell.tokenizer == "clip" else None
    count = merges.count if merges else caption_text.one_each
    around = sum(caption_text.tokens(text, cell.tokenizer, count) for text in dataset.added)
    lines = [(image.name, line) for image in dataset.images for line in (image.caption or "").splitlines()]
    longest = around + max((caption_text.tokens(line, cell.tokenizer, count) for _, line in lines), default=0)
    room = max(0, limit - around)
    cut = {name: line for name, line in lines if caption_text.tokens(line, cell.tokenizer, count) > room}
    if cut:
        name, line = next(iter(cut.items()))
        lost = caption_text.beyond(line, cell.tokenizer, room, count)
        surely = "" if merges else "at least "
        message = (
            f"Captions longer than the {limit} tokens that the text encoder reads: {surely}{len(cut)} of {len(dataset.images)}. "
            f'It does not read {surely}this end of the caption of {name}: "{printable(lost, 80)}".'
        )
        yield Problem("dataset.caption_tokens", "warning", message, _longer(case, cell, limit, longest))


def _tokens_read(case: Case, cell: Cell) -> int:
    """The number of tokens that are read from a caption: set natively, set in the plan, or the default; 0 if unknown."""
    set_to = [value for option in cell.caption_options if isinstance(value := _native(case).get(option), int)]
    variant = case.facts.detection.variant if case.facts.detection else ""
    usual = cell.caption_tokens.get(variant or "", cell.caption_tokens.get("", 0))
    wanted = case.plan.dataset.caption_tokens if cell.caption_options else None
    return min(set_to, default=0) or wanted or usual


def _longer(case: Case, cell: Cell, limit: int, longest: int) -> Fix | None:
    """The fix that sets a longer length, if the engine has one: the lowest that may be enough, else the highest."""
    possible = [length for length in cell.caption_lengths if length > limit]
    if not possible or not _native(case).keys().isdisjoint(cell.caption_options):
        return None
    length = next((length for length in possible if length >= longest), possible[-1])
    return Fix(f"Read {length} tokens", {"dataset.caption_tokens": length})


def _native(case: Case) -> Mapping[str, Any]:
    """The native settings for the engine."""
    return case.plan.native.get(case.backend.manifest.id, {}) if case.backend else {}


def captions_are_read_at_all(case: Case) -> Iterator[Problem]:
    """Not every caption or tag is dropped in every step: the training would not learn the trigger word."""
    for name, what in (("caption_dropout", "caption"), ("tag_dropout", "tag")):
        path = f"dataset.{name}"
        if getattr(case.plan.dataset, name) >= 1:
            word = case.plan.dataset.trigger
            lost = f", so the trigger word {printable(word, 40)!r} is never learned" if word else ""
            message = f"Every {what} is dropped in every step: no {what} is read{lost}."
            yield Problem(path, "warning", message, Fix("Drop a tenth", {path: 0.1}))


def masks_are_in_the_images(case: Case) -> Iterator[Problem]:
    """An engine that uses the transparency of the images as masks finds some: without it nothing is masked."""
    dataset, backend = case.facts.dataset, case.backend
    if dataset is None or backend is None or not dataset.images:
        return
    rules, own = backend.manifest.dataset, case.plan.native.get(backend.manifest.id, {})
    named = [name for name, effect in rules.native.items() if effect == "alpha" and own.get(name)]
    if named and not any(image.has_alpha for image in dataset.images):
        message = (
            f"No image has a transparent part, so {named[0]} masks nothing: save the images as PNG with transparency."
        )
        yield Problem(f"native.{backend.manifest.id}.{named[0]}", "warning", message)


def embedding_has_a_beginning(case: Case) -> Iterator[Problem]:
    """A textual inversion has a trigger word of one word, and an initial word."""
    plan = case.plan
    changed = plan.embedding != type(plan.embedding)()
    if plan.model.method != "textual_inversion":
        if changed:
            message = "These settings have no effect: they are for textual inversion."
            fix = Fix(
                "Leave them out", {"embedding.init_word": "", "embedding.vectors": type(plan.embedding)().vectors}
            )
            yield Problem("embedding.init_word", "warning", message, fix)
        return
    word = plan.dataset.trigger.strip()
    if not word or len(word.split()) > 1 or "," in word:
        message = "Textual inversion trains one new word. Set a trigger word without spaces or commas."
        yield Problem("dataset.trigger", "error", message)
    images = case.facts.dataset.images if case.facts.dataset else ()
    added = case.facts.dataset.added if case.facts.dataset else ()
    from trainer_core.datasets import caption_text

    # The new word is a token of its own, which a tokenizer finds only in the same case.
    # Source: transformers, CLIPTokenizer.add_tokens, run.
    without = sum(
        bool(image.caption) and not caption_text.has_trigger(image.caption, word, added, same_case=True)
        for image in images
    )
    if word and without:
        # The caption of an image without one is the trigger word.
        severity = "error" if without == len(images) else "warning"
        message = f"{without} of {len(images)} captions do not contain the trigger word in exactly this spelling, so nothing is learned from their images."
        yield Problem("dataset.trigger", severity, message)
    if not plan.embedding.init_word.strip():
        message = "There is no initial word, so the training starts from random noise. Set a word for the subject, such as cat."
        yield Problem("embedding.init_word", "warning", message)


def batches_are_filled(case: Case) -> Iterator[Problem]:
    """Every aspect bucket has enough images for an optimizer step, if the engine declares what it does otherwise."""
    plan, dataset, engine = case.plan, case.facts.dataset, case.backend.manifest if case.backend else None
    if engine is None or dataset is None or case.claim is None or plan.model.method not in case.claim.methods:
        return
    if engine.dataset.short_batches == "stops":
        yield from _buckets_that_stop(case, batches.of_buckets(plan, dataset.sizes, engine) or {})
        yield from _more_that_stop(case)
    elif engine.dataset.short_batches == "trained" and dataset.sizes:
        yield from _smaller_batches(case)


def _buckets_that_stop(case: Case, counted: Mapping[str, int]) -> Iterator[Problem]:
    """The Problem of buckets with fewer images than an optimizer step takes, at which the engine stops."""
    assert case.backend is not None
    plan, engine = case.plan, case.backend.manifest
    schedule, repeats = plan.schedule, plan.dataset.repeats
    at_once = schedule.batch_size * schedule.gradient_accumulation * batches.processes(plan, engine.id)
    native = plan.native.get(engine.id, {})
    short = {name: images for name, images in counted.items() if images * repeats < at_once}
    if not short or (repeats == 1 and any(native.get(name) for name in engine.dataset.fills)):
        return
    name, images = min(short.items(), key=lambda entry: entry[1])
    message = (
        f"An optimizer step uses {at_once} images, and {engine.title} stops if an aspect bucket has fewer, counted with repeats. "
        f"{len(short)} of {len(counted)} buckets have fewer; the smallest (aspect {name}) has {images * repeats}."
    )
    yield Problem("dataset.repeats", "error", message, _more_repeats(case, math.ceil(at_once / images)))


def _more_that_stop(case: Case) -> Iterator[Problem]:
    """The same Problem of the further image folders, each of which has its own buckets."""
    assert case.facts.dataset is not None
    assert case.backend is not None
    for folder in case.plan.folders:
        found = case.images_of(folder)
        if folder.setting == FIRST or found is None or isinstance(found, str):
            continue
        plan = more_folders.alone(case.plan, folder)
        own = Case(plan, replace(case.facts, dataset=found), case.backend, case.below)
        counted = batches.of_buckets(plan, found.sizes, case.backend.manifest) or {}
        for problem in _buckets_that_stop(own, counted):
            yield more_folders.of_folder(case.plan, folder, problem)


def _more_repeats(case: Case, needed: int) -> Fix | None:
    """The fix that sets enough repeats, or if that is not possible, batch size 1 without accumulation."""
    if needed <= _most_repeats():
        return Fix(f"Use {needed} repeats", {"dataset.repeats": needed})
    single = {"schedule.batch_size": 1, "schedule.gradient_accumulation": 1}
    assert case.backend is not None
    return (
        Fix("Use batch size 1 without accumulation", single)
        if batches.processes(case.plan, case.backend.manifest.id) == 1
        else None
    )


def _smaller_batches(case: Case) -> Iterator[Problem]:
    """The Problems of optimizer steps with fewer images than planned, because the engine also trains incomplete batches."""
    dataset = case.facts.dataset
    assert case.backend is not None
    assert dataset is not None
    plan, engine = case.plan, case.backend.manifest
    schedule, repeats = plan.schedule, plan.dataset.repeats
    own = plan.model_copy(update={"dataset": plan.dataset.model_copy(update={"class_path": ""})})
    more = dataset.more_sizes
    counted = batches.in_buckets(own, dataset.sizes, engine, (), more)
    if not counted:
        return
    short = [images for images in counted.values() if images < schedule.batch_size]
    if short:
        message = (
            f"{len(short)} of {len(counted)} aspect buckets have fewer images than a batch of {schedule.batch_size}, so their batches "
            "are smaller."
        )
        # With several folders, more repeats of the first one need not fill the bucket.
        needed = math.ceil(schedule.batch_size * repeats / min(short))
        yield Problem("dataset.repeats", "info", message, None if more else _more_repeats(case, needed))
    count, adds = batches.processes(plan, engine.id), schedule.gradient_accumulation

    def of_epoch(repeats: int) -> int:
        """The number of batches of one process in an epoch."""
        of_subject = plan.dataset.model_copy(update={"repeats": repeats})
        changed = plan.model_copy(update={"dataset": of_subject})
        return math.ceil((batches.of_epoch(changed, dataset.sizes, engine, dataset.class_sizes, more) or 0) / count)

    if of_epoch(repeats) < adds:
        # Source: accelerate, Accelerator._do_sync: the end of the data, so of each epoch, also ends an optimizer step.
        message = f"An epoch has only {of_epoch(repeats)} batches for each process, so an optimizer step accumulates fewer than {adds}."
        enough = next((more for more in range(repeats, _most_repeats()) if of_epoch(more) >= adds), _most_repeats() + 1)
        yield Problem("schedule.gradient_accumulation", "warning", message, _more_repeats(case, enough))


def _most_repeats() -> int:
    return int(fields.all_fields()["dataset.repeats"].maximum or 1)

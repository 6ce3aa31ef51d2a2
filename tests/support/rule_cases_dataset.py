"""Cases for the core rules about images, captions and the trigger word: see `rule_cases`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.support.rule_cases import Fires, without
from trainer_core.datasets.folders import Repeats
from trainer_core.datasets.scan import Dataset
from trainer_core.draft.checks import class_images, controls, dataset, subsets
from trainer_core.draft.facts import Facts
from trainer_core.problems import Problem


def captions(*texts: str | None) -> Callable[[Facts], Facts]:
    def change(facts: Facts) -> Facts:
        shown = zip(facts.dataset.images, texts, strict=True)
        return replace(
            facts,
            dataset=replace(facts.dataset, images=tuple(replace(each, caption=text) for each, text in shown)),
        )

    return change


def folder(number: int, word: str) -> Callable[[Facts], Facts]:
    return lambda facts: replace(facts, dataset=replace(facts.dataset, repeats=Repeats(number, word)))


def with_class(*texts: str | None, error: str = "") -> Callable[[Facts], Facts]:
    """Facts with class images that have these captions; without any they could not be read."""

    def change(facts: Facts) -> Facts:
        found = replace(facts.dataset.images[0], width=512, height=512)
        others = tuple(replace(found, caption=text) for text in texts)
        of_class = replace(facts.dataset, root=Path("/dogs"), images=others) if texts else None
        return replace(facts, dataset=replace(facts.dataset, class_images=of_class, class_error=error))

    return change


def with_more(*found: Dataset | str) -> Callable[[Facts], Facts]:
    """Facts with these further image folders."""

    def change(facts: Facts) -> Facts:
        more = {f"subset_{number}": each for number, each in enumerate(found, 2)}
        return replace(facts, dataset=replace(facts.dataset, more=more))

    return change


def with_copy(**changes: Any) -> Callable[[Facts], Facts]:
    """Facts with one further folder: as the first one, with these changes; `captions` are those of its images."""

    def change(facts: Facts) -> Facts:
        first, texts = facts.dataset, changes.pop("captions", None)
        images = first.images if texts is None else tuple(replace(first.images[0], caption=text) for text in texts)
        return with_more(replace(first, images=images, problems=(), **changes))(facts)

    return change


def folders_of(*tables: dict[str, Any]) -> dict[str, Any]:
    return {"dataset.subsets": tuple({"path": "/more", **table} for table in tables)}


def with_controls(side: int) -> Callable[[Facts], Facts]:
    """Facts with a square control image of this size for each image."""

    def change(facts: Facts) -> Facts:
        shown = {each.name: replace(each, width=side, height=side) for each in facts.dataset.images}
        return replace(facts, dataset=replace(facts.dataset, controls=(shown,)))

    return change


LIST = "dataset.subsets"
CLASS = {"dataset.class_path": "/dogs"}
TI = {"model.method": "textual_inversion", "embedding.init_word": "cat"}
LENGTH = ("dataset.caption_tokens", "warning")
FIRES = {
    "a further folder that cannot be read": Fires(
        subsets.folders_are_usable, LIST, "error", folders_of({}), facts=with_more("It is gone.")
    ),
    "a further folder without captions": Fires(
        subsets.folders_are_usable,
        LIST,
        "error",
        folders_of({"caption": " "}),
        facts=with_copy(captions=[None, "a dog"]),
        has_fix=False,
    ),
    "a folder that is trained twice": Fires(
        subsets.folders_are_different, LIST, "warning", {LIST: ({"path": "/more"}, {"path": "/more"})}
    ),
    "masks of regularisation images": Fires(
        subsets.folders_are_trained, LIST, "error", folders_of({"kind": "regularisation", "masks": "/masks"})
    ),
    "mask files beside transparency": Fires(
        subsets.folders_are_trained, LIST, "error", folders_of({"masks": "/masks", "alpha_masks": True})
    ),
    "control images of a further folder that the engine does not show": Fires(
        controls.controls_suit_the_model, LIST, "error", folders_of({"controls": "/before", "controls_2": "/pose"})
    ),
    "control images of regularisation images": Fires(
        controls.controls_suit_the_model, LIST, "error", folders_of({"kind": "regularisation", "controls": "/before"})
    ),
    "second control images without first ones": Fires(
        controls.controls_suit_the_model, LIST, "error", folders_of({"controls_2": "/pose"})
    ),
    "held-out images with control images": Fires(
        controls.controls_suit_the_model,
        "dataset.validation_share",
        "error",
        {"dataset.controls": "/before", "dataset.validation_share": 0.2},
    ),
    "control images that are much too small": Fires(
        controls.controls_are_good,
        "dataset.controls",
        "warning",
        {"dataset.controls": "/before"},
        facts=with_controls(64),
        has_fix=False,
    ),
    "regularisation images with a method that has none": Fires(
        subsets.folders_are_trained,
        LIST,
        "warning",
        {**folders_of({"kind": "regularisation"}), "model.method": "full"},
    ),
    "regularisation images of another resolution": Fires(
        subsets.class_images_have_partners, LIST, "error", folders_of({"kind": "regularisation", "resolution": 1024})
    ),
    "a single image of which a share is held out": Fires(
        subsets.held_out_images_are_there,
        "dataset.validation_share",
        "warning",
        {"dataset.validation_share": 0.2},
        has_fix=False,
    ),
    "a selection with images that are gone": Fires(
        subsets.selections_are_whole,
        "dataset.selection",
        "warning",
        {"dataset.selection": "best"},
        facts=lambda facts: replace(facts, dataset=replace(facts.dataset, selected=2, gone=("a.png",))),
        has_fix=False,
    ),
    "masks that no image has": Fires(
        dataset.masks_are_in_the_images,
        "native.kohya.alpha_mask",
        "warning",
        {"native": {"kohya": {"alpha_mask": True}}},
        has_fix=False,
    ),
    "a caption that is always dropped": Fires(
        dataset.captions_are_read_at_all, "dataset.caption_dropout", "warning", {"dataset.caption_dropout": 1.0}
    ),
    "far too few images for full finetuning": Fires(
        dataset.method_has_its_images, "dataset.path", "warning", {"model.method": "full"}, has_fix=False
    ),
    "unread class images": Fires(
        class_images.class_images_are_usable,
        "dataset.class_path",
        "error",
        CLASS,
        facts=with_class(error="It is gone."),
    ),
    "the subject's own images as class images": Fires(
        class_images.class_images_are_usable,
        "dataset.class_path",
        "error",
        CLASS,
        facts=lambda facts: replace(facts, dataset=replace(facts.dataset, class_images=facts.dataset)),
    ),
    "what the scan of class images found": Fires(
        class_images.class_images_are_usable,
        "dataset.class_path",
        "error",
        CLASS,
        facts=lambda facts: replace(
            facts,
            dataset=replace(
                facts.dataset,
                class_images=replace(
                    facts.dataset, root=Path("/dogs"), problems=(Problem("dataset.path", "error", "No images."),)
                ),
            ),
        ),
        has_fix=False,
    ),
    "class images without a caption": Fires(
        class_images.class_images_are_usable,
        "dataset.class_caption",
        "error",
        CLASS,
        facts=with_class("a dog", None),
        has_fix=False,
    ),
    "a trigger word in the class caption": Fires(
        class_images.class_images_show_others,
        "dataset.class_caption",
        "warning",
        {**CLASS, "dataset.class_caption": "photo of mika"},
        facts=with_class("a dog"),
    ),
    "a trigger word in the captions of class images": Fires(
        class_images.class_images_show_others,
        "dataset.class_path",
        "warning",
        CLASS,
        facts=with_class("mika, a dog"),
        has_fix=False,
    ),
    "class images": Fires(
        class_images.class_images_are_enough,
        "dataset.class_path",
        "info",
        CLASS,
        facts=with_class("a dog"),
        has_fix=False,
    ),
    "more class images than images": Fires(
        class_images.class_images_are_enough, "dataset.class_path", "warning", CLASS, facts=with_class(*["a dog"] * 9)
    ),
    "no dataset": Fires(dataset.dataset_is_usable, "dataset.path", "error", {"dataset.path": ""}, has_fix=False),
    "an unread dataset": Fires(
        dataset.dataset_is_usable, "dataset.path", "error", facts=without("dataset"), has_fix=False
    ),
    "what the scan found": Fires(
        dataset.dataset_is_usable,
        "dataset.path",
        "error",
        facts=lambda facts: replace(
            facts, dataset=replace(facts.dataset, problems=(Problem("dataset.path", "error", "No images."),))
        ),
        has_fix=False,
    ),
    "a generic trigger word": Fires(
        dataset.trigger_is_good, "dataset.trigger", "warning", {"dataset.trigger": "girl"}, has_fix=False
    ),
    "no trigger word": Fires(
        dataset.trigger_is_good, "dataset.trigger", "warning", {"dataset.trigger": ""}, has_fix=False
    ),
    "no trigger word and no captions": Fires(
        dataset.trigger_is_good,
        "dataset.trigger",
        "error",
        {"dataset.trigger": " "},
        facts=captions(None, "a", "b"),
        has_fix=False,
    ),
    "a folder with repeats": Fires(
        dataset.repeats_are_those_of_the_folder, "dataset.repeats", "info", facts=folder(10, "mika")
    ),
    "a folder with a word": Fires(
        dataset.trigger_is_good, "dataset.trigger", "warning", {"dataset.trigger": ""}, facts=folder(1, "mika")
    ),
    "an image smaller than a bucket step": Fires(
        dataset.images_are_large_enough,
        "dataset.path",
        "error",
        {"native": {"kohya": {"bucket_no_upscale": True}}},
        facts=lambda facts: replace(
            facts,
            dataset=replace(
                facts.dataset, images=(*facts.dataset.images, replace(facts.dataset.images[0], width=900, height=40))
            ),
        ),
        has_fix=False,
    ),
    "long captions": Fires(dataset.captions_are_read_to_the_end, *LENGTH, facts=captions("mika, " * 60, None, "a cat")),
    "captions beyond the only length": Fires(
        dataset.captions_are_read_to_the_end, *LENGTH, {}, "anima", captions("mika " * 600, None, ""), has_fix=False
    ),
    "embedding settings without textual inversion": Fires(
        dataset.embedding_has_a_beginning, "embedding.init_word", "warning", {"embedding.vectors": 8}
    ),
    "a trigger word of two words": Fires(
        dataset.embedding_has_a_beginning,
        "dataset.trigger",
        "error",
        {**TI, "dataset.trigger": "mika, image"},
        has_fix=False,
    ),
    "no caption with the trigger word": Fires(
        dataset.embedding_has_a_beginning, "dataset.trigger", "error", {**TI, "dataset.trigger": "zwx"}, has_fix=False
    ),
    "a caption without the trigger word": Fires(
        dataset.embedding_has_a_beginning,
        "dataset.trigger",
        "warning",
        TI,
        facts=captions("mika", None, "a cat"),
        has_fix=False,
    ),
    "the trigger word in another case, and in another word": Fires(
        dataset.embedding_has_a_beginning,
        "dataset.trigger",
        "warning",
        TI,
        facts=captions("mika", "MIKA", "mikado"),
        has_fix=False,
    ),
    "no initial word": Fires(
        dataset.embedding_has_a_beginning,
        "embedding.init_word",
        "warning",
        {**TI, "embedding.init_word": ""},
        has_fix=False,
    ),
}

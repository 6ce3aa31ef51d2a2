"""Cases for the core rules about images, captions and the trigger word: see `rule_cases`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from tests.support.rule_cases import Fires, without
from trainer_core.datasets.folders import Repeats
from trainer_core.draft.checks import dataset
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


TI = {"model.method": "textual_inversion", "embedding.init_word": "cat"}
LENGTH = ("dataset.caption_tokens", "warning")
FIRES = {
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

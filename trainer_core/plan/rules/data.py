"""Rules for the pictures and the words that stand for them."""

from __future__ import annotations

from collections.abc import Iterator

from trainer_core.plan.rules.case import Case
from trainer_core.problems import Fix, Problem

GENERIC_TRIGGERS = frozenset({"boy", "character", "girl", "man", "person", "style", "woman", "1girl", "1boy"})


def dataset_is_usable(case: Case) -> Iterator[Problem]:
    """A dataset is chosen, and what its scan found."""
    plan, facts = case.plan, case.facts
    if not plan.dataset.path:
        yield Problem("dataset.path", "error", "No dataset is chosen. Pick the folder that holds your pictures.")
    elif facts.dataset is None:
        reason = facts.dataset_error or f"The dataset folder {plan.dataset.path} could not be read."
        yield Problem("dataset.path", "error", reason)
    else:
        yield from facts.dataset.problems


def trigger_is_good(case: Case) -> Iterator[Problem]:
    """A trigger word exists where one is needed, and is not a word every model already knows."""
    plan, facts = case.plan, case.facts
    trigger = plan.dataset.trigger.strip()
    if not trigger:
        pictures = facts.dataset.pictures if facts.dataset else ()
        without = sum(not picture.caption for picture in pictures)
        if without:
            message = (
                f"{without} of {len(pictures)} pictures have no caption, and there is no trigger word to stand in."
            )
            yield Problem("dataset.trigger", "error", f"{message} Give a trigger word, or write captions.")
        else:
            message = "No trigger word: what is learnt has no word of its own and always shows a little."
            yield Problem("dataset.trigger", "warning", message)
    elif trigger.lower() in GENERIC_TRIGGERS:
        message = (
            f'The trigger word "{trigger}" already means something to the model. Choose a rare word, such as a name.'
        )
        yield Problem("dataset.trigger", "warning", message)


def embedding_has_a_beginning(case: Case) -> Iterator[Problem]:
    """A new word has a name, one word long, and a meaning to start from."""
    plan = case.plan
    changed = plan.embedding != type(plan.embedding)()
    if plan.model.method != "textual_inversion":
        if changed:
            message = "The settings of a new word have no effect: none is trained."
            fix = Fix(
                "Leave them out", {"embedding.init_word": "", "embedding.vectors": type(plan.embedding)().vectors}
            )
            yield Problem("embedding.init_word", "warning", message, fix)
        return
    word = plan.dataset.trigger.strip()
    if not word or len(word.split()) > 1 or "," in word:
        message = "Textual inversion trains one new word: give a trigger word without spaces or commas."
        yield Problem("dataset.trigger", "error", message)
    pictures = case.facts.dataset.pictures if case.facts.dataset else ()
    without = sum(bool(picture.caption) and word.lower() not in picture.caption.lower() for picture in pictures)
    if word and without:
        # A picture without a caption gets the word as its caption.
        severity = "error" if without == len(pictures) else "warning"
        message = (
            f"{without} of {len(pictures)} captions do not hold the new word, so nothing is learnt from their pictures."
        )
        yield Problem("dataset.trigger", severity, message)
    if not plan.embedding.init_word.strip():
        message = (
            "No word to start from: the new word starts as noise of no meaning. Name one that is near, such as cat."
        )
        yield Problem("embedding.init_word", "warning", message)

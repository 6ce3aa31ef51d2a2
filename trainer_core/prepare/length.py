"""The length of a job in epochs, and the settings that count steps as numbers of epochs.

Plans count in steps, because the engines do. An epoch is counted as the engine of the job counts it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trainer_core.engines import batches, epochs
from trainer_core.errors import PlanError
from trainer_core.plan import fields

if TYPE_CHECKING:
    from fractions import Fraction

    from trainer_core.prepare.state import State

NO_IMAGES = "Epochs can be counted once a dataset is chosen."


def steps_of_epoch(state: State) -> Fraction | None:
    """The number of optimizer steps of an epoch of this job; None without images."""
    dataset = state.facts.dataset
    if dataset is None:
        return None
    manifest = state.backend.manifest if state.backend else None
    return batches.steps_of_epoch(
        state.draft.sketch(), dataset.sizes, manifest, dataset.class_sizes, dataset.more_sizes
    )


def in_epochs(state: State, path: str) -> str:
    """The value of a setting in epochs, for people; "" if it is 0, is not a number, or if there are no images."""
    each, steps = steps_of_epoch(state), state.draft.values[path]
    if each is None or not isinstance(steps, int) or steps <= 0:
        return ""
    return epochs.shown(epochs.to_epochs(steps, each))


def from_epochs(state: State, path: str, text: str) -> dict[str, Any]:
    """The value in steps of a number of epochs that somebody wrote, by path.

    Raises:
        PlanError: it is not a number of epochs, is less than a step, or the job has no images yet.
    """
    each = steps_of_epoch(state)
    if each is None:
        raise PlanError(NO_IMAGES, "Choose a dataset first, or give the number of steps.")
    try:
        wanted = epochs.parse(text)
    except ValueError as error:
        raise PlanError(str(error)) from error
    if wanted * each < 1:
        raise PlanError(
            f"{text.strip():.20} epochs are less than one step. {epochs.sentence(each)}", "Give more epochs."
        )
    steps = epochs.to_steps(wanted, each)
    steps, sentence = fields.check(path, steps)
    if sentence:
        raise PlanError(sentence, "Give fewer epochs.")
    return {path: steps}


def sentence(state: State) -> str:
    """How many steps make an epoch of this job."""
    each = steps_of_epoch(state)
    return NO_IMAGES if each is None else epochs.sentence(each)

"""Learning rate and steps for a number of images, by the prefill policies, and the two types of training.

Steps are optimizer steps: with the workflow's batch size of 2, each step sees two images.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from trainer_core.errors import PolicyError
from trainer_core.text import printable

DIM = 16
"""The rank of the document's workflow."""


@dataclass(frozen=True)
class TrainingType:
    """What is trained: the policy that computes its values, the first word of its models' names, and prompts for samples.

    "{token}" in a prompt becomes the trigger token.
    """

    policy: str
    word: str
    prompts: tuple[str, ...]


TYPES = {
    "custom-styles": TrainingType(
        "style",
        "style",
        (
            "a foggy mountain valley with pine trees, winding river, {token}",
            "portrait of a girl on a swing under blossoming cherry trees, {token}",
            "an ancient stone bridge over a creek in twilight, {token}",
        ),
    ),
    "custom-actors": TrainingType(
        "actor",
        "actor",
        ("a close-up portrait, soft window light, {token}", "full body, walking through a busy street, {token}"),
    ),
}
"""The types by their name in a request. The prompts of styles are examples of captions in the document "LoRA Training System"."""


@dataclass(frozen=True)
class Hyperparams:
    """The values for a number of images. `max_train_steps` counts optimizer steps."""

    learning_rate: float
    max_train_steps: int
    network_dim: int = DIM
    network_alpha: float = DIM


def type_of(training_type: str) -> TrainingType:
    """The type of training with this name.

    Raises:
        ValueError: there is none.
    """
    found = TYPES.get(training_type)
    if found is None:
        raise ValueError(f"There is no training type {printable(str(training_type), 60)!r}. Known: {', '.join(TYPES)}.")
    return found


def compute_hyperparams(training_type: str, image_count: int, preset: str = "") -> Hyperparams:
    """The learning rate and steps for a number of images.

    Without a `preset`, they follow the document "LoRA Training Module": 50 steps per image for styles, 100 for actors, with
    limits, and with the environment variables SB_HP_..., which are read now. A preset is the id of another policy of Easel;
    "style-002" is the recommendation of the document "LoRA Training System": 40 steps per image and 0.0001.

    Raises:
        ValueError: the type or preset does not exist, there is no image, or an environment variable has no usable number.
    """
    from trainer_core import policies
    from trainer_core.policies import PolicyCase, environment
    from trainer_core.policies.policy import ALPHA, RANK, RATE, STEPS

    name = preset or type_of(training_type).policy
    type_of(training_type)
    if isinstance(image_count, bool) or not isinstance(image_count, int) or image_count < 1:
        raise ValueError("The number of images must be a whole number from 1 on.")
    try:
        policy = policies.get(name)
    except PolicyError as error:
        raise ValueError(str(error)) from None
    if refused := environment.unusable(policy, os.environ):
        raise ValueError(" ".join(each.reason for each in refused))
    case = PolicyCase(images=image_count, family="flux", method="lora", environment=os.environ)
    values = policies.values(policy, case).values
    if RATE not in values or STEPS not in values:
        raise ValueError(f"The policy {name} sets no learning rate or no steps, so it is no preset.")
    rank = values.get(RANK, DIM)
    return Hyperparams(values[RATE], values[STEPS], rank, float(values.get(ALPHA, rank)))

"""Where SimpleTuner puts what it trained. Source: runs of 4.10.1 and 3.1.6; helpers/training/save_hooks.py and trainer.py."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from backends.simpletuner import trained
from trainer_core.backend import ArtefactPattern, Artefacts
from trainer_core.plan.sections import TrainingPlan

NETWORK_FILE = "pytorch_lora_weights.safetensors"
PIPELINE = "pipeline"
"""The folder of a fully trained model: all its parts, as diffusers keeps them."""


def artefacts(plan: TrainingPlan, cell: Mapping[str, Any]) -> Artefacts:
    """What to look for in the output folder; a fully trained model is a folder."""
    inside = cell["component"] if plan.model.method == "full" else NETWORK_FILE
    final = _final(plan, cell)
    return Artefacts(
        final=ArtefactPattern(final, f"^{re.escape(final)}$"),
        checkpoints=ArtefactPattern(f"checkpoint-*/{inside}", rf"^checkpoint-(?P<step>\d+)/{re.escape(inside)}$"),
        samples=ArtefactPattern(
            "validation_images/step_*.png",
            r"^validation_images/step_(?P<step>\d+)_.*?(?:_(?P<prompt>\d+))?_\d+x\d+\.png$",
        ),
    )


def _final(plan: TrainingPlan, cell: Mapping[str, Any]) -> str:
    """The finished result. Of a LoRA it is the last checkpoint, when there is one at the last step.

    The file the engine writes at its very end holds the same weights, but says alpha = rank (4.10.1) or nothing at all
    (3.1.6), whatever was asked: trainer.py passes no adapter metadata to that last save. In LyCORIS files alpha is a tensor.
    """
    if plan.model.method == "full":
        return PIPELINE
    if ends_in_checkpoint(plan) and not trained.is_lycoris(plan, cell):
        return f"checkpoint-{plan.schedule.steps}/{NETWORK_FILE}"
    return NETWORK_FILE


def checkpoint_interval(plan: TrainingPlan) -> int:
    """Every how many steps a checkpoint is written: as asked, else once, at the end."""
    return min(plan.output.save_every_steps or plan.schedule.steps, plan.schedule.steps)


def ends_in_checkpoint(plan: TrainingPlan) -> bool:
    """Whether the last step is one of those a checkpoint is written at."""
    return plan.schedule.steps % checkpoint_interval(plan) == 0

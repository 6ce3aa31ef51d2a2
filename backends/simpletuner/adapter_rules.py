"""Problems with the network that SimpleTuner adds to a distilled model while it trains another network on it.

Without it, training takes back the distillation: the result then needs many steps again. The engine would fetch it from the Hub
by name when it starts; Easel has it read from a file, or leaves it out if the user says so.
Source: helpers/models/z_image/model.py, _maybe_load_assistant_lora; the page of ostris/zimage_turbo_training_adapter.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from backends.simpletuner import render
from backends.simpletuner.cell import SimpleTunerCell
from trainer_core.plan.sections import TrainingPlan
from trainer_core.problems import Fix, Problem

FILE, OFF = "assistant_lora_path", "disable_assistant_lora"


def check(plan: TrainingPlan, native: Mapping[str, Any], cell: SimpleTunerCell) -> Iterator[Problem]:
    """The Problems of training on a distilled model, and of the settings for its adapter where none is used."""
    path, adapter = f"native.{render.ID}.{FILE}", cell.adapters.get(plan.model.variant)
    if not adapter:
        return
    if plan.model.method != "lora":
        message = (
            "This model is distilled to few steps, and full finetuning takes that back. Train the base model instead."
        )
        yield Problem("model.variant", "warning", message)
        return
    if native.get(OFF):
        message = "Without its training adapter, this model soon needs many steps again. Train briefly, or use the base model."
        yield Problem(f"native.{render.ID}.{OFF}", "warning", message)
    elif not native.get(FILE):
        without = {**plan.native, render.ID: {**plan.native.get(render.ID, {}), OFF: True}}
        message = (
            "This model is distilled to few steps. To keep that, it is trained with an adapter, which is not part of the "
            f"result. In a terminal: easel models download hf:{adapter}. Then set {path} to the file."
        )
        yield Problem(path, "error", message, Fix("Train without it", {"native": without}))

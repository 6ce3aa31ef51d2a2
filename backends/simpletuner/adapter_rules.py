"""Problems with the network that SimpleTuner adds to some models while it trains another network on them.

The engine would fetch it from the Hub by name when it starts; Easel downloads it if the user wants it, or leaves it out. Without it,
training takes back the distillation of a distilled model: the result then needs many steps again, so the user must say that it
is left out. Qwen-Image 2.1 is no such model: there it is meant to keep the quality of the images, and is left out without a file.
Source: _maybe_load_assistant_lora in helpers/models/{z_image,qwen_image}/model.py; the pages of the adapters on the Hub.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from backends.simpletuner import render
from backends.simpletuner.cell import SimpleTunerCell
from trainer_core.engines import needs
from trainer_core.plan.sections import TrainingPlan
from trainer_core.problems import Fix, Problem, download

FILE, OFF = "assistant_lora_path", "disable_assistant_lora"


def check(plan: TrainingPlan, native: Mapping[str, Any], cell: SimpleTunerCell) -> Iterator[Problem]:
    """The Problems of training on a distilled model, and of the settings for its adapter where none is used."""
    path, adapter = f"native.{render.ID}.{FILE}", cell.adapters.get(plan.model.variant)
    if not adapter:
        return
    distilled = bool(plan.model.variant)
    if plan.model.method != "lora":
        message = (
            "This model is distilled to few steps, and full finetuning takes that back. Train the base model instead."
        )
        if distilled:
            yield Problem("model.variant", "warning", message)
        return
    if native.get(OFF):
        message = "Without its training adapter, this model soon needs many steps again. Train briefly, or use the base model."
        if distilled:
            yield Problem(f"native.{render.ID}.{OFF}", "warning", message)
    elif not native.get(FILE):
        fetch = download(f"Download the adapter ({adapter.rpartition('/')[2]}) and use it", f"hf:{adapter}", path)
        if distilled:
            message = "This model is distilled to few steps. To keep that, it is trained with an adapter, which is not part of the result."
            yield Problem(path, "error", f"{message} Its file is not set.", fetch)
            message = (
                "Instead of using an adapter, you can train without it: the model then soon needs many steps again."
            )
            off = Fix("Train without the adapter", needs.set_native(plan, render.ID, OFF, True))
            yield Problem(f"native.{render.ID}.{OFF}", "info", message, off)
        else:
            message = (
                "It is trained without the adapter that SimpleTuner's authors made for this model, which is not part of the result. "
                "It is meant to keep the quality of the images, and they call it experimental."
            )
            yield Problem(path, "info", message, fetch)

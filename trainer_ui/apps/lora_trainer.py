"""The LoRA trainer: images in, a LoRA out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trainer_ui.apps.trainer import Trainer
from trainer_ui.panels.settings import RECIPE
from trainer_ui.panels.uses import Uses

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trainer_ui.session import Session


def lora_trainer(
    settings: Mapping[str, Any] | None = None, profile: str = "", engine: str = "", preset: str = ""
) -> None:
    """Displays the LoRA trainer, with the run that is in progress, if there is one. Arguments as in `Trainer.with_engine`."""
    LoraTrainer.with_engine(settings, profile, engine, preset).present()


class LoraTrainer(Trainer):
    """Trains LoRAs and other networks that are added to a model."""

    id, title = "lora_trainer", "LoRA Trainer"
    methods, essentials = ("lora",), RECIPE

    def choice(self, session: Session) -> Uses:
        """What the LoRA should learn."""
        return Uses(session)

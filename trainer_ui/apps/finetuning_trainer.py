"""The finetuning trainer: the whole model, a model that knows one subject, or a new word."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trainer_ui.apps.trainer import Trainer
from trainer_ui.panels.methods import Methods
from trainer_ui.panels.settings import CLASS, FINETUNING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trainer_ui.session import Session


def finetuning_trainer(
    settings: Mapping[str, Any] | None = None, profile: str = "", engine: str = "", preset: str = ""
) -> None:
    """Displays the finetuning trainer, with the run in progress, if there is one. Arguments as in `Trainer.with_engine`."""
    FinetuningTrainer.with_engine(settings, profile, engine, preset).present()


class FinetuningTrainer(Trainer):
    """Trains the weights of the model itself, or an embedding for a new word."""

    id, title = "finetuning_trainer", "Finetuning Trainer"
    methods, essentials = ("full", "dreambooth", "textual_inversion"), FINETUNING
    of_images = CLASS
    guide_page = "finetuning"

    def choice(self, session: Session) -> Methods:
        """What the training makes."""
        return Methods(session)

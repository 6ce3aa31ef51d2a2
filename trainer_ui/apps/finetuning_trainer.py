"""The finetuning trainer: the whole model, a model that knows one subject, or a new word."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trainer_ui.apps.trainer import Trainer
from trainer_ui.panels.methods import Methods

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trainer_ui.session import Session

ESSENTIALS = (
    "schedule.steps",
    "dataset.repeats",
    "dataset.resolution",
    "schedule.batch_size",
    "optimizer.learning_rate",
    "optimizer.name",
    "network.train_text_encoder",
    "optimizer.text_encoder_learning_rate",
    "embedding.init_word",
    "embedding.vectors",
    "memory.half_weights",
    "output.save_precision",
)
"""The settings in front; those without an effect on the chosen method are hidden."""


def finetuning_trainer(
    settings: Mapping[str, Any] | None = None, profile: str = "", engine: str = "", preset: str = ""
) -> None:
    """Displays the finetuning trainer, with the run in progress, if there is one. Arguments as in `Trainer.with_engine`."""
    FinetuningTrainer.with_engine(settings, profile, engine, preset).present()


class FinetuningTrainer(Trainer):
    """Trains the weights of the model itself, or an embedding for a new word."""

    id, title = "finetuning_trainer", "Finetuning Trainer"
    methods, essentials = ("full", "dreambooth", "textual_inversion"), ESSENTIALS

    def choice(self, session: Session) -> Methods:
        """What the training makes."""
        return Methods(session)

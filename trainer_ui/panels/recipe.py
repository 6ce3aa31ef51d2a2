"""The recipe: what is learnt or made, the profile and policy, and the settings that matter most."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainer_core.plan import fields
from trainer_ui.answers import has_recipe, is_begun, mark
from trainer_ui.controls import shown
from trainer_ui.formatting import show
from trainer_ui.panels.card import Step
from trainer_ui.panels.length import Epochs
from trainer_ui.panels.profile import Choice, ProfilePanel
from trainer_ui.panels.settings import Settings
from trainer_ui.widgets import Box, VBox, Widget

if TYPE_CHECKING:
    from trainer_ui.session import Session

LEARNING_RATE = fields.all_fields()["optimizer.learning_rate"]
GROUPS = ("network", "embedding", "optimizer", "schedule")


class RecipePanel:
    """The step of the recipe."""

    def __init__(self, session: Session, settings: Settings, choice: Choice, opens: Widget) -> None:
        """`opens` has the buttons that open all settings, and the files and the command."""
        self.session = session
        self.profile = ProfilePanel(session, choice)
        front = settings.front(settings.essentials)
        self.epochs = Epochs(session, settings.controls["schedule.steps"])
        known = [settings.groups[section] for section in GROUPS if section in settings.groups]
        groups = Box(known, classes=("easel-groups",))
        self.settings = VBox([front, groups, opens], classes=("easel-recipe",))
        self.step = Step(
            session,
            "Recipe",
            lambda: [*self.profile.content, self.settings],
            question=choice.question,
            number="3",
            is_open=True,
        )
        self.widget = self.step.widget

    def show(self) -> None:
        """Shows profile and policy, and the recipe in one line."""
        self.profile.show()
        self.epochs.show()
        # Before there is a model, and nothing was set, the question alone is easier to answer.
        show(self.settings, is_begun(self.session))
        # Without a profile a known model has recommended values; which method to use, only the user knows.
        is_chosen = has_recipe(self.session) or (self.session.has_method and bool(self.session.bench.state.family))
        self.step.show(mark(self.session, "recipe", is_chosen), self._summary())

    def _summary(self) -> str:
        state, values = self.session.bench.state, self.session.values
        name = state.profile.title if state.profile else "plain defaults" if state.plain else "recommended values"
        if not state.family:
            return ""
        rank = f"rank {values['network.rank']}, " if values["model.method"] == "lora" else ""
        return (
            f"{name}: {values['schedule.steps']:,} steps, {rank}"
            f"learning rate {shown(LEARNING_RATE, values[LEARNING_RATE.path])}"
        )

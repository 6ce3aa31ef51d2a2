"""What the LoRA should learn, as buttons: each takes the most fitting profile for the model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trainer_ui import recipes
from trainer_ui.widgets import Box, ToggleButton

if TYPE_CHECKING:
    from trainer_ui.session import Session


class Uses:
    """A button for each use. One that is chosen before the model is known is kept until then."""

    question = "What should it learn?"

    def __init__(self, session: Session) -> None:
        self.session = session
        self.buttons = {use: self._button(use, title, what) for use, (title, what) in recipes.USES.items()}
        self.widget = Box(tuple(self.buttons.values()), classes=("easel-uses",))

    def _button(self, use: str, title: str, what: str) -> ToggleButton:
        button = ToggleButton(description=f"{title}\n{what}", classes=("easel-use",))

        def turned(is_on: Any) -> None:
            self.session.wish_for(use if is_on else "")

        button.observe(self.session.handler(turned), "value")
        return button

    def show(self) -> None:
        """Marks the use of the chosen profile, or the one that the user wishes for."""
        state = self.session.bench.state
        chosen = state.profile.use if state.profile else self.session.wish
        for use, button in self.buttons.items():
            button.value = use == chosen

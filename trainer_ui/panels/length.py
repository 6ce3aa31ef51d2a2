"""A number of epochs beside a setting that counts steps: either one is typed, and the other follows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trainer_core.prepare import length
from trainer_ui.formatting import Paragraph
from trainer_ui.widgets import Text

if TYPE_CHECKING:
    from trainer_ui.controls import SettingControl
    from trainer_ui.session import Session


class Epochs:
    """A field for epochs, put into the control of a setting, and a line that says how many steps make an epoch."""

    def __init__(self, session: Session, setting: SettingControl) -> None:
        self.session, self.path = session, setting.field.path
        # What screen readers call the field.
        self.field = Text(
            description=f"{setting.field.title}, in epochs", continuous_update=False, classes=("easel-epochs",)
        )
        self.field.observe(session.handler(self._entered), "value")
        self.line = Paragraph("", "muted", "epoch-line")
        setting.widget.add_class("easel-linked")
        setting.widget.children = (*setting.widget.children, self.field, self.line)

    def _entered(self, text: Any) -> None:
        try:
            if str(text).strip():
                self.session.change(length.from_epochs(self.session.bench.state, self.path, str(text)))
        finally:
            # The page gets the epochs that the steps really are, also if these did not change.
            self.field.send_state("value")

    def show(self) -> None:
        """Shows the value in epochs."""
        state = self.session.bench.state
        each = length.steps_of_epoch(state)
        self.field.value = length.in_epochs(state, self.path)
        self.field.disabled = each is None
        line = length.sentence(state)
        self.line.show_text(line if each is None else f"Type either one. {line}")

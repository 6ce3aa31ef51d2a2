"""The fields of a tool as cards."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainer_ui.formatting import Paragraph, show
from trainer_ui.panels.card import fold
from trainer_ui.panels.tools.control import Control
from trainer_ui.panels.tools.controls import control
from trainer_ui.widgets import Box, VBox, Widget

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trainer_ui.tool_fields import Card
    from trainer_ui.tool_session import ToolSession, Utility


class Form:
    """All cards of a tool. A folded card is made when it is first opened."""

    def __init__(self, session: ToolSession, utility: Utility) -> None:
        self.session, self.utility = session, utility
        self.controls: list[Control] = []
        self._cards: list[tuple[Card, Widget]] = []
        for card in utility.cards:
            self._cards.append((card, self._made(card)))
        about = Paragraph(utility.about, "muted")
        self.widget = VBox([about, *(widget for _, widget in self._cards)], classes=("easel-tool-form",))

    def _made(self, card: Card) -> Widget:
        if card.folds:
            return fold(self.session, card.title, lambda: self._inside(card), "easel-card")
        return VBox([Paragraph(card.title, "heading"), *self._inside(card)], classes=("easel-card",))

    def _inside(self, card: Card) -> Sequence[Widget]:
        made = [control(self.session, self.utility.id, field) for field in card.fields]
        self.controls += made
        said = [Paragraph(card.text, "muted", "small")] if card.text else []
        for one in made:
            one.show()
        fields = Box([one.widget for one in made], classes=("easel-tool-fields",))
        for one in made:
            if one.is_wide:
                one.widget.add_class("easel-tool-wide")
        return [*said, fields]

    def refill(self) -> None:
        """Fills the fields anew, those with a wrong entry, too."""
        for one in self.controls:
            one.refill()
        self.show()

    def show(self) -> None:
        """Fills the fields, and hides the cards of which no field is of use now."""
        for one in self.controls:
            one.show()
        values = self.session.desks[self.utility.id].values
        for card, widget in self._cards:
            show(widget, any(field.when(values) for field in card.fields))

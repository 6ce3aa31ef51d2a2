"""What will be made: where, and what the user should know before it starts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainer_ui.formatting import Pairs, Paragraph, show
from trainer_ui.widgets import VBox

if TYPE_CHECKING:
    from trainer_ui.tool_session import ToolSession, Utility

MOST = 8
"""So many sentences are shown."""
EMPTY = "Choose files, and this says what would be made of them. The files themselves are only read."
REFUSED = "Nothing yet: the sentence at the top says why, and what to do."


class Notes:
    """The target and the notes of a tool."""

    def __init__(self, session: ToolSession, utility: Utility) -> None:
        self.session, self.utility = session, utility
        self.where = Pairs()
        self.notes = [Paragraph("", "small") for _ in range(MOST)]
        self.none = Paragraph(EMPTY, "muted", "small")
        self.widget = VBox(
            [Paragraph("What will be made", "heading"), self.none, self.where, *self.notes],
            classes=("easel-card", "easel-tool-notes"),
        )

    def show(self) -> None:
        """Shows what is known now."""
        desk = self.session.desks[self.utility.id]
        outlook = desk.outlook
        self.none.show_text(REFUSED if desk.asked and desk.error is not None else EMPTY)
        show(self.widget, self.utility.makes)
        show(self.none, outlook is None)
        show(self.where, outlook is not None)
        if outlook is not None:
            self.where.show_pairs([("Name", outlook.target.name), ("Folder", str(outlook.target.parent))])
        said = list(map(self.utility.worded, outlook.notes)) if outlook is not None else []
        if len(said) > MOST:
            said[MOST - 1 :] = [f"And {len(said) - MOST + 1} more; the log of the job has all."]
        for paragraph, text in zip(self.notes, [*said, *[""] * MOST], strict=False):
            paragraph.show_text(text)

"""The choice of the images that an action is about: all, those that the filter shows, or the chosen ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainer_ui.dataset_list import ALL, CHOSEN, SHOWN, WITHOUT
from trainer_ui.widgets import Dropdown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trainer_core.curation.catalogue import Entry
    from trainer_ui.dataset_session import DatasetSession

WORDS = {
    ALL: "All images",
    WITHOUT: "Images without a caption",
    SHOWN: "Images that the filter shows",
    CHOSEN: "Chosen images",
}


class Scope:
    """The dropdown, with the number of images of each choice."""

    def __init__(self, session: DatasetSession, label: str = "Images", first: str = ALL) -> None:
        self.session = session
        self.widget = Dropdown(description=label, options=[(WORDS[first], first)], value=first)
        self.widget.observe(session.handler(lambda _: None), "value")

    @property
    def entries(self) -> Sequence[Entry]:
        """The images."""
        return self.session.list.of(self.widget.value or ALL)

    def show(self) -> None:
        """Shows how many images each choice has."""
        options = [(f"{words} ({len(self.session.list.of(scope)):,})", scope) for scope, words in WORDS.items()]
        if tuple(self.widget.options) != tuple(options):
            value = self.widget.value
            self.widget.options = options
            self.widget.value = value or ALL

"""Cards of which one is chosen: a radio group in the form of cards with a sign, a title and a line."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from anywidget import AnyWidget
from traitlets import List, Unicode

from trainer_core.text import printable
from trainer_ui.components.places import asset


@dataclass(frozen=True)
class Card:
    """A card: `icon` is a name of `cards.js` ("" for none), `is_mine` marks something of the user's own."""

    id: str
    title: str
    what: str
    icon: str
    is_mine: bool = False


class Cards(AnyWidget):
    """The cards. `choose` is called with the id of the one that the user takes, and decides which is shown as chosen."""

    _esm = asset("cards.js")

    label = Unicode().tag(sync=True)
    """What is chosen, for screen readers."""
    cards = List().tag(sync=True)
    """Each card as {"id", "title", "what", "icon", "mine"}, in order."""
    chosen = Unicode().tag(sync=True)
    """The id of the chosen card; "" for none."""

    def __init__(self, label: str, choose: Callable[[str], object]) -> None:
        super().__init__(label=label)
        self._choose = choose
        self.on_msg(self._heard)

    def show_cards(self, cards: Iterable[Card], chosen: str) -> None:
        """Shows these cards."""
        shown = [
            {
                "id": one.id,
                "title": printable(one.title, 80),
                "what": printable(one.what, 160),
                "icon": one.icon,
                "mine": one.is_mine,
            }
            for one in cards
        ]
        if shown != self.cards:
            self.cards = shown
        self.chosen = chosen

    def _heard(self, _: Any, message: Any, __: Any) -> None:
        wanted = message.get("id") if isinstance(message, Mapping) and message.get("kind") == "choose" else None
        if isinstance(wanted, str) and any(wanted == one["id"] for one in self.cards):
            self._choose(wanted)
            # The page has marked the card already, and hears no change if the kernel keeps the one before.
            self.send({"kind": "shown"})

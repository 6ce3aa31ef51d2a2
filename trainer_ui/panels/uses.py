"""What the LoRA should learn, as cards: a card for each use takes the most fitting profile, and each own profile has one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainer_ui import recipes
from trainer_ui.components.cards import Card, Cards

if TYPE_CHECKING:
    from trainer_ui.session import Session

MOST_OWN = 5
"""How many of the user's own profiles have a card; the list has all of them."""
OWN = "profile:"
"""The beginning of the id of a card of one's own profile."""


class Uses:
    """The cards. A use that is chosen before the model is known is kept until then."""

    question = "What should it learn?"

    def __init__(self, session: Session) -> None:
        self.session = session
        self.widget = Cards("What should it learn?", session.handler(self._choose))

    def _choose(self, wanted: str) -> None:
        if wanted.startswith(OWN):
            self.session.wish = ""
            self.session.bench.use_profile(wanted.removeprefix(OWN))
        else:
            self.session.wish_for(wanted)

    def show(self) -> None:
        """Marks the card of the chosen profile, or the use that the user wishes for."""
        state = self.session.bench.state
        mine = [one for one in recipes.offered(state) if recipes.is_own(one)][:MOST_OWN]
        cards = [Card(use, title, what, recipes.ICONS[use]) for use, (title, what) in recipes.USES.items()]
        cards += [Card(f"{OWN}{one.id}", one.title, "your profile", "star", is_mine=True) for one in mine]
        profile = state.profile
        if profile is not None and profile.id in {one.id for one in mine}:
            chosen = f"{OWN}{profile.id}"
        elif profile is not None:
            chosen = profile.use if profile.use in recipes.USES and not recipes.is_own(profile) else ""
        else:
            chosen = self.session.wish
        self.widget.show_cards(cards, chosen)

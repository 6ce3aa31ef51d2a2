"""Which profile: those for the model's family, what each is for, and where its values come from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ipywidgets import Dropdown

from trainer_core import profiles
from trainer_core.text import printable
from trainer_ui.panels.card import card
from trainer_ui.words import Words

if TYPE_CHECKING:
    from trainer_ui.session import Session

NONE = "None: plain defaults"


class ProfilePanel:
    """The profile's dropdown, its explanation and its sources."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.choice = Dropdown(description="Profile", options=[(NONE, "")])
        self.choice.observe(session.handler(session.bench.use_profile), "value")
        self.explanation = Words()
        self.sources = Words("", "muted", "small", "lines")
        self.widget = card("Profile", self.choice, self.explanation, self.sources)

    def show(self) -> None:
        """Offers the profiles of the family and shows the chosen one."""
        profile, family = self.session.bench.profile, self.session.bench.family
        found = profiles.for_family(family)
        if profile is not None and profile.id not in {known.id for known in found}:
            found = [*found, profile]
        options = [(NONE, ""), *((printable(known.title, 80), known.id) for known in found)]
        if tuple(options) != tuple(self.choice.options):
            self.choice.options = options
        self.choice.value = profile.id if profile else ""
        if profile is None:
            self.explanation.say("" if family else "Profiles are offered once a model is chosen.", "muted")
            self.sources.say("")
            return
        changed = f"It sets {len(profile.settings)} values; what you set yourself stays."
        self.explanation.say(f"{profile.explanation} {changed}", "")
        self.sources.say("\n".join(f"Source: {source}" for source in profile.sources))

"""Which memory preset: those for the model's family, and the one that fits this card."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainer_core import presets
from trainer_ui.widgets import Dropdown, VBox
from trainer_ui.words import Words, hint

if TYPE_CHECKING:
    from trainer_ui.session import Session

NONE = "None"


class MemoryChoice:
    """The preset's dropdown, what it is for, and where its figures come from."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.choice = Dropdown(description="Memory preset", options=[(NONE, "")])
        hint(
            self.choice,
            "Settings that make a training fit a card. They go over the profile; what you set yourself stays.",
        )
        self.choice.observe(session.handler(session.bench.use_preset), "value")
        self.explanation = Words("", "muted", "small")
        self.sources = Words("", "muted", "small", "lines")
        self.widget = VBox([self.choice, self.explanation, self.sources], classes=("easel-memory",))

    def show(self) -> None:
        """Offers the presets of the family and shows the chosen one."""
        bench = self.session.bench
        found = presets.for_family(bench.family) if bench.family else []
        best = presets.best(found, bench.facts.machine)
        if bench.preset is not None and bench.preset not in found:
            found = [*found, bench.preset]
        marked = [(f"{one.title} (for this card)" if one is best else one.title, one.id) for one in found]
        options = [(NONE, ""), *marked]
        if tuple(options) != tuple(self.choice.options):
            self.choice.options = options
        self.choice.value = bench.preset.id if bench.preset else ""
        self.choice.disabled = len(options) == 1
        self.explanation.say(bench.preset.explanation if bench.preset else "")
        self.sources.say("\n".join(f"Source: {one}" for one in bench.preset.sources) if bench.preset else "")

"""The engine that would train the job, and why the others would not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainer_core.engines import registry
from trainer_core.install.offer import trains
from trainer_core.text import printable
from trainer_ui.explaining import helped
from trainer_ui.formatting import Paragraph, show
from trainer_ui.panels.card import card, fold
from trainer_ui.widgets import Button, Dropdown, Widget

if TYPE_CHECKING:
    from trainer_core.engines.seam import Backend
    from trainer_core.prepare.state import State
    from trainer_core.prepare.switching import Switched
    from trainer_ui.session import Session

HELP = "The program that trains. Easel chooses an installed one that trains your model."
AUTOMATIC = ("Automatic: the best installed engine", "")


class EnginePanel:
    """A choice of engine, the engine that would run the job, and why the others would not."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.choice = Dropdown(description="Training engine", options=[AUTOMATIC])
        self.choice.observe(session.handler(self.choose), "value")
        self.says = Paragraph()
        self.others = Paragraph("", "muted", "small", "lines")
        self.widget = fold(session, "Engine", self._content)
        self.switched: Switched | None = None
        """What the last choice of another engine means, until the user goes back."""
        self.back: Button | None = None

    def _content(self) -> list[Widget]:
        self.back = Button(classes=("easel-small",))
        self.back.on_click(self.session.handler(lambda _: self._go_back()))
        self._show_back()
        return [helped(self.choice, HELP), self.says, self.back, self.others]

    def choose(self, name: str) -> None:
        """Sets the engine, or "" for an automatic choice, and says which values do not carry over.

        The dataset is read again, by the rules of the engine.
        """
        from trainer_core.prepare import switching

        self.switched = switching.switch(self.session.bench, name)
        if self.switched is not None:
            self.session.note(self.switched.message)

    def _go_back(self) -> None:
        if self.switched is not None:
            back, self.switched = self.switched, None
            self.session.bench.use_engine(back.back)
            self.session.note(f"{back.old} trains this again, with the values that it had.")

    def _show_back(self) -> None:
        if self.back is not None:
            self.back.description = f"Back to {self.switched.old}" if self.switched else ""
            show(self.back, self.switched is not None)

    def show(self) -> None:
        """Shows the engine."""
        state, chosen = self.session.bench.state, self.session.backend
        asked = state.engine.manifest.id if state.engine else ""
        known = {engine.manifest.id: engine.manifest.title for engine in registry.available()}
        if state.engine:
            known.setdefault(asked, state.engine.manifest.title)
        options = [AUTOMATIC, *((printable(title, 60), name) for name, title in known.items())]
        if tuple(options) != tuple(self.choice.options):
            self.choice.options = options
        self.choice.value = asked
        self._show_back()
        if chosen is not None and not asked:
            self.says.show_text(f"{chosen.manifest.title} would train this.", "")
        else:
            open_ = not (asked or state.family)
            self.says.show_text("Easel chooses the engine once you choose a model." if open_ else "", "muted")
        self.widget.children[0].description = printable(f"Engine: {_title(chosen, asked)}", 120)
        others = [why_not(engine, state) for engine in registry.available() if engine is not chosen]
        told = others if state.family else [trains(engine.manifest) for engine in registry.available()]
        self.others.show_text("\n".join(told))


class EngineCard:
    """The same in a card of its own, for an app that has no step for the model."""

    def __init__(self, session: Session) -> None:
        self.panel = EnginePanel(session)
        self.widget = card("What trains it", self.panel.widget)

    def show(self) -> None:
        """Shows the engine."""
        self.panel.show()


def _title(chosen: Backend | None, asked: str) -> str:
    if chosen is None:
        return "chosen once the model is known"
    return f"{chosen.manifest.title}, " + ("chosen by you" if asked else "chosen for this model")


def why_not(engine: Backend, state: State) -> str:
    """A sentence that says why this engine would not run the job."""
    manifest, family = engine.manifest, state.family
    if reason := manifest.refused.get(family):
        return f"Not {manifest.title}: {reason}"
    if family not in manifest.families:
        return f"Not {manifest.title}: it does not train {family}."
    status = state.facts.engine(manifest.id)
    if not status.installed:
        there = f" on {printable(status.machine, 60)}" if status.machine else ""
        return f"Not {manifest.title}: it is not installed{there}."
    return f"{manifest.title} could train this too."

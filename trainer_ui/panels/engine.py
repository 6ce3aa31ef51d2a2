"""Which engine would train the job, and why another would not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainer_core import environments, registry
from trainer_core.text import printable
from trainer_ui.widgets import Dropdown, VBox
from trainer_ui.words import Words

if TYPE_CHECKING:
    from trainer_core.backend import Backend
    from trainer_ui.session import Session

AUTOMATIC = ("The best one that is here", "")


class EnginePanel:
    """The engine that would run the job, and why another would not."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.choice = Dropdown(description="Training engine", options=[AUTOMATIC])
        self.choice.observe(session.handler(self.choose), "value")
        self.says = Words()
        self.others = Words("", "muted", "small", "lines")
        self.widget = VBox([self.choice, self.says, self.others], classes=("easel-engine",))

    def choose(self, name: str) -> None:
        """Takes an engine, or leaves the choice to Easel; a dataset is read by the engine's rules, so it is read again."""
        self.session.bench.use_engine(name)

    def show(self) -> None:
        """Shows which engine it would be."""
        bench, chosen = self.session.bench, self.session.backend
        known = {engine.manifest.id: engine.manifest.title for engine in registry.available()}
        if bench.engine and chosen is not None:
            known.setdefault(bench.engine, chosen.manifest.title)
        options = [AUTOMATIC, *((printable(title, 60), name) for name, title in known.items())]
        if tuple(options) != tuple(self.choice.options):
            self.choice.options = options
        self.choice.value = bench.engine
        if chosen is not None and not bench.engine:
            self.says.say(f"{chosen.manifest.title} would train this.", "")
        else:
            open_ = not (bench.engine or bench.family)
            self.says.say("Which engine it is follows from the model." if open_ else "", "muted")
        others = [why_not(engine, bench.family) for engine in registry.available() if engine is not chosen]
        self.others.say("\n".join(others) if bench.family else "")


def why_not(engine: Backend, family: str) -> str:
    """Why an engine is not the one that would run."""
    manifest = engine.manifest
    if reason := manifest.refused.get(family):
        return f"Not {manifest.title}: {reason}"
    if family not in manifest.families:
        return f"Not {manifest.title}: it does not train {family}."
    if manifest.needs_installation and environments.installed(manifest.id) is None:
        return f"Not {manifest.title}: it is not installed."
    return f"{manifest.title} could train this too."

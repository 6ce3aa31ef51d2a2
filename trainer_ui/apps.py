"""The apps of the notebooks: each function shows one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from IPython.display import display

from trainer_core.runs.run import FINAL_STATES
from trainer_core.workbench import Workbench
from trainer_ui import theme
from trainer_ui.boundary import attempt
from trainer_ui.components.monitor import Pulse
from trainer_ui.feed import Feed
from trainer_ui.panels.dataset import DatasetPanel
from trainer_ui.panels.history import HistoryPanel
from trainer_ui.panels.launch import LaunchPanel
from trainer_ui.panels.model import ModelPanel, family_title
from trainer_ui.panels.profile import ProfilePanel
from trainer_ui.panels.run import RunPanel
from trainer_ui.panels.settings import SettingsPanel
from trainer_ui.session import Session
from trainer_ui.widgets import Box, Dropdown, VBox, Widget
from trainer_ui.words import Words

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def lora_trainer(
    settings: Mapping[str, Any] | None = None, profile: str = "", engine: str = "", preset: str = ""
) -> None:
    """Shows the LoRA trainer, with the run that is going on, if there is one.

    Args:
        settings: values to begin with, by dotted path, as if the user had set them.
        profile: a profile to begin with, by id.
        engine: the engine that is to run the job; else EASEL_ENGINE, else Easel chooses.
        preset: a memory preset to begin with, by id.
    """
    if LoraTrainer.shown is not None:
        # The cell was run again: the page has dropped the old app, and its thread must not go on.
        LoraTrainer.shown.close()
    app = LoraTrainer.shown = LoraTrainer(Workbench(engine=engine or os.environ.get("EASEL_ENGINE", "")))
    app.open(settings or {}, profile, preset)
    display(app.root)


class LoraTrainer:
    """The panels of the LoRA trainer around one session, and the feed that keeps them up to date."""

    shown: ClassVar[LoraTrainer | None] = None
    """The one that this kernel shows."""

    def __init__(self, bench: Workbench) -> None:
        self.session = session = Session(bench)
        self.pulse = Pulse()
        self.feed = Feed(self._tell, self.pulse.beat, session.show_soon)
        session.follow = self.feed.follow
        self.model, self.dataset, self.profile = ModelPanel(session), DatasetPanel(session), ProfilePanel(session)
        self.settings, self.launch = SettingsPanel(session), LaunchPanel(session)
        self.run, self.history = RunPanel(session, self.feed), HistoryPanel(session)
        for panel in (self.model, self.dataset, self.profile, self.settings, self.launch, self.run, self.history):
            session.add_view(panel.show)
        session.add_view(self._show)
        self.root = self._layout()

    def _layout(self) -> VBox:
        self.subtitle = Words("", "muted")
        self.theme = Dropdown(
            description="Theme",
            options=[(name.capitalize(), name) for name in theme.names()],
            classes=("easel-theme-choice",),
        )
        self.theme.observe(self.session.handler(lambda name: theme.put_on(self.root, name)), "value")
        head = Box([VBox([Words("LoRA Trainer", "title"), self.subtitle]), self.theme], classes=("easel-head",))
        areas = {
            "form": (self.model, self.dataset, self.profile, self.settings),
            "launch": (self.launch,),
            "watch": (self.run, self.history),
        }
        self.columns = Box(
            [_area(name, [panel.widget for panel in panels]) for name, panels in areas.items()],
            classes=("easel-columns",),
        )
        root = VBox([theme.style(), self.pulse, head, self.columns], classes=("easel",))
        theme.put_on(root, "auto")
        return root

    def open(self, settings: Mapping[str, Any], profile: str = "", preset: str = "") -> None:
        """Takes the values to begin with, and looks for a run that is going on."""
        session = self.session
        with session.lock:
            attempt(lambda: session.change(settings), session.note)
            attempt(lambda: session.bench.use_profile(profile), session.note)
            attempt(lambda: session.bench.use_preset(preset), session.note)
            attempt(session.watch_running, session.note)
            if session.run is not None and not (settings or profile or preset):
                # Back from a restart: the form shows what was asked for, not nothing.
                run = session.run
                attempt(lambda: session.bench.begin_from(run), session.note)
            session.show()
        # A thread: what it takes, the app does not wait for.
        self.model.shelf.look()
        self.feed.start()

    def close(self) -> None:
        """Ends the feed and a download; a run goes on."""
        self.feed.close()
        self.model.close()
        self.root.close()

    def _tell(self, message: Mapping[str, Any], buffers: list[bytes]) -> None:
        self.run.monitor.tell(message, buffers)

    def _show(self) -> None:
        bench, values = self.session.bench, self.session.values
        folder = Path(values["dataset.path"]).name
        parts = [family_title(bench.family) if bench.family else "", f"dataset {folder}" if folder else ""]
        dataset = bench.facts.dataset
        if dataset is not None:
            parts.append(f"{len(dataset.pictures)} pictures")
        self.subtitle.say(" · ".join(part for part in parts if part) or "Choose a model and a folder of pictures.")
        run = self.session.run
        live = run is not None and run.state not in FINAL_STATES
        for name, holds in (("easel-live", live), ("easel-watching", run is not None)):
            (self.columns.add_class if holds else self.columns.remove_class)(name)


def _area(name: str, children: Sequence[Widget]) -> VBox:
    return VBox(children, classes=(f"easel-{name}",))

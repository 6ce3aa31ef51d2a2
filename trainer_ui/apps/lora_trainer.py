"""The LoRA trainer: images in, a LoRA out."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer_core.prepare.workbench import Workbench
from trainer_ui.app import App
from trainer_ui.boundary import attempt
from trainer_ui.panels.dataset import DatasetPanel
from trainer_ui.panels.history import HistoryPanel
from trainer_ui.panels.launch import LaunchPanel
from trainer_ui.panels.model import ModelPanel, family_title
from trainer_ui.panels.profile import ProfilePanel
from trainer_ui.panels.run import RunPanel
from trainer_ui.panels.settings import SettingsPanel
from trainer_ui.session import Session

if TYPE_CHECKING:
    from collections.abc import Mapping


def lora_trainer(
    settings: Mapping[str, Any] | None = None, profile: str = "", engine: str = "", preset: str = ""
) -> None:
    """Displays the LoRA trainer, with the run that is in progress, if there is one.

    Args:
        settings: initial values, by dotted path, as if the user had set them.
        profile: id of the initial profile.
        engine: id of the engine for the job; if empty, EASEL_ENGINE; if that is empty, Easel chooses one.
        preset: id of the initial memory preset.
    """
    bench = Workbench(engine=engine or os.environ.get("EASEL_ENGINE", ""))
    LoraTrainer(bench, settings, profile, preset).present()


class LoraTrainer(App):
    """The panels of the LoRA trainer around one session."""

    id, title = "lora_trainer", "LoRA Trainer"

    def __init__(
        self, bench: Workbench, settings: Mapping[str, Any] | None = None, profile: str = "", preset: str = ""
    ) -> None:
        self.session = session = Session(bench)
        self._initial = settings or {}, profile, preset
        self.model, self.dataset, self.profile = ModelPanel(session), DatasetPanel(session), ProfilePanel(session)
        self.settings, self.launch = SettingsPanel(session), LaunchPanel(session)
        self.run, self.history = RunPanel(session.jobs), HistoryPanel(session)
        areas = {
            "form": (self.model, self.dataset, self.profile, self.settings),
            "launch": (self.launch,),
            "watch": (self.run, self.history),
        }
        super().__init__(session.jobs, areas)

    def restore(self) -> None:
        """Sets the initial values and finds the run that is in progress."""
        session, (settings, profile, preset) = self.session, self._initial
        attempt(lambda: session.change(settings), session.note)
        attempt(lambda: session.bench.use_profile(profile), session.note)
        attempt(lambda: session.bench.use_preset(preset), session.note)
        attempt(session.watch_running, session.note)
        if session.run is not None and not any(self._initial):
            # After a restart of the kernel the form shows what the run was asked for, and is not empty.
            run = session.run
            attempt(lambda: session.bench.begin_from(run), session.note)

    def open(self) -> None:
        """Fills the app, and looks for an installation that is in progress and for the models on this machine."""
        with self.session.lock:
            super().open()
            attempt(self.launch.install.look, self.session.note)
        self.model.shelf.look()

    def close(self) -> None:
        """Ends the feeds and a download; a run and an installation continue."""
        self.launch.install.close()
        self.launch.problems.tool.close()
        self.model.close()
        super().close()

    def subtitle(self) -> str:
        """The family of the model and the dataset."""
        state, values = self.session.bench.state, self.session.values
        folder = Path(values["dataset.path"]).name
        parts = [family_title(state.family) if state.family else "", f"dataset {folder}" if folder else ""]
        dataset = state.facts.dataset
        if dataset is not None:
            parts.append(f"{len(dataset.images)} images")
        return " · ".join(part for part in parts if part) or "Choose a model and a folder of images."

"""What the apps that train have in common: the panels around one session, in four places."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, ClassVar, Self

from trainer_core.prepare.workbench import Workbench
from trainer_ui.answers import is_begun
from trainer_ui.app import WATCH, App, Place
from trainer_ui.boundary import attempt
from trainer_ui.panels.all_settings import AllSettings, Files, buttons
from trainer_ui.panels.dataset import DatasetPanel
from trainer_ui.panels.finishing import MemoryPanel, OutputPanel, SamplesPanel
from trainer_ui.panels.history import HistoryBar, HistoryPanel
from trainer_ui.panels.kept import KeptForm
from trainer_ui.panels.last_run import LastRun
from trainer_ui.panels.launch import LaunchPanel
from trainer_ui.panels.machine import MachinePanel
from trainer_ui.panels.model import ModelPanel
from trainer_ui.panels.recipe import RecipePanel
from trainer_ui.panels.results import ResultsBar, ResultsPanel
from trainer_ui.panels.run import LiveParts
from trainer_ui.panels.sample_view import SampleView
from trainer_ui.panels.settings import Settings
from trainer_ui.panels.settling import Settling
from trainer_ui.panels.watch import WatchBar, WatchPanel
from trainer_ui.session import Session

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trainer_core.training.run import Run
    from trainer_ui.panels.recipe import Choice

PREPARE, RESULTS, HISTORY = "prepare", "results", "history"
PLACES = "lora-trainer"
"""The page of the guide that explains the places, for all apps that train."""


class Trainer(App):
    """An app that trains: Prepare, Watch, Results and History around one session.

    A subclass is a short list of differences: its `id` and `title`, the methods it trains, the settings in front of the recipe,
    and the buttons with which the recipe begins.
    """

    methods: ClassVar[tuple[str, ...]]
    """The training methods that it offers, the first one at the beginning."""
    essentials: ClassVar[tuple[str, ...]]
    """The settings that matter most, in front of the recipe."""
    guide_page = PLACES
    of_images: ClassVar[tuple[str, ...]] = ()
    """The settings beside the folder of images."""

    def choice(self, session: Session) -> Choice:
        """The buttons with which the recipe begins."""
        raise NotImplementedError

    def __init__(
        self, bench: Workbench, settings: Mapping[str, Any] | None = None, profile: str = "", preset: str = ""
    ) -> None:
        self.session = session = Session(bench, self.methods)
        self._initial = settings or {}, profile, preset
        self.kept = KeptForm(session, self.id, self._initial)
        self.settings = made = Settings(session, self.essentials, self.of_images)
        session.add_view(made.show)
        self.model, self.dataset = ModelPanel(session, made), DatasetPanel(session, made)
        self.all_settings, self.files = AllSettings(session), Files(session)
        opens = buttons(self.all_settings, self.files)
        self.recipe = RecipePanel(session, made, self.choice(session), opens)
        self.output = OutputPanel(session, made)
        self.samples, self.memory = SamplesPanel(session, made), MemoryPanel(session, made)
        self.machine = MachinePanel(session)
        session.seek = self._seek
        self.launch = LaunchPanel(session)
        self.run = LiveParts(session.jobs)
        self.watch_bar = WatchBar(session, self.run, self.go)
        self.watch_samples = SampleView(session)
        self.watch = WatchPanel(session, self.run, self.go)
        self.watch.samples_place.children = (self.watch_samples.widget,)
        session.add_view(LastRun(session, lambda: self.places.chosen == WATCH).show)
        session.add_view(self.watch_samples.show)
        self.results = ResultsPanel(session, lambda: self.places.chosen == RESULTS, self.go)
        history_bar = HistoryBar(session)
        self.history = HistoryPanel(session, history_bar, lambda: self.places.chosen == HISTORY, self.go, self.resume)
        below = [self.all_settings, self.files]
        prepare = (
            [self.kept, self.model, self.dataset],
            [self.recipe, self.output, self.samples, self.memory, self.machine],
            below,
        )
        super().__init__(
            session.jobs,
            {
                PREPARE: Place("Prepare", prepare, self.launch, "halves", guide=(PLACES, "prepare")),
                WATCH: Place("Watch", [[self.watch]], self.watch_bar, guide=(PLACES, "watch")),
                RESULTS: Place(
                    "Results",
                    [[self.results]],
                    ResultsBar(session, self.results, self.go, self.resume),
                    guide=(PLACES, "results"),
                ),
                HISTORY: Place("History", [[self.history]], history_bar, guide=(PLACES, "history")),
            },
        )
        self.settling = Settling(
            session,
            {"model": self.model.step.fold, "dataset": self.dataset.fold_choice, "output": self.output.step.fold},
        )
        session.add_view(self.settling.show)
        session.add_view(self._count)

    @classmethod
    def with_engine(
        cls, settings: Mapping[str, Any] | None = None, profile: str = "", engine: str = "", preset: str = ""
    ) -> Self:
        """The app with its initial values, as the function of its notebook gets them.

        Args:
            settings: initial values, by dotted path, as if the user had set them.
            profile: id of the initial profile.
            engine: id of the engine for the job; if empty, EASEL_ENGINE; if that is empty, Easel chooses one.
            preset: id of the initial memory preset.
        """
        return cls(Workbench(engine=engine or os.environ.get("EASEL_ENGINE", "")), settings, profile, preset)

    def restore(self) -> None:
        """Sets the initial values and finds the run that is in progress."""
        session, (settings, profile, preset) = self.session, self._initial
        attempt(lambda: session.change(settings), session.note)
        attempt(lambda: session.bench.use_profile(profile), session.note)
        attempt(lambda: session.bench.use_preset(preset), session.note)
        attempt(session.watch_running, session.note)
        if not self.kept.restore() and session.run is not None and not any(self._initial):
            # After a restart of the kernel the form shows what the run was asked for, and is not empty.
            run = session.run
            attempt(lambda: session.begin_from(run), session.note)
        self.kept.remember()

    def _seek(self, path: str) -> None:
        """Unfolds the step of a setting, and gives its field the keyboard."""
        steps = {"model": self.model.step, "dataset": self.dataset.step, "output": self.output.step}
        if (step := steps.get(path.partition(".")[0])) is not None:
            step.fold(False)
        if path == "dataset.path":
            self.dataset.fold_choice(False)
        self.dataset.pairs.open_for(path)
        if self.dataset.choice.focus(path):
            return
        own = {
            "model.path": self.model.path,
            "dataset.path": self.dataset.path,
            "dataset.trigger": self.dataset.trigger,
        }
        control = self.settings.controls.get(path)
        field = own.get(path) or (control.control if control is not None else None)
        if field is not None:
            field.focus()

    def resume(self, run: Run) -> None:
        """Shows a run in Watch, and how it would be resumed; it starts when the user agrees there."""
        self.session.watch(run)
        # The bar of Watch forgets what was proposed for the run that it showed before.
        self.session.show()
        self.go(WATCH)
        self.watch_bar.continuing.propose(run, 0)

    def beat(self) -> None:
        """Shows how long the run has taken so far."""
        self.watch_bar.beat()
        self.watch_samples.beat()
        self.history.beat()

    def _count(self) -> None:
        """Shows on its tab how many runs the history has; marks the page of a user who has not begun yet."""
        (self.root.add_class if is_begun(self.session) else self.root.remove_class)("easel-begun")
        if self.places.counts.get(HISTORY, 0) != self.history.number:
            self.places.counts = {HISTORY: self.history.number}

    def open(self) -> None:
        """Fills the app, and looks for an installation that is in progress and for the models on this machine."""
        with self.session.lock:
            super().open()
            self.settling.begin()
            attempt(self.launch.install.look, self.session.note)
        self.model.shelf.look()
        self.dataset.desk.look()

    def close(self, why: str = "") -> None:
        """Ends the feeds and a download; a run and an installation continue."""
        self.history.close()
        self.launch.install.close()
        self.launch.problems.tool.close()
        self.results.close()
        self.model.close()
        self.dataset.desk.close()
        self.kept.close()
        super().close(why)

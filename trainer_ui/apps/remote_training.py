"""Remote training: a LoRA trained on a RunPod endpoint or a machine that ssh reaches, watched and kept here."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from trainer_core.prepare.workbench import Workbench
from trainer_ui.app import WATCH, App, Place
from trainer_ui.boundary import attempt
from trainer_ui.panels.all_settings import AllSettings, Files, buttons
from trainer_ui.panels.engine import EngineCard
from trainer_ui.panels.history import HistoryBar, HistoryPanel
from trainer_ui.panels.kept import KeptForm
from trainer_ui.panels.last_run import LastRun
from trainer_ui.panels.remote.accounts import AccountsPanel
from trainer_ui.panels.remote.bar import RemoteBar
from trainer_ui.panels.remote.settings import ParametersPanel
from trainer_ui.panels.remote.source import SourcePanel
from trainer_ui.panels.remote.versions import VersionsPanel
from trainer_ui.panels.remote.where import OutlookPanel, WherePanel
from trainer_ui.panels.results import ResultsBar, ResultsPanel
from trainer_ui.panels.run import LiveParts
from trainer_ui.panels.sample_view import SampleView
from trainer_ui.panels.watch import WatchBar, WatchPanel
from trainer_ui.remote_desk import RemoteDesk
from trainer_ui.session import Session

if TYPE_CHECKING:
    from trainer_core.training.run import Run

PREPARE, RESULTS, HISTORY, VERSIONS, ACCOUNTS = "prepare", "results", "history", "versions", "accounts"
PAGE, TRAINER_PAGE = "remote-training", "lora-trainer"
BEGINS_WITH = "lora_trainer"
METHODS = ("lora", "full", "dreambooth", "textual_inversion")


def remote_training(engine: str = "") -> None:
    """Displays remote training, with the run that is in progress, if there is one.

    Args:
        engine: id of the engine for the job; if empty, EASEL_ENGINE; if that is empty, Easel chooses one.
    """
    RemoteTraining(Workbench(engine=engine or os.environ.get("EASEL_ENGINE", ""))).present()


class RemoteTraining(App):
    """Prepares a training for another machine, and shows it as any run: what comes back, the history, and versions of styles."""

    id, title = "remote_training", "Remote Training"
    guide_page = PAGE

    def __init__(self, bench: Workbench) -> None:
        self.session = session = Session(bench, METHODS)
        self.desk = desk = RemoteDesk(session)
        self.kept = KeptForm(session, self.id, ({}, "", ""))
        self.source = SourcePanel(desk)
        self.all_settings = AllSettings(session)
        self.files = Files(session, lambda: (desk.trainer.title, desk.outlook().sent) if desk.on else ("", ()))
        self.parameters = ParametersPanel(desk, buttons(self.all_settings, self.files))
        self.engine = EngineCard(session)
        self.where = WherePanel(desk, lambda: self.go(ACCOUNTS))
        self.outlook = OutlookPanel(desk)
        self.bar = RemoteBar(desk)
        self.run = LiveParts(session.jobs)
        self.watch_bar = WatchBar(session, self.run, self.go)
        self.watch_samples = SampleView(session)
        self.watch = WatchPanel(session, self.run, self.go)
        self.watch.samples_place.children = (self.watch_samples.widget,)
        self.results = ResultsPanel(session, lambda: self.places.chosen == RESULTS, self.go)
        history_bar = HistoryBar(session)
        self.history = HistoryPanel(session, history_bar, lambda: self.places.chosen == HISTORY, self.go, self.resume)
        self.versions = VersionsPanel(desk, lambda: self.places.chosen == VERSIONS)
        self.accounts = AccountsPanel(desk, lambda: self.places.chosen == ACCOUNTS)
        session.add_view(LastRun(session, lambda: self.places.chosen == WATCH).show)
        session.add_view(self.watch_samples.show)
        prepare = (
            [self.kept, self.source, self.where],
            [self.engine, self.parameters, self.outlook],
            [self.all_settings, self.files],
        )
        results_bar = ResultsBar(session, self.results, self.go, self.resume)
        super().__init__(
            session.jobs,
            {
                PREPARE: Place("Prepare", prepare, self.bar, "halves", (PAGE, "prepare")),
                WATCH: Place("Watch", [[self.watch]], self.watch_bar, guide=(TRAINER_PAGE, "watch")),
                RESULTS: Place("Results", [[self.results]], results_bar, guide=(TRAINER_PAGE, "results")),
                HISTORY: Place("History", [[self.history]], history_bar, guide=(TRAINER_PAGE, "history")),
                VERSIONS: Place("Versions", [[self.versions]], guide=(PAGE, "versions")),
                ACCOUNTS: Place("Accounts", [[self.accounts]], guide=(PAGE, "accounts")),
            },
        )
        session.add_view(self._count)
        self.root.add_class("easel-remote")

    def restore(self) -> None:
        """Reads the trainers, finds the run in progress, and brings back what was set, here or in the LoRA Trainer."""
        session, desk = self.session, self.desk
        attempt(desk.look, session.note)
        attempt(session.watch_running, session.note)
        attempt(self.bar.install.look, session.note)
        if not self.kept.restore():
            self._begin()
        known = [each.on for each in desk.trainers]
        desk.on = desk.kept.on if desk.kept is not None and desk.kept.on in known else ""
        if desk.on:
            attempt(desk.prepare, session.note)
        self.kept.remember()
        keep = session.before_taking

        def before_taking(run: Run) -> None:
            keep(run)
            self.source.leave()

        session.before_taking = before_taking

    def _begin(self) -> None:
        """Begins with the settings of the run in progress, else with those that the LoRA Trainer has kept, if there are any."""
        from trainer_core.prepare import kept_form

        run = self.session.run
        if run is not None:
            attempt(lambda: self.session.begin_from(run), self.session.note)
        elif kept_form.kept_in(BEGINS_WITH).is_file():
            attempt(lambda: self.source.begin(BEGINS_WITH), self.session.note)

    def resume(self, run: Run) -> None:
        """Shows a run in Watch, and how it would be resumed; it starts when the user agrees there."""
        self.session.watch(run)
        self.session.show()
        self.go(WATCH)
        self.watch_bar.continuing.propose(run, 0)

    def beat(self) -> None:
        """Shows how long the run has taken so far."""
        self.watch_bar.beat()
        self.watch_samples.beat()
        self.history.beat()

    def _count(self) -> None:
        """Shows on its tab how many runs the history has."""
        # The steps of this app are no questions: nothing is hidden before something was answered.
        self.root.add_class("easel-begun")
        if self.places.counts.get(HISTORY, 0) != self.history.number:
            self.places.counts = {HISTORY: self.history.number}

    def close(self, why: str = "") -> None:
        """Ends the feeds and the tunnel; a run continues, here and where it trains."""
        self.history.close()
        self.results.close()
        self.accounts.close()
        self.bar.close()
        self.kept.close()
        super().close(why)

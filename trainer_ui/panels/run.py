"""The run that is shown: live view and Stop."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from trainer_core.runs.run import FINAL_STATES, RunState
from trainer_ui.boundary import attempt
from trainer_ui.components.monitor import Monitor
from trainer_ui.widgets import Box, Button, VBox
from trainer_ui.words import Words, show

if TYPE_CHECKING:
    from pathlib import Path

    from trainer_ui.feed import Feed
    from trainer_ui.session import Session


class RunPanel:
    """A run's name, its monitor, and Stop, which asks once."""

    def __init__(self, session: Session, feed: Feed) -> None:
        self.session, self.feed = session, feed
        self.asking = False
        self.monitor = Monitor(feed.tell_all, self.sample)
        self.name = Words("", "heading", "grow")
        self.stop = Button(description="Stop", classes=("easel-stop",))
        self.stop.on_click(session.handler(lambda _: self._ask(True)))
        self.sure = Button(description="Stop it now", classes=("easel-stop",))
        self.sure.on_click(session.handler(lambda _: self._stop()))
        self.keep = Button(description="Let it run")
        self.keep.on_click(session.handler(lambda _: self._ask(False)))
        self.question = Words("", "grow", "question")
        head = Box([self.name, self.stop], classes=("easel-row",))
        self.ask = Box([self.question, self.sure, self.keep], classes=("easel-row",))
        self.widget = VBox([head, self.ask, self.monitor], classes=("easel-card",))

    def _ask(self, asking: bool) -> None:
        self.asking = asking

    def _stop(self) -> None:
        self.asking = False
        run = self.session.run
        if run is not None:
            # Ending a process group takes as long as its grace; the page must not wait for it.
            threading.Thread(
                target=attempt, args=(run.stop, self.session.show_soon), name="easel-stop", daemon=True
            ).start()

    def sample(self, index: int) -> Path | None:
        """The file of a sample by its place in the run's record, if it lies in the run's folder."""
        watch = self.feed.watch
        if watch is None or not 0 <= index < len(watch.record.samples):
            return None
        folder = watch.run.directory.path
        path = folder / watch.record.samples[index].path
        return path if path.resolve().is_relative_to(folder.resolve()) else None

    def show(self) -> None:
        """Shows the run's name and what can be done with it."""
        run = self.session.run
        state = run.state if run is not None else None
        live = state is not None and state not in FINAL_STATES
        self.name.say(run.directory.path.name if run is not None else "Run")
        self.asking = self.asking and live
        self.question.say("Stop this run? What was saved so far stays." if self.asking else "")
        show(self.stop, live and not self.asking)
        show(self.ask, self.asking)
        show(self.sure, self.asking)
        show(self.keep, self.asking)
        self.stop.disabled = state is RunState.STOPPING
        self.stop.description = "Stopping…" if state is RunState.STOPPING else "Stop"

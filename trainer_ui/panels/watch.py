"""The bar of the run that is shown, and the run itself; an ended run can be closed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from trainer_core.errors import JobError
from trainer_core.events import whole
from trainer_core.jobs.state import FINAL_STATES, JobState
from trainer_core.jobs.time_left import TimeLeft
from trainer_core.training.actions import Action, is_asked_to_stop, next_save, of_live
from trainer_ui.boundary import attempt
from trainer_ui.components.run_bar import RunBar
from trainer_ui.formatting import show
from trainer_ui.panels import run_content
from trainer_ui.panels.card import empty
from trainer_ui.panels.continuing import Continuing
from trainer_ui.panels.ended import EndPanel
from trainer_ui.widgets import Button, VBox

if TYPE_CHECKING:
    from pathlib import Path

    from trainer_core.engines.seam import Request
    from trainer_core.training.run import Run
    from trainer_ui.panels.run import RunPanel
    from trainer_ui.session import Session

Go = Callable[[str], object]
"""Shows the place with this id."""
AGAIN = Action("retry", "Start again", "the same settings, a new run", "A new run begins at step 0. This one stays.")
CLOSE = Action("close", "Close", "it stays in the history", "The run is not shown here any more.")
RESULT = Action("result", "See the result", "files, samples, checkpoints", "Shows what the run has made.")


class WatchBar:
    """State, time left, stages and actions of the run that is shown. Each action says beforehand what it does."""

    def __init__(self, session: Session, run: RunPanel, go: Go) -> None:
        self.session, self.go = session, go
        self.bar = RunBar(self._act, self.refresh)
        self.widget = VBox([self.bar], classes=("easel-run-bar",))
        run.heard = self.beat
        self.continuing = Continuing(session)
        self._path: Path | None = None
        self._left = TimeLeft()
        self._usual: Mapping[str, float] = {}
        self._about = ""
        self._ended: tuple[Action, ...] = ()
        self._known: tuple[Any, ...] = ()
        self._actions: list[dict[str, Any]] = []
        self._lock = threading.Lock()
        self._act_on = session.handler(self._do)

    def show(self) -> None:
        """Shows the state of the run, and the actions that are possible."""
        run = self.session.run
        path = run.folder.path if run is not None else None
        if path != self._path:
            self._path, self._left, self._usual, self._ended, self._known = path, TimeLeft(), {}, (), ()
            self.continuing.forget()
            self._about = run_content.about(run) if run is not None else ""
            if run is not None:
                threading.Thread(
                    target=attempt, args=(lambda: self._learn(run), self.session.note), daemon=True
                ).start()
        self._fill()

    def beat(self) -> None:
        """Shows how the run stands now; called in the thread of the feed, which must not wait."""
        if self.session.lock.acquire(blocking=False):
            try:
                if self.session.run is not None and self.session.run.folder.path == self._path:
                    self._fill()
            finally:
                self.session.lock.release()

    def refresh(self) -> None:
        """Sends everything again: a view was opened, and what is stored of the content may be old."""
        self._fill(again=True)

    def _learn(self, run: Run) -> None:
        """Finds what takes a while: the usual times of the stages, and how an ended run can go on."""
        from trainer_core.estimate.usual import usual_stages
        from trainer_core.training.actions import of_ended

        if run.state in FINAL_STATES:
            found = of_ended(run)
            if self._path == run.folder.path:
                self._ended, self._known = found, ()
        else:
            usual = usual_stages(run)
            if self._path == run.folder.path:
                self._usual = usual
        self._fill()

    def _fill(self, again: bool = False) -> None:
        """Sets the content of the bar. A change of the time alone is no change: the clocks run in the page."""
        with self._lock:
            content = self._content(self.session.run)
            before = self.bar.content
            if again or {**content, "now": 0} != {**before, "now": 0}:
                self.bar.content = content

    def _content(self, run: Run | None) -> dict[str, Any]:
        if run is None:
            return dict(run_content.NOTHING)
        try:
            return {**self._of_run(run), "actions": self._actions_of(run), **self.continuing.content()}
        except JobError as error:
            return {**run_content.damaged(error), "actions": [CLOSE.as_dict()]}

    def _of_run(self, run: Run) -> dict[str, Any]:
        seen = run.summary
        # Before the first step there is nothing to base an estimate on.
        left = seen.eta_s if seen.last_step and run.is_live else None
        self._left.take(time.time(), left, seen.pace_s or 0.0, seen.stepped_s)
        watch = self.session.jobs.watch
        old = watch.old() if watch is not None and watch.job is run else ""
        return {**run_content.content(run, self._left, self._usual, old), "summary": self._about}

    def _actions_of(self, run: Run) -> list[dict[str, Any]]:
        """The actions, which are computed again when something has changed on which they depend."""
        state, seen = run.state, run.summary
        save = next_save(run) if state is JobState.RUNNING else 0
        asked = is_asked_to_stop(run) if state is JobState.RUNNING else False
        known = (run.folder.path, state, len(seen.checkpoints), save, asked, self._ended)
        if known != self._known:
            self._known = known
            found = self._of_ended(run, state) if state in FINAL_STATES else of_live(run)
            self._actions = [action.as_dict() for action in found]
        return self._actions

    def _of_ended(self, run: Run, state: JobState) -> tuple[Action, ...]:
        has_result = state is JobState.COMPLETED or bool(run.summary.checkpoints)
        # A failed run is started again from its card, with the changes that may help.
        again = (AGAIN,) if state in (JobState.COMPLETED, JobState.CANCELLED) else ()
        return (*self._ended, *again, CLOSE, *((RESULT,) if has_result else ()))

    def _act(self, action: str, told: Mapping[str, Any]) -> None:
        self._act_on((action, told))

    def _do(self, asked: tuple[str, Mapping[str, Any]]) -> None:
        action, told = asked
        run = self.session.run
        if run is None:
            return
        done: dict[str, Callable[[], object]] = {
            "stop": self.session.jobs.stop,
            "stop-after-save": lambda: run.stop(after="save"),
            "save": lambda: self._ask_engine(run, "save"),
            "sample": lambda: self._ask_engine(run, "sample"),
            "resume": lambda: self.continuing.propose(run, 0),
            "extend": lambda: self.continuing.propose(run, whole(told.get("steps")) or 1),
            "continue": lambda: self.continuing.start(trusted=told.get("trusted") is True),
            "dismiss": self.continuing.forget,
            "retry": lambda: self._retry(run),
            "close": lambda: self._close(run),
            "result": lambda: self.go("results"),
        }
        if action in done:
            done[action]()

    def _ask_engine(self, run: Run, request: Request) -> None:
        from trainer_core.training import controls

        self.session.note(controls.ask(run, request))

    def _close(self, run: Run) -> None:
        if run.state in FINAL_STATES:
            self.session.watch(None)

    def _retry(self, run: Run) -> None:
        from trainer_core.prepare import mending

        if run.state in FINAL_STATES:
            self.session.jobs.start(lambda: mending.retry(run))


class WatchPanel:
    """The run that is shown; without one, where to start one."""

    def __init__(self, session: Session, run: RunPanel, go: Go) -> None:
        self.session, self.run = session, run
        start = Button(description="Go to Prepare")
        start.on_click(session.handler(lambda _: go("prepare")))
        self.none = empty("Nothing is training", "Start a run in Prepare, or open an earlier one in History.", start)
        self.end = EndPanel(session, go)
        self.samples_place = VBox([], classes=("easel-samples-place",))
        """Where the samples of the run are shown, below the chart."""
        parts = [self.none, self.end.widget, run.monitor, self.samples_place, run.log]
        self.widget = VBox(parts, classes=("easel-watch",))

    def show(self) -> None:
        """Shows the run."""
        has_run = self.session.run is not None
        show(self.none, not has_run)
        show(self.samples_place, has_run)
        self.end.show()

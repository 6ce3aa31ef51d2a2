"""The bar of the job that is shown, whatever its kind: its state, how far it is, and Stop."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from trainer_core.errors import JobError
from trainer_core.jobs.job import Job
from trainer_core.jobs.state import FINAL_STATES
from trainer_core.jobs.time_left import TimeLeft
from trainer_core.training.actions import Action, stop_of
from trainer_ui.components.run_bar import RunBar
from trainer_ui.panels import run_content
from trainer_ui.widgets import VBox

if TYPE_CHECKING:
    from trainer_ui.job_session import JobSession

Done = Mapping[str, Callable[[], object]]
"""What each action does, by its id."""


class JobBar:
    """State, time left, stages and actions of the job that is shown. A subclass adds actions and what it knows of its jobs."""

    def __init__(self, jobs: JobSession[Any], called: str = "job") -> None:
        self.jobs, self.called = jobs, called
        self.bar = RunBar(self._act, self.refresh)
        self.widget = VBox([self.bar], classes=("easel-run-bar",))
        self.usual: Mapping[str, float] = {}
        """The usual seconds of stages, by their names."""
        self._job: Job | None = None
        self._left = TimeLeft()
        self._known: object = None
        self._actions: list[dict[str, Any]] = []
        self._lock = threading.Lock()
        self._act_on = jobs.views.handler(self._do)

    def show(self) -> None:
        """Shows the state of the job, and the actions that are possible."""
        job = self.jobs.job
        if job is not self._job:
            self._job, self._left, self.usual, self._known = job, TimeLeft(), {}, None
            self.changed(job)
        self.refresh(again=False)

    def beat(self) -> None:
        """Shows how the job stands now; called in the thread of the feed, which must not wait."""
        lock = self.jobs.views.lock
        if lock.acquire(blocking=False):
            try:
                if self.jobs.job is self._job:
                    self.refresh(again=False)
            finally:
                lock.release()

    def refresh(self, *, again: bool = True) -> None:
        """Sets the content. `again`: also if only the time has changed, for a view that was opened: what is stored may be old.

        A change of the time alone is no change, because the clocks run in the page.
        """
        with self._lock:
            content = self._content(self.jobs.job)
            if again or {**content, "now": 0} != {**self.bar.content, "now": 0}:
                self.bar.content = content

    def changed(self, job: Job | None) -> None:
        """Called when another job is shown."""

    def actions(self, job: Job) -> Iterable[Action]:
        """What can be done with the job."""
        return () if job.state in FINAL_STATES else (stop_of(job, job.state),)

    def depends(self, job: Job) -> object:  # noqa: ARG002  # for subclasses
        """What the actions depend on besides the state of the job and the number of its checkpoints."""
        return None

    def more(self) -> dict[str, Any]:
        """More content of the bar."""
        return {}

    def done(self, job: Job, told: Mapping[str, Any]) -> Done:  # noqa: ARG002  # for subclasses
        """What each action does; `told` is what the user chose for it."""
        return {"stop": self.jobs.stop}

    def forget_actions(self) -> None:
        """Computes the actions anew."""
        self._known = None

    def _content(self, job: Any) -> dict[str, Any]:
        if job is None:
            return dict(run_content.NO_JOB if self.called == "job" else run_content.NOTHING)
        try:
            return {**self._of_job(job), "actions": self._actions_of(job), **self.more()}
        except JobError as error:
            return run_content.damaged(error)

    def _of_job(self, job: Job) -> dict[str, Any]:
        seen = job.summary
        # Before the first step there is nothing to base an estimate on.
        left = seen.eta_s if seen.last_step and job.is_live else None
        self._left.take(time.time(), left, seen.pace_s or 0.0, seen.stepped_s)
        watch = self.jobs.watch
        old = watch.old() if watch is not None and watch.job is job else ""
        return run_content.content(job, self._left, self.usual, old)

    def _actions_of(self, job: Job) -> list[dict[str, Any]]:
        """The actions, which are computed again when something has changed on which they depend."""
        known = (job.folder.path, job.state, len(job.summary.checkpoints), self.depends(job))
        if known != self._known:
            self._known = known
            self._actions = [self._told(action) for action in self.actions(job)]
        return self._actions

    def _told(self, action: Action) -> dict[str, Any]:
        asks = {
            "stop": [f"Stop this {self.called}?", "Stop it now", "Let it run"],
            "stop-after-save": ["Stop after the next save?", "Stop after it", "Let it run"],
            "retry": [f"Start this {self.called} again?", "Start again now", "Not now"],
        }
        return {**action.as_dict(), "asks": asks.get(action.id, [])}

    def _act(self, action: str, told: Mapping[str, Any]) -> None:
        self._act_on((action, told))

    def _do(self, asked: tuple[str, Mapping[str, Any]]) -> None:
        action, told = asked
        job = self.jobs.job
        if job is None or told.get("run", job.name) != job.name:
            # The page showed another job when this was chosen.
            return
        found = self.done(job, told).get(action)
        if found is not None:
            found()

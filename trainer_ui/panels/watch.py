"""The bar of the run that is shown, and the run itself; an ended run can be closed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from trainer_core.events import whole
from trainer_core.jobs.job import Job
from trainer_core.jobs.state import FINAL_STATES, JobState
from trainer_core.training.actions import Action, is_asked_to_stop, next_save, of_live
from trainer_core.training.run import Run
from trainer_ui.boundary import attempt
from trainer_ui.formatting import show
from trainer_ui.panels import run_content
from trainer_ui.panels.card import empty
from trainer_ui.panels.continuing import Continuing
from trainer_ui.panels.ended import FAILED, EndPanel
from trainer_ui.panels.job_bar import Done, JobBar
from trainer_ui.widgets import Button, VBox

if TYPE_CHECKING:
    from trainer_core.engines.seam import Request
    from trainer_ui.panels.run import LiveParts
    from trainer_ui.session import Session

Go = Callable[[str], object]
"""Shows the place with this id."""
AGAIN = Action("retry", "Start again", "a new run, unchanged", "A new run begins at step 0. This one stays.")
CLOSE = Action("close", "Close", "it stays in the history", "The run is not shown here any more.")
RESULT = Action("result", "See the result", "files, samples, checkpoints", "Shows what the run has made.")


class WatchBar(JobBar):
    """The bar of a run. Each action says beforehand what it does."""

    def __init__(self, session: Session, run: LiveParts, go: Go) -> None:
        super().__init__(session.jobs, "run")
        self.session, self.go = session, go
        run.heard = self.beat
        self.continuing = Continuing(session)
        self._about = ""
        self._ended: tuple[Action, ...] = ()
        self._looked = False

    def changed(self, job: Job | None) -> None:
        """Reads what the run trains, and finds the usual times of its stages in a thread."""
        self._ended, self._looked, self._about = (), False, ""
        self.continuing.forget()
        if isinstance(job, Run):
            self._about = run_content.about(job)
            if job.is_live:
                self._begin(lambda: self._learn(job))

    def show(self) -> None:
        """Shows the state of the run; when it has ended, finds out in a thread how it can go on."""
        super().show()
        job = self.jobs.job
        if isinstance(job, Run) and job.state in FINAL_STATES and not self._looked:
            self._looked = True
            self._begin(lambda: self._look(job))

    def _begin(self, work: Callable[[], object]) -> None:
        threading.Thread(target=attempt, args=(work, self.session.note), name="easel-watch", daemon=True).start()

    def _learn(self, run: Run) -> None:
        from trainer_core.estimate.usual import usual_stages

        found = usual_stages(run)
        if self.jobs.job is run:
            self.usual = found
            self.refresh(again=False)

    def _look(self, run: Run) -> None:
        from trainer_core.training.actions import of_ended

        found = of_ended(run)
        if self.jobs.job is run:
            self._ended = found
            self.forget_actions()
            self.refresh(again=False)

    def depends(self, job: Job) -> object:
        """The next save, and whether the run stops after it."""
        if not isinstance(job, Run) or job.state is not JobState.RUNNING:
            return None
        return next_save(job), is_asked_to_stop(job)

    def actions(self, job: Job) -> tuple[Action, ...]:
        """What can be done with the run."""
        if not isinstance(job, Run):
            return ()
        state = job.state
        if state not in FINAL_STATES:
            return of_live(job)
        if state in FAILED:
            # Its card starts it again, with the changes that may help, and shows what is left of it.
            return (*self._ended, CLOSE)
        has_result = state is JobState.COMPLETED or bool(job.summary.checkpoints)
        where = f" on {job.folder.where}" if job.folder.where else ""
        again = replace(
            AGAIN, brief=f"{AGAIN.brief}{where}", sentence=f"A new run begins{where} at step 0. This one stays."
        )
        return (*self._ended, again, CLOSE, *((RESULT,) if has_result else ()))

    def more(self) -> dict[str, Any]:
        """What the run trains, and how it would continue."""
        return {"summary": self._about, **self.continuing.content()}

    def done(self, job: Job, told: Mapping[str, Any]) -> Done:
        """What each action does."""
        if not isinstance(job, Run):
            return {}
        return {
            **super().done(job, told),
            "stop-after-save": lambda: job.stop(after="save"),
            "save": lambda: self._ask_engine(job, "save"),
            "sample": lambda: self._ask_engine(job, "sample"),
            "resume": lambda: self.continuing.propose(job, 0),
            "extend": lambda: self.continuing.propose(job, whole(told.get("steps")) or 1),
            "continue": lambda: self.continuing.start(trusted=told.get("trusted") is True),
            "dismiss": self.continuing.forget,
            "retry": lambda: self._retry(job),
            "close": lambda: self._close(job),
            "result": lambda: self.go("results"),
        }

    def _ask_engine(self, run: Run, request: Request) -> None:
        from trainer_core.training import controls

        self.session.note(controls.ask(run, request))

    def _close(self, run: Run) -> None:
        if run.state in FINAL_STATES:
            self.session.watch(None)

    def _retry(self, run: Run) -> None:
        from trainer_core.remote.runs import starting

        if run.state in FINAL_STATES:
            self.session.jobs.start(lambda: starting.again(run))


class WatchPanel:
    """The run that is shown; without one, where to start one."""

    def __init__(self, session: Session, run: LiveParts, go: Go) -> None:
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

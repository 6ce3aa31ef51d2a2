"""The bar of the run that is shown, and the run itself; an ended run can be closed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from trainer_core.jobs.state import FINAL_STATES, JobState
from trainer_ui import pasts
from trainer_ui.formatting import Figures, Headline, show
from trainer_ui.panels.card import empty
from trainer_ui.widgets import Box, Button, VBox

if TYPE_CHECKING:
    from trainer_core.jobs.job import Job
    from trainer_ui.panels.run import RunPanel
    from trainer_ui.session import Session

Go = Callable[[str], object]
"""Shows the place with this id."""


class WatchBar:
    """State, phase and times of the run that is shown, with its Stop; after its end what to do next."""

    def __init__(self, session: Session, run: RunPanel, go: Go) -> None:
        self.session = session
        self.state, self.figures = Headline(), Figures()
        # The first row of the run's panel has its name and Stop; they are in the bar, which stays in sight.
        self.head, *below = run.widget.children
        run.widget.children = tuple(below)
        self.head.add_class("easel-run-head")
        self.result = Button(description="See the result", button_style="primary", classes=("easel-big",))
        self.result.on_click(session.handler(lambda _: go("results")))
        self.close = Button(description="Close")
        self.close.on_click(session.handler(lambda _: session.watch(None)))
        actions = Box([self.head, self.result, self.close], classes=("easel-actions",))
        self.widget = Box([self.state, self.figures, actions], classes=("easel-ready",))

    def show(self) -> None:
        """Shows the state of the run, and the actions that are possible."""
        job = self.session.run
        ended = job is not None and job.state in FINAL_STATES
        show(self.head, job is not None and not ended)
        show(
            self.result,
            job is not None and ended and (job.state is JobState.COMPLETED or bool(job.summary.checkpoints)),
        )
        show(self.close, ended)
        if job is None:
            self.state.show_state(
                "", "·", "Nothing is training", "A run is shown here, also after a restart of the kernel."
            )
            self.figures.show_figures(())
        else:
            self._show_job(job, ended)

    def beat(self) -> None:
        """Shows how long the run has taken so far; called in the thread of the feed, which must not wait."""
        job = self.session.run
        if job is not None and self.session.lock.acquire(blocking=False):
            try:
                self._show_job(job, job.state in FINAL_STATES)
            finally:
                self.session.lock.release()

    def _show_job(self, job: Job, ended: bool) -> None:
        word, tone = pasts.state_of(job)
        seen, took = job.summary, pasts.seconds(job)
        name = pasts.name_of(job)
        step = ("Step", f"{seen.step:,}", f"of {seen.total:,}") if seen.total else ("Step", "", "")
        if ended:
            at = f"after {pasts.span(took)}" if took is not None else ""
            title = f"{name} is {word}" if job.state is not JobState.FAILED else f"{name} has failed"
            self.state.show_state(tone, pasts.SIGNS[tone], title, " ".join(filter(None, (at, pasts.when(job)))))
            self.figures.show_figures([step])
            return
        so_far = f"{pasts.clock(took)} so far" if took is not None else ""
        stage = seen.stage or "starting the engine"
        self.state.show_state(tone, pasts.SIGNS[tone], name, ", ".join(filter(None, (stage, so_far))))
        left = seen.eta_s if seen.step else None
        self.figures.show_figures([("Time left", pasts.span(left) if left is not None else "", ""), step])


class WatchPanel:
    """The run that is shown; without one, where to start one."""

    def __init__(self, session: Session, run: RunPanel, go: Go) -> None:
        self.session, self.run = session, run
        start = Button(description="Go to Prepare")
        start.on_click(session.handler(lambda _: go("prepare")))
        self.none = empty("Nothing is training", "Start a run in Prepare, or open an earlier one in History.", start)
        self.widget = VBox([self.none, run.widget], classes=("easel-watch",))

    def show(self) -> None:
        """Shows the run."""
        self.run.show()
        has_run = self.session.run is not None
        show(self.none, not has_run)
        show(self.run.widget, has_run)

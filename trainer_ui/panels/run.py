"""The job that is shown: its live view, and Stop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trainer_core.jobs.state import JobState
from trainer_ui.components.monitor import Monitor
from trainer_ui.formatting import Paragraph, show
from trainer_ui.widgets import Box, Button, VBox

if TYPE_CHECKING:
    from pathlib import Path

    from trainer_ui.job_session import JobSession


class RunPanel:
    """The name of a job, its monitor, and Stop, which asks once. `called` is the word for the job on the page."""

    def __init__(self, jobs: JobSession[Any], called: str = "run") -> None:
        self.jobs, self.called = jobs, called
        self.asking = self._moved = False
        self.monitor = Monitor(jobs.feed.tell_all, self.sample)
        jobs.feed.tell = self.monitor.tell
        handler = jobs.views.handler
        self.name = Paragraph("", "heading", "grow")
        self.stop = Button(description="Stop", classes=("easel-stop",))
        self.stop.on_click(handler(lambda _: self._ask(True)))
        self.sure = Button(description="Stop it now", classes=("easel-stop",))
        self.sure.on_click(handler(lambda _: self._stop()))
        self.keep = Button(description="Let it run")
        self.keep.on_click(handler(lambda _: self._ask(False)))
        self.question = Paragraph("", "grow", "question")
        head = Box([self.name, self.stop], classes=("easel-row",))
        self.ask = Box([self.question, self.sure, self.keep], classes=("easel-row",))
        self.widget = VBox([head, self.ask, self.monitor], classes=("easel-card",))

    def _ask(self, asking: bool) -> None:
        self.asking, self._moved = asking, True

    def _stop(self) -> None:
        self.asking = False
        self.jobs.stop()

    def sample(self, index: int) -> Path | None:
        """The file of the sample with this index, if it is in the folder of the job."""
        watch = self.jobs.watch
        if watch is None or not 0 <= index < len(watch.job.summary.samples):
            return None
        folder = watch.job.folder.path
        path = folder / watch.job.summary.samples[index].path
        return path if path.resolve().is_relative_to(folder.resolve()) else None

    def show(self) -> None:
        """Shows the name of the job, and Stop while it runs."""
        job, live = self.jobs.job, self.jobs.is_live
        self.name.show_text(job.name if job is not None else self.called.capitalize())
        self.asking = self.asking and live
        self.question.show_text(f"Stop this {self.called}? {self._kept()}" if self.asking else "")
        show(self.stop, live and not self.asking)
        show(self.ask, self.asking)
        show(self.sure, self.asking)
        show(self.keep, self.asking)
        stopping = self.jobs.state is JobState.STOPPING
        self.stop.disabled = stopping
        self.stop.description = "Stopping…" if stopping else "Stop"
        if self._moved:
            # The button that was clicked is hidden now, and with it the place of the keyboard.
            self._moved = False
            (self.keep if self.asking else self.stop).focus()

    def _kept(self) -> str:
        """What remains of the job if it is stopped now."""
        watch = self.jobs.watch
        saved = watch.job.summary.checkpoints if watch is not None else ()
        if not saved:
            return "Nothing was saved yet, so its result is lost."
        step = max(each.step for each in saved)  # 0 if no file name contains it
        return f"What was saved so far stays, up to step {step}." if step else "What was saved so far stays."

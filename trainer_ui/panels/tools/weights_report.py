"""What a check of a model's numbers has found."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainer_core.jobs.state import JobState
from trainer_ui.formatting import Paragraph, show
from trainer_ui.widgets import VBox

if TYPE_CHECKING:
    from trainer_ui.tool_session import ToolSession

KIND = "check-weights"


class WeightsReport:
    """The report of the job that is shown, if it has one."""

    def __init__(self, session: ToolSession) -> None:
        self.session = session
        self.lines = [Paragraph("") for _ in range(6)]
        self.widget = VBox([Paragraph("What was found", "heading"), *self.lines], classes=("easel-card",))
        show(self.widget, False)
        self._shown: object = None

    def show(self) -> None:
        """Shows the report."""
        from trainer_core.tools import check_weights

        job = self.session.jobs.job
        is_one = job is not None and job.spec.kind == KIND and job.state is JobState.COMPLETED
        report = check_weights.report_of(job.folder) if job is not None and is_one else None
        show(self.widget, report is not None)
        if report is None or job is None or self._shown == job.folder.path:
            return
        self._shown = job.folder.path
        words = check_weights.words(report)
        for line, text in zip(self.lines, [*words, *[""] * len(self.lines)], strict=False):
            line.show_text(text)

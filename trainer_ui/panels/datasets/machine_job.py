"""The job that looks at the images: how far it is, its log, and Stop."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainer_ui.formatting import Paragraph, show
from trainer_ui.panels.run import RunPanel
from trainer_ui.widgets import VBox

if TYPE_CHECKING:
    from trainer_ui.dataset_session import DatasetSession


class MachineJob:
    """The job, once there is one."""

    def __init__(self, session: DatasetSession) -> None:
        self.session = session
        self.run = RunPanel(session.jobs)
        self.parts = VBox([self.run.widget])
        self.none = Paragraph(
            "No job has been started. It goes on when this page is closed, and it is found here again.",
            "muted",
            "small",
        )
        self.widget = VBox(
            [Paragraph("The job", "heading"), self.none, self.parts], classes=("easel-card", "easel-machine-job")
        )

    def show(self) -> None:
        """Shows the job."""
        jobs = self.session.jobs
        self.run.show()
        show(self.parts, jobs.job is not None)
        show(self.none, jobs.job is None)
        show(self.widget, self.session.root is not None)

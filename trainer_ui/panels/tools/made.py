"""What a job has made: the file, what is known about it, and what can be done with it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer_core.errors import JobError
from trainer_core.jobs import own_program
from trainer_core.jobs.state import JobState
from trainer_ui.components.copy_line import CopyLine
from trainer_ui.components.download import Download
from trainer_ui.formatting import Pairs, Paragraph, show
from trainer_ui.panels.card import row
from trainer_ui.widgets import VBox

if TYPE_CHECKING:
    from trainer_ui.tool_session import ToolSession


class Made:
    """The file of the job that is shown."""

    def __init__(self, session: ToolSession) -> None:
        self.session = session
        self.path = CopyLine()
        self.path.label = "File"
        self.facts = Pairs()
        self.download = Download(self._file)
        self.widget = VBox(
            [Paragraph("Made", "heading"), self.path, self.facts, row(self.download)],
            classes=("easel-card", "easel-tool-made"),
        )
        self._shown: object = None

    def show(self) -> None:
        """Shows the file, once there is one."""
        job = self.session.jobs.job
        done = job is not None and job.state is JobState.COMPLETED
        show(self.widget, done)
        shown = (job.folder.path, job.state) if job is not None else None
        if job is None or not done or shown == self._shown:
            return
        self._shown = shown
        made = self._made()
        path = Path(str(made.get("path", "")))
        self.path.show_text(str(path))
        facts = made.get("facts")
        pairs = (
            [(str(one[0]), str(one[1])) for one in facts if isinstance(one, list) and len(one) == 2]
            if isinstance(facts, list)
            else []
        )
        size = [("Size", f"{path.stat().st_size / 1e6:,.1f} MB")] if path.is_file() else []
        self.facts.show_pairs([*size, *pairs])
        self.download.disabled = not path.is_file()

    def _made(self) -> dict[str, Any]:
        job = self.session.jobs.job
        return (job.folder.read(own_program.MADE) if job is not None else None) or {}

    def _file(self) -> tuple[Path, str]:
        path = Path(str(self._made().get("path", "")))
        if not path.is_file():
            raise JobError(f"{path} is not there any more.")
        return path, path.name

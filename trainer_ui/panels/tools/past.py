"""The jobs of the tools, newest first."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING

from trainer_core.jobs import kind
from trainer_core.jobs.state import FINAL_STATES, JobState
from trainer_core.tools import making
from trainer_ui.components.action_list import Act, ActionList, Item
from trainer_ui.formatting import Paragraph, show
from trainer_ui.job_session import known_jobs
from trainer_ui.widgets import VBox

if TYPE_CHECKING:
    from trainer_core.jobs.job import Job
    from trainer_ui.tool_session import ToolSession

MOST = 50
WORDS = {
    JobState.COMPLETED: "Finished",
    JobState.FAILED: "Failed",
    JobState.CANCELLED: "Stopped",
    JobState.LOST: "Lost",
}


class Past:
    """What was made before, by kind of job; each can be looked at again."""

    def __init__(self, session: ToolSession, kinds: tuple[str, ...]) -> None:
        self.session, self.kinds = session, kinds
        self.list = ActionList("Jobs of these tools", session.handler(self._open))
        self.none = Paragraph("No job has been started yet.", "muted", "small")
        self.widget = VBox(
            [Paragraph("Jobs", "heading"), self.none, self.list], classes=("easel-card", "easel-tool-past")
        )
        self._jobs: dict[str, Job] = {}

    def show(self) -> None:
        """Lists the jobs."""
        found = [job for each in self.kinds for job in known_jobs(each)]
        found.sort(key=lambda job: job.name, reverse=True)
        self._jobs = {job.name: job for job in found[:MOST]}
        show(self.none, not found)
        self.list.show_items(_item(job) for job in self._jobs.values())

    def _open(self, asked: tuple[str, str]) -> None:
        job = self._jobs.get(asked[0])
        if job is not None:
            self.session.jobs.follow(job)


def _item(job: Job) -> Item:
    state = job.state
    made = next(iter((job.result or {}).get("outputs", ())), "")
    when = dt.datetime.fromtimestamp(job.folder.path.stat().st_mtime).astimezone()
    words = WORDS.get(state, "In progress" if state not in FINAL_STATES else state.name.capitalize())
    return Item(
        job.name,
        Path(str(made)).name or making.planned_name(job.folder) or kind.get(job.spec.kind).title,
        f"{kind.get(job.spec.kind).title}, {when:%Y-%m-%d %H:%M}",
        words,
        acts=(Act("open", "Look at it", f"Look at {job.name}"),),
    )

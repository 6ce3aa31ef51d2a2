"""The base of the notebooks for model files: a place for each tool, one for its job, and one for the jobs before."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from trainer_ui.app import WATCH, App, Place
from trainer_ui.job_session import known_jobs
from trainer_ui.panels.run import RunPanel
from trainer_ui.panels.tools.bar import ToolBar
from trainer_ui.panels.tools.form import Form
from trainer_ui.panels.tools.made import Made
from trainer_ui.panels.tools.notes import Notes
from trainer_ui.panels.tools.past import Past
from trainer_ui.tool_session import ToolSession, Utility

if TYPE_CHECKING:
    from collections.abc import Callable

    from trainer_ui.app import Panel

JOBS = "jobs"


class Watching:
    """The job, once there is one: its bar, how it ended, and its log."""

    def __init__(self, session: ToolSession) -> None:
        self.run = RunPanel(session.jobs)
        self.widget = self.run.widget

    def show(self) -> None:
        """Shows the job."""
        self.run.show()


class UtilityApp(App):
    """Tools that make new model files of others. A subclass names its tools."""

    utilities: ClassVar[tuple[Utility, ...]]
    results: ClassVar[tuple[Callable[[ToolSession], Panel], ...]] = ()
    """More panels about the job that is shown: what it found."""
    fills_hidden = False

    def __init__(self) -> None:
        self.session = session = ToolSession(self.utilities)
        self.forms = {one.id: Form(session, one) for one in self.utilities}
        kinds = tuple(dict.fromkeys(kind for one in self.utilities for kind in one.kinds))
        self.kinds = kinds
        places = {
            one.id: Place(
                one.title,
                [[self.forms[one.id]], [Notes(session, one)]],
                ToolBar(session, one),
                "wide-left",
                one.guide or (self.guide_page, one.id),
            )
            for one in self.utilities
        }
        places[WATCH] = Place(
            "Job",
            [[*(make(session) for make in self.results), Watching(session)], [Made(session)]],
            None,
            "wide-left",
            (self.guide_page, "job"),
        )
        places[JOBS] = Place("Jobs", [[Past(session, kinds)]], None, "plain", (self.guide_page, "job"))
        super().__init__(session.jobs, places)

    def restore(self) -> None:
        """Follows the job in progress: the kernel may have been restarted."""
        self.session.jobs.follow_live(job for kind in self.kinds for job in known_jobs(kind))

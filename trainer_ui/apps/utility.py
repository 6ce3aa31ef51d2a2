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
        self.bars = {one.id: ToolBar(session, one) for one in self.utilities}
        self.made = Made(session)
        places = {
            one.id: Place(
                one.title,
                [[self.forms[one.id]], [Notes(session, one)]],
                self.bars[one.id],
                "wide-left",
                one.guide or (self.guide_page, one.id),
            )
            for one in self.utilities
        }
        places[WATCH] = Place(
            "Job",
            [[*(make(session) for make in self.results), Watching(session)], [self.made]],
            None,
            "wide-left",
            (self.guide_page, "in-the-notebook"),
        )
        places[JOBS] = Place("Jobs", [[Past(session, kinds)]], None, "plain", (self.guide_page, "in-the-notebook"))
        session.moving = self.go
        super().__init__(session.jobs, places)

    def restore(self) -> None:
        """Follows the job in progress, as the kernel may have been restarted, and searches for the models on this machine."""
        self.session.shelf.look()
        self.session.jobs.follow_live(job for kind in self.kinds for job in known_jobs(kind))

    def close(self, why: str = "") -> None:
        """Ends the search for models, too."""
        self.session.shelf.close()
        super().close(why)

"""The base of the notebooks for model files: a place for each tool, one for its job, and one for the jobs before."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from trainer_core.jobs.state import JobState
from trainer_ui.app import WATCH, App, Place
from trainer_ui.formatting import show
from trainer_ui.job_session import known_jobs
from trainer_ui.panels.run import RunPanel
from trainer_ui.panels.tools.bar import ToolBar
from trainer_ui.panels.tools.form import Form
from trainer_ui.panels.tools.kept import KeptEntries
from trainer_ui.panels.tools.made import Made
from trainer_ui.panels.tools.notes import Notes
from trainer_ui.panels.tools.past import Past
from trainer_ui.tool_session import ToolSession, Utility
from trainer_ui.widgets import VBox

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trainer_ui.app import Panel

JOBS = "jobs"


class Watching:
    """The bar of the job and how it ended, then `between` (what it has made and found), then its log."""

    def __init__(self, session: ToolSession, between: Sequence[Panel]) -> None:
        self.session, self.between = session, between
        self.run = RunPanel(session.jobs)
        head = VBox([self.run.bar.widget, self.run.end], classes=("easel-watch",))
        self.tail = VBox([self.run.live.monitor, self.run.live.log], classes=("easel-watch",))
        self.widget = VBox([head, *(each.widget for each in between), self.tail], classes=("easel-column",))

    def show(self) -> None:
        """Shows the job."""
        self.run.show()
        if self.session.jobs.state is JobState.COMPLETED:
            # What it has made says more.
            self.run.end.content = {}
        for each in self.between:
            each.show()
        show(self.tail, self.session.jobs.job is not None)


class UtilityApp(App):
    """Tools that make new model files of others. A subclass names its tools."""

    utilities: ClassVar[tuple[Utility, ...]]
    results: ClassVar[tuple[Callable[[ToolSession], Panel], ...]] = ()
    """More panels about the job that is shown: what it found."""
    fills_hidden = False

    def __init__(self) -> None:
        self.session = session = ToolSession(self.utilities)
        self.forms = {one.id: Form(session, one) for one in self.utilities}
        self.kept = KeptEntries(session, self.id, self.forms)
        session.add_view(self.kept.show)
        kinds = tuple(dict.fromkeys(kind for one in self.utilities for kind in one.kinds))
        self.kinds = kinds
        self.bars = {one.id: ToolBar(session, one) for one in self.utilities}
        self.made = Made(session)
        places = {
            one.id: Place(
                one.title,
                [[self.kept.lines[one.id], self.forms[one.id]], [Notes(session, one)]],
                self.bars[one.id],
                "wide-left",
                one.guide or (self.guide_page, one.id),
            )
            for one in self.utilities
        }
        places[WATCH] = Place(
            "Job",
            [[Watching(session, [self.made, *(make(session) for make in self.results)])]],
            None,
            "plain",
            (self.guide_page, "in-the-notebook"),
        )
        places[JOBS] = Place("Jobs", [[Past(session, kinds)]], None, "plain", (self.guide_page, "in-the-notebook"))
        session.moving = self.go
        super().__init__(session.jobs, places)

    def restore(self) -> None:
        """Follows the job in progress, as the kernel may have been restarted, and searches for the models on this machine."""
        self.kept.restore()
        self.session.shelf.look()
        self.session.jobs.follow_live(job for kind in self.kinds for job in known_jobs(kind))

    def close(self, why: str = "") -> None:
        """Ends the search for models, too."""
        self.session.shelf.close()
        self.kept.close()
        super().close(why)

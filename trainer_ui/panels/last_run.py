"""The run that Watch shows when none is in progress: the newest that has ended, also after the page was opened again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainer_core import places
from trainer_core.jobs.state import FINAL_STATES
from trainer_core.training.run import list_runs, method_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from trainer_ui.session import Session


class LastRun:
    """Looks once for that run, when Watch is opened and shows no other: what the user has closed stays closed."""

    def __init__(self, session: Session, is_shown: Callable[[], bool]) -> None:
        self.session, self.is_shown = session, is_shown
        self._looked = False

    def show(self) -> None:
        """Shows the run, if it is the time for it."""
        session = self.session
        if session.run is not None:
            self._looked = True
        if self._looked or not self.is_shown() or session.starting:
            return
        self._looked = True
        runs = (run for run in list_runs(places.runs()) if run.state in FINAL_STATES)
        session.watch(next((run for run in runs if method_of(run) in session.methods), None))

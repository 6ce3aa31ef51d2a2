"""The button that resumes a run that has ended, in Results and in History: what will happen is shown in Watch first."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from trainer_core.jobs.state import FINAL_STATES
from trainer_ui.boundary import attempt
from trainer_ui.formatting import show
from trainer_ui.widgets import Button

if TYPE_CHECKING:
    from collections.abc import Callable

    from trainer_core.training.actions import Action
    from trainer_core.training.run import Run
    from trainer_ui.session import Session

TRIES, PAUSE_S = 20, 0.5
"""The processes of a run that has just ended are there for a moment longer, and prevent that it is resumed."""


class Resuming:
    """A button for one run; hidden where that run cannot be resumed. Its saved states are read in a thread."""

    def __init__(self, session: Session, resume: Callable[[Run], object], *classes: str) -> None:
        self.session = session
        self.run: Run | None = None
        self.button = Button(classes=("easel-two-line", *classes))
        self.button.on_click(session.handler(lambda _: resume(self.run) if self.run is not None else None))
        self._found: Action | None = None
        self._seen: object = None

    def show(self, run: Run | None) -> None:
        """Shows the button of this run, as soon as it is known that it can be resumed."""
        state = run.state if run is not None else None
        seen = (run.folder.path, state) if run is not None else None
        if seen != self._seen:
            self.run, self._seen, self._found = run, seen, None
            if run is not None and state in FINAL_STATES:
                threading.Thread(
                    target=attempt,
                    args=(lambda: self._look(run, seen), self.session.note),
                    name="easel-resume",
                    daemon=True,
                ).start()
        found = self._found
        show(self.button, found is not None)
        if found is not None:
            self.button.description = f"{found.title}\n{found.brief}"

    def _look(self, run: Run, seen: object) -> None:
        from trainer_core.training.actions import of_ended

        for _ in range(TRIES):
            if not run.host.alive(run.folder.path, "all"):
                break
            time.sleep(PAUSE_S)
        found = next((each for each in of_ended(run) if each.id == "resume" and each.possible), None)
        if found is None:
            return
        with self.session.lock:
            if seen == self._seen:
                self._found = found
        self.session.show_soon()

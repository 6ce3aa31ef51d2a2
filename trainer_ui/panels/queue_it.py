"""The button beside Start that puts the prepared run into the queue while another one trains."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from trainer_core.jobs.queueing import entries
from trainer_ui.boundary import attempt
from trainer_ui.formatting import show
from trainer_ui.past_reader import in_thread
from trainer_ui.widgets import Button

if TYPE_CHECKING:
    from trainer_ui.session import Session


class QueueIt:
    """A quiet button, shown while something trains or waits."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.is_busy = False
        self.widget = Button(
            description="Queue it\nstarts when the GPU is free", classes=("easel-two-line", "easel-queue-it")
        )
        self.widget.on_click(session.handler(lambda _: self._queue()))

    def _queue(self) -> None:
        session = self.session
        if self.is_busy:
            return
        session.asked = True
        if reason := session.jobs.refusal():
            session.note(reason)
            return
        if reason := session.stopped_by():
            session.note(f"Not queued. {reason}")
            return
        self.is_busy = True
        job = copy.copy(session.bench)

        def queue() -> None:
            # Imported here, so that the start of a notebook does not wait for the estimate.
            from trainer_core.prepare import queued

            run, found = queued.queue_run(job)
            session.note(queued.said(run, found))
            attempt(session.memory.keep, session.note)

        in_thread(session, queue, self._done)

    def _done(self) -> None:
        self.is_busy = False

    def show(self) -> None:
        """Shows the button while something trains or waits."""
        show(self.widget, self.session.trains_here or _waits())
        self.widget.description = "Checking every image…" if self.is_busy else "Queue it\nstarts when the GPU is free"


def _waits() -> bool:
    found: list[bool] = []
    attempt(lambda: found.append(bool(entries.read().entries)), lambda _: None)
    return any(found)

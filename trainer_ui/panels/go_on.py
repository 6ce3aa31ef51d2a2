"""Continues the run of the results from a saved state: first says what continues and what starts anew, then asks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainer_core.jobs.state import JobState
from trainer_core.training import proposal, resume
from trainer_ui.formatting import Paragraph, show
from trainer_ui.panels.continuing import read_proposal, start_proposal
from trainer_ui.widgets import Box, Button, Checkbox, IntText, VBox

if TYPE_CHECKING:
    from collections.abc import Callable

    from trainer_core.training.resume import Proposal
    from trainer_core.training.run import Run
    from trainer_ui.run_results import RunResults

ADDED = 500
"""The number of steps that is offered for a finished run."""


class GoOn:
    """A button, and the question that it opens. The state is read in a thread, because it may be large."""

    def __init__(self, state: RunResults, go: Callable[[str], object]) -> None:
        self.state, self.go = state, go
        handler = state.session.handler
        self.button = Button(description="Go on from here", classes=("easel-small", "easel-start"))
        self.button.on_click(handler(lambda _: self._open()))
        self.added = IntText(description="Steps to add", value=ADDED)
        self.added.observe(handler(lambda _: self._propose()), "value")
        self.title = Paragraph("", "heading", role="status")
        self.told, self.warned = Paragraph("", "small", "lines"), Paragraph("", "small", "lines")
        self.trust = Checkbox(description="I know where this state comes from", value=False)
        self.trust.observe(handler(lambda _: None), "value")
        self.start = Button(button_style="primary")
        self.start.on_click(handler(lambda _: self._start()))
        self.cancel = Button(description="Cancel")
        self.cancel.on_click(handler(lambda _: self._close()))
        row = Box([self.start, self.cancel], classes=("easel-row",))
        self.widget = VBox(
            [self.title, self.added, self.told, self.warned, self.trust, row], classes=("easel-ask", "easel-go-on")
        )
        self.found: Proposal | None = None
        self.refused = ""
        self.is_open = self.is_reading = False
        self._number = 0
        self._run: Run | None = None

    @property
    def _is_finished(self) -> bool:
        run = self.state.run
        return run is not None and run.state is JobState.COMPLETED

    def _open(self) -> None:
        if self.is_open:
            self._close()
            return
        self.is_open, self._run = True, self.state.run
        self._propose()
        # It may open below what is in sight, so it gets the keyboard, on the answer that changes nothing.
        show(self.widget, True)
        self.cancel.focus()

    def _close(self) -> None:
        self.is_open = False
        self._number += 1
        self.state.version += 1
        self.button.focus()

    def _propose(self) -> None:
        """Looks in a thread how the run would continue."""
        run, one = self.state.run, self.state.made
        if run is None or not self.is_open:
            return
        added = max(1, self.added.value) if self._is_finished else 0
        # The state at the end of a finished run belongs to its final result.
        step = one.step if one is not None and not one.is_final else None
        self._number += 1
        self.found, self.refused, self.is_reading = None, "", True
        self.state.version += 1
        number = self._number

        def take(found: Proposal | None, refused: str) -> str:
            if number == self._number:
                self.found, self.refused, self.is_reading = found, refused, False
                self.state.version += 1
            return ""

        read_proposal(self.state.session, lambda: resume.propose(run, step, added), take)

    def _start(self) -> None:
        found, session = self.found, self.state.session
        if found is not None and start_proposal(session, found, trusted=bool(self.trust.value)):
            self._close()

    def show(self) -> None:
        """Shows what continuing would do."""
        if self._run is not self.state.run:
            self.is_open = False
        run = self.state.run
        # A run that has saved nothing has nothing to go on from.
        show(self.button, self._is_finished or bool(run is not None and self.state.results.made))
        show(self.widget, self.is_open)
        if not self.is_open:
            return
        found = self.found
        show(self.added, self._is_finished)
        show(self.start, found is not None)
        show(self.trust, found is not None and bool(found.distrust))
        if found is None:
            self.title.show_text("Reading the saved state…" if self.is_reading else "It cannot go on from here")
            self.told.show_text(self.refused)
            self.warned.show_text("")
            return
        self.title.show_text(proposal.headline(found))
        self.told.show_text("\n".join(proposal.sentences(found)))
        self.warned.show_text("\n".join(proposal.warnings(found)), "warn")
        self.start.description = f"Train steps {found.step + 1:,} to {found.total:,}"
        live = self.state.session.jobs.is_live or self.state.session.starting
        self.start.disabled = live or (bool(found.distrust) and not self.trust.value)

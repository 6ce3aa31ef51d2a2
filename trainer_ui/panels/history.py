"""The runs of this machine, newest first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainer_core import places
from trainer_core.jobs.state import FINAL_STATES
from trainer_core.training import labels
from trainer_core.training.run import Run, list_runs
from trainer_ui.formatting import Paragraph, hint, show
from trainer_ui.panels.card import fold
from trainer_ui.widgets import Box, Button, VBox, Widget

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from trainer_ui.session import Session

PAGE = 12
STATES = {
    "COMPLETED": ("finished", "ok"),
    "FAILED": ("failed", "danger"),
    "LOST": ("lost", "danger"),
    "CANCELLED": ("cancelled", "warn"),
    "QUEUED": ("waiting", ""),
}


class HistoryPanel:
    """A row for each run, with a button that shows it; filled when it is first opened.

    A run keeps its row: a thread finds out that it has ended, and a thread may not make a widget (see `Views.unasked`).
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self.limit = PAGE
        self.none = Paragraph("No run yet.", "muted")
        self.rows = VBox(classes=("easel-history",))
        self.more = Button(description="Show more")
        self.more.on_click(session.handler(lambda _: self._show_more()))
        self._opened = False
        self._known: dict[Path, PastRow] = {}
        self.widget = fold(session, "History of runs", self._open)

    def _open(self) -> Sequence[Widget]:
        self._opened = True
        return [self.none, self.rows, self.more]

    def _show_more(self) -> None:
        self.limit += PAGE

    def show(self) -> None:
        """Lists the runs with their current state."""
        if not self._opened:
            return
        known = list_runs(places.runs())
        shown = self.session.run.folder.path if self.session.run is not None else None
        rows = []
        for run in known[: self.limit]:
            path = run.folder.path
            row = self._known.get(path) or self._known.setdefault(path, PastRow(self.session))
            row.show(run, path == shown)
            rows.append(row.widget)
        if self.rows.children != tuple(rows):
            self.rows.children = rows
        show(self.none, not rows)
        show(self.more, len(known) > self.limit)


class PastRow:
    """One run: its name, state and steps, and a button that shows or hides it."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.run: Run | None = None
        self._shown_state: object = None
        self.name, self.state, self.steps = Paragraph(), Paragraph(), Paragraph("", "muted", "small")
        self.button = Button()
        self.button.on_click(session.handler(lambda _: session.watch(self.run)))
        self.widget = Box([self.name, self.state, self.steps, self.button], classes=("easel-past",))

    def show(self, run: Run, is_shown: bool) -> None:
        """Shows the state of a run; its events are read only if the state has changed, because a long run has many."""
        if self._shown_state == (run.state, is_shown):
            return
        self._shown_state = run.state, is_shown
        self.run = None if is_shown else run
        summary = run.summary
        state, tone = STATES.get(run.state.name, (run.state.name.lower(), ""))
        self.name.show_text(labels.read(run.folder).name or run.name)
        self.state.show_text(state, tone)
        self.steps.show_text(f"{summary.step:,} / {summary.total:,} steps" if summary.total else "")
        self.button.description = "Hide" if is_shown else "Show"
        hint(self.button, "Hide this run; it stays in the history" if is_shown else "Show this run")
        # A live run cannot be hidden: the user should see it before starting another one.
        show(self.button, not is_shown or run.state in FINAL_STATES)

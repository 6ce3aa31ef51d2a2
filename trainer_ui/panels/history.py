"""The runs of this machine, newest first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainer_core import places
from trainer_core.runs.run import FINAL_STATES, Run, list_runs
from trainer_ui.panels.card import fold
from trainer_ui.widgets import Box, Button, VBox, Widget
from trainer_ui.words import Words, hint, show

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
}


class HistoryPanel:
    """A row for each run, with a button that shows it; filled when it is first opened.

    A run keeps its row: that it ended is found out by a thread, and those make no widgets (see `Session.unasked`).
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self.limit = PAGE
        self.none = Words("No run yet.", "muted")
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
        """Lists the runs as they are."""
        if not self._opened:
            return
        known = list_runs(places.runs())
        shown = self.session.run.directory.path if self.session.run is not None else None
        rows = []
        for run in known[: self.limit]:
            path = run.directory.path
            row = self._known.get(path) or self._known.setdefault(path, PastRow(self.session))
            row.show(run, path == shown)
            rows.append(row.widget)
        if self.rows.children != tuple(rows):
            self.rows.children = rows
        show(self.none, not rows)
        show(self.more, len(known) > self.limit)


class PastRow:
    """One run: its name, how it ended, how far it came, and a button that shows it or puts it away."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.run: Run | None = None
        self._told: object = None
        self.name, self.state, self.steps = Words(), Words(), Words("", "muted", "small")
        self.button = Button()
        self.button.on_click(session.handler(lambda _: session.watch(self.run)))
        self.widget = Box([self.name, self.state, self.steps, self.button], classes=("easel-past",))

    def show(self, run: Run, is_shown: bool) -> None:
        """Shows how a run stands; its events are read only where that changed, as a long run has many."""
        if self._told == (run.state, is_shown):
            return
        self._told = run.state, is_shown
        self.run = None if is_shown else run
        summary = run.summary
        state, tone = STATES.get(run.state.name, (run.state.name.lower(), ""))
        self.name.say(run.directory.path.name)
        self.state.say(state, tone)
        self.steps.say(f"{summary.step:,} / {summary.total:,} steps" if summary.total else "")
        self.button.description = "Hide" if is_shown else "Show"
        hint(self.button, "Put this run away; it stays in the history" if is_shown else "Show this run")
        # A run that goes on stays in sight: who starts another one is to see it.
        show(self.button, not is_shown or run.state in FINAL_STATES)

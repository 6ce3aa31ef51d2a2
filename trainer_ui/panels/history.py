"""The runs of this machine, newest first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainer_core import places
from trainer_core.runs.run import Run, list_runs
from trainer_ui.panels.card import fold, replace_children
from trainer_ui.widgets import Box, Button, VBox, Widget
from trainer_ui.words import Words, hint, show

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trainer_ui.session import Session

PAGE = 12
STATES = {
    "COMPLETED": ("finished", "ok"),
    "FAILED": ("failed", "danger"),
    "LOST": ("lost", "danger"),
    "CANCELLED": ("cancelled", "warn"),
}


class HistoryPanel:
    """A row for each run, with a button that shows it; filled when it is first opened."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.limit = PAGE
        self.rows = VBox()
        self.rows.add_class("easel-history")
        self.more = Button(description="Show more")
        self.more.on_click(session.handler(lambda _: self._show_more()))
        self._opened = False
        self._key: object = None
        self.widget = fold(session, "History of runs", self._open)

    def _open(self) -> Sequence[Widget]:
        self._opened = True
        return [self.rows, self.more]

    def _show_more(self) -> None:
        self.limit += PAGE

    def show(self) -> None:
        """Lists the runs again when one has come, ended or is shown now."""
        if not self._opened:
            return
        known = list_runs(places.runs())
        listed = known[: self.limit]
        shown = self.session.run.directory.path if self.session.run is not None else None
        key = [(run.directory.path, run.state, shown) for run in listed]
        if key == self._key:
            return
        self._key = key
        rows = [self._row(run, run.directory.path == shown) for run in listed]
        replace_children(self.rows, rows or [Words("No run yet.", "muted")])
        show(self.more, len(known) > self.limit)

    def _row(self, run: Run, shown: bool) -> Box:
        state, tone = STATES.get(run.state.name, (run.state.name.lower(), ""))
        summary = run.summary
        steps = f"{summary.step} / {summary.total} steps" if summary.total else ""
        button = Button(description="Shown" if shown else "Show", disabled=shown)
        hint(button, "Show this run above")
        button.on_click(self.session.handler(lambda _: self.session.watch(run)))
        row = Box(
            [
                Words(run.directory.path.name),
                Words(state, *((tone,) if tone else ())),
                Words(steps, "muted", "small"),
                button,
            ]
        )
        row.add_class("easel-past")
        return row

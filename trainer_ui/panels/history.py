"""The runs of this machine, newest first."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from trainer_core import places
from trainer_core.jobs.state import FINAL_STATES
from trainer_core.training.run import Run, list_runs
from trainer_ui import pasts
from trainer_ui.formatting import Paragraph, show
from trainer_ui.panels.card import empty
from trainer_ui.panels.watch import Go
from trainer_ui.widgets import Box, Button, Text, VBox

if TYPE_CHECKING:
    from trainer_ui.session import Session

PAGE = 12


class HistoryBar:
    """A field that filters the runs, and how many there are."""

    def __init__(self, session: Session) -> None:
        self.find = Text(description="Find", placeholder="name or state", continuous_update=False)
        self.find.observe(session.handler(lambda _: None), "value")
        self.number = Paragraph("", "muted", "small", role="status")
        self.widget = Box([self.find, self.number], classes=("easel-ready", "easel-find"))

    def show(self) -> None:
        """Nothing: the list fills it."""


class HistoryPanel:
    """A row for each run, with a button that shows it; filled when the place is shown.

    A run keeps its row: a thread finds out that it has ended, and a thread may not make a widget (see `Views.unasked`).
    """

    def __init__(self, session: Session, bar: HistoryBar, is_shown: Callable[[], bool], go: Go) -> None:
        self.session, self.bar, self.is_shown, self.go = session, bar, is_shown, go
        self.limit = PAGE
        self.number = 0
        """How many runs there are."""
        start = Button(description="Go to Prepare")
        start.on_click(session.handler(lambda _: go("prepare")))
        self.none = empty("No run yet", "Each training is listed here, with its settings and its result.", start)
        self.rows = VBox(classes=("easel-history", "easel-card"))
        self.more = Button(description="Show more")
        self.more.on_click(session.handler(lambda _: self._show_more()))
        self._known: dict[Path, PastRow] = {}
        self.widget = VBox([self.none, self.rows, self.more], classes=("easel-histories",))

    def _show_more(self) -> None:
        self.limit += PAGE

    def show(self) -> None:
        """Counts the runs; lists those that fit the filter with their current state, if the place is shown."""
        self.number = _count()
        if not self.is_shown():
            return
        known = list_runs(places.runs())
        words = self.bar.find.value.casefold().split()
        fitting = [run for run in known if _fits(run, words)] if words else known
        shown = self.session.run.folder.path if self.session.run is not None else None
        rows = []
        for run in fitting[: self.limit]:
            path = run.folder.path
            if path not in self._known and not self.session.unasked:
                self._known[path] = PastRow(self.session, self.go)
            if (row := self._known.get(path)) is not None:
                row.show(run, path == shown)
                rows.append(row.widget)
        if self.rows.children != tuple(rows):
            self.rows.children = rows
        self.bar.number.show_text(_number(len(fitting), len(known)))
        show(self.none, not known)
        show(self.rows, bool(known))
        show(self.more, len(fitting) > self.limit)


def _count() -> int:
    """How many run folders there are, without reading them."""
    try:
        return sum(path.is_dir() for path in places.runs().iterdir())
    except OSError:
        return 0


def _fits(run: Run, words: list[str]) -> bool:
    text = f"{run.folder.path.name} {pasts.state_of(run)[0]}".casefold()
    return all(word in text for word in words)


def _number(fitting: int, known: int) -> str:
    runs = "1 run" if known == 1 else f"{known:,} runs"
    return runs if fitting == known else f"{fitting:,} of {runs}"


class PastRow:
    """One run: its name, state, steps and time, and a button that shows or closes it."""

    def __init__(self, session: Session, go: Go) -> None:
        self.session, self.go = session, go
        self.run: Run | None = None
        self._shown_state: object = None
        self.is_shown = False
        self.name, self.state = Paragraph(), Paragraph("", "pill")
        self.steps, self.when = Paragraph("", "muted", "small"), Paragraph("", "muted", "small")
        self.button = Button(classes=("easel-small",))
        self.button.on_click(session.handler(lambda _: self._turn()))
        self.widget = Box([self.name, self.state, self.steps, self.when, self.button], classes=("easel-past",))

    def _turn(self) -> None:
        self.session.watch(None if self.is_shown else self.run)
        if not self.is_shown:
            self.go("watch")

    def show(self, run: Run, is_shown: bool) -> None:
        """Shows the state of a run; its events are read only if the state has changed, because a long run has many."""
        if self._shown_state == (run.state, is_shown):
            return
        self._shown_state = run.state, is_shown
        self.run, self.is_shown = run, is_shown
        summary = run.summary
        self.name.show_text(", ".join(filter(None, (pasts.name_of(run), pasts.kind_of(run)))))
        self.state.show_text(*pasts.state_of(run))
        self.steps.show_text(f"{summary.step:,} / {summary.total:,} steps" if summary.total else "")
        self.when.show_text(pasts.when(run))
        self.button.description = "Close" if is_shown else "Show"
        self.button.tooltip = (
            "Closes this run; it stays in the history" if is_shown else f"Shows {run.folder.path.name}"
        )
        # A live run cannot be closed: the user should see it before starting another one.
        show(self.button, not is_shown or run.state in FINAL_STATES)

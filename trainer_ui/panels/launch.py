"""Which engine, what stands in the way, and the button that starts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainer_core.problems import Problem, blocking
from trainer_core.runs.run import FINAL_STATES
from trainer_core.text import printable
from trainer_ui.panels.card import card, fold, replace_children
from trainer_ui.panels.engine import EnginePanel
from trainer_ui.widgets import Box, Button, Layout, VBox, Widget
from trainer_ui.words import Labelled, Words, hint, show

if TYPE_CHECKING:
    from trainer_core.outlook import Outlook
    from trainer_ui.session import Session

HIDDEN_ROWS = 30
"""How many rows of settled problems may lie hidden before they are thrown away."""
WORDS = {"error": "Blocks", "warning": "Warning", "info": "Note"}


class LaunchPanel:
    """The problems of the job, each with its fix, and the button that starts it."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.engine = EnginePanel(session)
        self.list = VBox()
        self.list.add_class("easel-problems")
        self.start = Button(description="Start training", button_style="primary")
        self.start.add_class("easel-big")
        self.start.on_click(session.handler(lambda _: session.start()))
        self.summary = Words("", "muted", "grow")
        self.message = Words("", role="status")
        self.fit, self.basis = Words("", "small"), Words("", "muted", "small", "lines")
        self.why = fold(session, "What this estimate stands on", lambda: [self.basis])
        row = Box([self.start, self.summary])
        row.add_class("easel-row")
        self.widget = card("Train", self.engine.widget, self.list, row, self.message, self.fit, self.why)
        self._rows: list[tuple[Problem, Box]] = []

    def show(self) -> None:
        """Shows the problems, what would be done, and what was last said."""
        session = self.session
        self.engine.show()
        self._show_problems()
        self.start.disabled = session.starting
        self.start.description = "Looking at every picture…" if session.starting else "Start training"
        self.summary.say(self._summary())
        self._show_fit()
        self.message.say(session.message, "danger" if session.message else "")

    def _show_fit(self) -> None:
        """Shows what the job will take, and of what is free."""
        seen = self.session.outlook
        show(self.why, seen is not None)
        if seen is None:
            self.fit.say("")
            return
        tone = {"yes": "", "maybe": "warn", "no": "danger"}[seen.fit.fits]
        self.fit.say(told(seen), tone)
        self.basis.say("\n".join(seen.estimate.basis))

    def _show_problems(self) -> None:
        """Shows a row for each problem, worst first.

        A row stays the same widget for as long as its problem stands, and never moves among the others: leaving a field
        makes the problems anew, and the click that left it may be on its way to one of their buttons.
        """
        shown = []
        for place, problem in enumerate(self.session.problems):
            row = next((row for known, row in self._rows if known == problem), None)
            if row is None:
                row = self._row(problem)
                self._rows.append((problem, row))
            row.layout.order = str(place)
            shown.append(row)
        if len(self._rows) > len(shown) + HIDDEN_ROWS:
            self._rows = [(problem, row) for problem, row in self._rows if row in shown]
        for _, row in self._rows:
            show(row, row in shown)
        rows = tuple(row for _, row in self._rows)
        if rows != self.list.children:
            replace_children(self.list, rows)
        show(self.list, bool(shown))

    def _summary(self) -> str:
        values = self.session.values
        many = len(blocking(self.session.problems))
        what = f"{values['schedule.steps']} steps, batch size {values['schedule.batch_size']}"
        if many:
            return f"{what}. {many} to settle first."
        run = self.session.run
        live = run is not None and run.state not in FINAL_STATES
        return f"{what}. Ready; it would train beside the run that goes on." if live else f"{what}. Ready."

    def _row(self, problem: Problem) -> Box:
        children: list[Widget] = [Labelled(WORDS[problem.severity], problem.message)]
        fix = problem.fix
        if fix is not None and fix.changes:
            button = Button(description=printable(fix.label, 60))
            button.add_class("easel-fix")
            hint(button, ", ".join(f"{path} = {_plainly(value)}" for path, value in fix.changes.items()))
            button.on_click(self.session.handler(lambda _, changes=fix.changes: self.session.change(changes)))
            children.append(button)
        elif fix is not None:
            children.append(Words(fix.label, "muted", "small"))
        row = Box(children, layout=Layout(), classes=("easel-problem",))
        row.add_class(f"easel-is-{problem.severity}")
        return row


def told(seen: Outlook) -> str:
    """An estimate and whether it fits, in two sentences."""
    from trainer_core.estimate import words

    return ". ".join(filter(None, (words.numbers(seen.estimate), seen.fit.sentence)))


def _plainly(value: object) -> str:
    """A value in a tooltip."""
    return "empty" if value is None else printable(str(value), 80)

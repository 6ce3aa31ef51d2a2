"""What stands in the way of a job: a row for each problem, with a button that mends it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from trainer_core.text import printable
from trainer_ui.widgets import Box, Button, Layout, VBox
from trainer_ui.words import Labelled, hint, show

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trainer_core.problems import Problem
    from trainer_ui.session import Session

WORDS = {"error": "Blocks", "needed": "Needed", "warning": "Warning", "info": "Note"}
READY_ROWS = 6
"""Rows that are made with the notebook: four for what it lacks at first, two for what a thread finds out later."""


class ProblemList:
    """A row for each problem, worst first.

    A row stays the same widget for as long as its problem stands, and never moves among the others: leaving a field makes
    the problems anew, and the click that left it may be on its way to one of their buttons. Rows are used again, because
    JupyterLab shows nothing of a notebook whose page is opened while a thread makes a widget.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self.rows = [ProblemRow(session) for _ in range(READY_ROWS)]
        self.widget = VBox([row.widget for row in self.rows], classes=("easel-problems",))

    def show(self) -> None:
        """Shows the problems as they stand."""
        problems = self.session.problems
        rows = self._rows_for(problems)
        for place, (row, problem) in enumerate(zip(rows, problems, strict=True)):
            row.tell(problem, self.session.lacks(problem), place)
        for row in self.rows:
            row.is_shown = row in rows
            show(row.widget, row.is_shown)
        if len(self.widget.children) != len(self.rows):
            self.widget.children = tuple(row.widget for row in self.rows)
        show(self.widget, bool(problems))

    def _rows_for(self, problems: Sequence[Problem]) -> list[ProblemRow]:
        """A row for each: the one that tells it, one that tells it of other numbers, one that lay hidden, another."""
        found: dict[int, ProblemRow] = {}
        for tells in (ProblemRow.tells, ProblemRow.tells_alike):
            self._take(found, problems, tells)
        # Not those that go out of sight with this very change: a click may be on its way to them.
        self._take(found, problems, lambda row, _: not row.is_shown)
        for place in range(len(problems)):
            if place not in found:
                found[place] = ProblemRow(self.session)
                self.rows.append(found[place])
        return [found[place] for place in range(len(problems))]

    def _take(
        self,
        found: dict[int, ProblemRow],
        problems: Sequence[Problem],
        fits: Callable[[ProblemRow, Problem], bool],
    ) -> None:
        taken = list(found.values())
        for place, problem in enumerate(problems):
            if place not in found:
                row = next((row for row in self.rows if row not in taken and fits(row, problem)), None)
                if row is not None:
                    found[place] = row
                    taken.append(row)


class ProblemRow:
    """One problem after the other: its sentence, and the button that mends it."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.problem: Problem | None = None
        self.is_shown = False
        self.text = Labelled("", "")
        self.button = Button(classes=("easel-fix",))
        self.button.on_click(session.handler(self._mend))
        self.widget = Box([self.text, self.button], layout=Layout(), classes=("easel-problem",))

    def tells(self, problem: Problem) -> bool:
        """Whether this row is of that problem."""
        return self.problem == problem

    def tells_alike(self, problem: Problem) -> bool:
        """Whether this row is of that problem but for its numbers."""
        return self.problem is not None and _without_numbers(self.problem) == _without_numbers(problem)

    def tell(self, problem: Problem, is_needed: bool, place: int) -> None:
        """Shows a problem at its place; `is_needed` where nothing is wrong but something is not there yet."""
        self.problem = problem
        kind = "needed" if is_needed else problem.severity
        for name in WORDS:
            (self.widget.add_class if name == kind else self.widget.remove_class)(f"easel-is-{name}")
        fix = problem.fix
        changes = fix.changes if fix is not None else {}
        self.text.say(WORDS[kind], problem.message, fix.label if fix is not None and not changes else "")
        if fix is not None and changes:
            self.button.description = printable(fix.label, 400)
            hint(self.button, ", ".join(f"{path} = {_plainly(value)}" for path, value in fix.assignments.items()))
        show(self.button, bool(changes))
        self.widget.layout.order = str(place)

    def _mend(self, _: Button) -> None:
        if self.problem is not None and self.problem.fix is not None:
            self.session.change(self.problem.fix.changes)


def _without_numbers(problem: Problem) -> tuple[str, str, str, str]:
    label = problem.fix.label if problem.fix is not None else ""
    message, label = (re.sub(r"\d[\d.,]*", "0", text) for text in (problem.message, label))
    return problem.path, problem.severity, message, label


def _plainly(value: object) -> str:
    """A value in a tooltip."""
    return "empty" if value is None else printable(str(value), 80)

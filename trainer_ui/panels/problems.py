"""The problems of a job: a row for each, with a button that fixes it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from trainer_core.plan import fields
from trainer_core.prepare.problems import engine_problems
from trainer_core.text import printable
from trainer_ui.answers import shown_problems
from trainer_ui.formatting import Labelled, hint, show
from trainer_ui.panels.engine import use_engine
from trainer_ui.panels.tool import ToolPanel
from trainer_ui.widgets import Box, Button, Layout, VBox, Widget

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trainer_core.problems import Problem
    from trainer_ui.session import Session

LABELS = {"error": "Blocks", "needed": "Needed", "warning": "Warning", "info": "Note"}
READY_ROWS = 6
"""Rows that are made at the start: four for the settings that are empty at first, two for what a thread finds out later."""

AT_ONCE = 1
"""How many problems are listed at first if none is urgent: they are below the bar, which stays in sight."""


class ProblemList:
    """A row for each problem, worst first.

    A problem keeps its row, and a row never moves among the other widgets: when the user leaves a field, the problems are
    computed again, and the click that left the field may be on its way to one of their buttons. Rows are reused, because
    JupyterLab shows nothing of a notebook whose page is opened while a thread makes a widget.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self.tool = ToolPanel(session)
        self.rows = [ProblemRow(session, self.tool) for _ in range(READY_ROWS)]
        self.more = Button(layout=Layout(order="999"), classes=("easel-small", "easel-quiet", "easel-more"))
        self.more.on_click(session.handler(lambda _: self._turn()))
        self.is_long = False
        """Whether all problems are listed, and not only the urgent ones."""
        self.widget = VBox(self._widgets(), classes=("easel-problems",))

    def _turn(self) -> None:
        self.is_long = not self.is_long

    def show(self, *, fills: bool = True) -> None:
        """Shows the current problems. `fills`: whether the first button that helps is the filled one of the bar."""
        # A missing engine has a row of its own, with the button that installs it.
        missing = engine_problems(self.session.bench.state)
        problems = [one for one in shown_problems(self.session) if one not in missing]
        rows = self._rows_for(problems)
        at_once = max(AT_ONCE, sum(_is_urgent(one) for one in problems))
        for place, (row, problem) in enumerate(zip(rows, problems, strict=True)):
            row.show(problem, self.session.lacks(problem), place, is_later=place >= at_once)
        main = next((row for row in rows if row.stops and row.can_click), None) if fills else None
        for row in self.rows:
            row.is_shown = row in rows
            show(row.widget, row.is_shown)
            style = "primary" if row is main else ""
            if row.button.button_style != style:
                row.button.button_style = style
        if len(self.widget.children) != len(self.rows) + 2:
            self.widget.children = self._widgets()
        (self.widget.add_class if self.is_long else self.widget.remove_class)("easel-all")
        self.more.description = "Show fewer" if self.is_long else f"{len(problems) - at_once} more"
        show(self.more, len(problems) > at_once)
        self.tool.show()
        show(self.widget, bool(problems) or self.tool.jobs.is_live)

    def _widgets(self) -> tuple[Widget, ...]:
        # The rows have an order of their own, from 0.
        self.tool.widget.layout.order = "1000"
        return (*(row.widget for row in self.rows), self.more, self.tool.widget)

    def _rows_for(self, problems: Sequence[Problem]) -> list[ProblemRow]:
        """A row for each: the row that shows it, else one that shows it with other numbers, else a hidden one, else a new one."""
        found: dict[int, ProblemRow] = {}
        for fits in (ProblemRow.shows, ProblemRow.shows_alike):
            self._take(found, problems, fits)
        # Not rows that only this change hides: a click may be on its way to them.
        self._take(found, problems, lambda row, _: not row.is_shown)
        for place in range(len(problems)):
            if place not in found:
                found[place] = ProblemRow(self.session, self.tool)
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
    """A problem: its message, and the button that fixes it. A row shows different problems over time."""

    def __init__(self, session: Session, tool: ToolPanel) -> None:
        self.session, self.tool = session, tool
        self.problem: Problem | None = None
        self.is_shown = self.can_click = self.stops = False
        """Whether it is shown; whether its button fixes the problem; whether the problem prevents a start, and is no empty setting."""
        self.text = Labelled("", "")
        self.button = Button(classes=("easel-fix",))
        self.button.on_click(session.handler(self._fix))
        self.widget = Box([self.text, self.button], layout=Layout(), classes=("easel-problem",))

    def shows(self, problem: Problem) -> bool:
        """Whether this row shows that problem."""
        return self.problem == problem

    def shows_alike(self, problem: Problem) -> bool:
        """Whether this row shows that problem, perhaps with other numbers."""
        return self.problem is not None and _without_numbers(self.problem) == _without_numbers(problem)

    def show(self, problem: Problem, is_needed: bool, place: int, *, is_later: bool) -> None:
        """Shows a problem at a position in the list; `is_needed` if nothing is wrong but a setting is still empty.

        `is_later`: it is only listed with all others.
        """
        self.problem = problem
        kind = "needed" if is_needed else problem.severity
        for name in LABELS:
            (self.widget.add_class if name == kind else self.widget.remove_class)(f"easel-is-{name}")
        fix = problem.fix
        self.can_click, self.stops = fix is not None and not fix.is_advice, kind == "error"
        self.text.show_text(LABELS[kind], problem.message, fix.label if fix is not None and not self.can_click else "")
        if fix is not None and self.can_click:
            self.button.description = printable(fix.label, 400)
            changes = ", ".join(f"{path} = {_value_text(value)}" for path, value in fix.assignments.items())
            hint(self.button, printable(fix.task.command, 400) if fix.task else changes or fix.label)
            self.button.disabled = fix.task is not None and (self.tool.jobs.is_live or self.tool.jobs.starting)
        leads = self._leads(problem, is_needed=is_needed)
        if leads:
            self.button.description, self.button.disabled = f"Go to “{leads}”", False
            hint(self.button, "Shows the field of this setting")
        show(self.button, self.can_click or bool(leads))
        self.widget.layout.order = str(place)
        (self.widget.add_class if is_later else self.widget.remove_class)("easel-later")

    def _fix(self, _: Button) -> None:
        fix = self.problem.fix if self.problem is not None else None
        if fix is not None and fix.task is not None:
            self.tool.start(fix)
        elif fix is not None and fix.engine:
            use_engine(self.session, fix.engine)
        elif fix is not None and self.can_click:
            self.session.change(fix.changes)
        elif self.problem is not None and self.session.seek is not None:
            self.session.seek(self.problem.path)

    def _leads(self, problem: Problem, *, is_needed: bool) -> str:
        """The title of the setting to which the button leads, if the setting is only empty and no fix fills it; else ""."""
        known = fields.all_fields().get(problem.path)
        return known.title if known is not None and is_needed and not self.can_click and self.session.seek else ""


def _is_urgent(problem: Problem) -> bool:
    """Whether a problem is listed at once: it prevents a start, or warns of the whole job, such as of memory that it lacks."""
    return problem.severity == "error" or (problem.severity == "warning" and not problem.path)


def _without_numbers(problem: Problem) -> tuple[str, str, str, str]:
    label = problem.fix.label if problem.fix is not None else ""
    message, label = (re.sub(r"\d[\d.,]*", "0", text) for text in (problem.message, label))
    return problem.path, problem.severity, message, label


def _value_text(value: object) -> str:
    """A value as text for a tooltip."""
    return "empty" if value is None else printable(str(value), 80)

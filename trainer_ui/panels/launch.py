"""Which engine, what stands in the way, and the button that starts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ipywidgets import Box, Button, VBox, Widget

from trainer_core.problems import Problem, blocking
from trainer_core.text import printable
from trainer_ui.panels.card import card, replace_children
from trainer_ui.panels.engine import EnginePanel
from trainer_ui.words import Labelled, Words, hint

if TYPE_CHECKING:
    from trainer_ui.session import Session

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
        row = Box([self.start, self.summary])
        row.add_class("easel-row")
        self.widget = card("Train", self.engine.widget, self.list, row, self.message)
        self._shown: tuple[Problem, ...] | None = None

    def show(self) -> None:
        """Shows the problems, what would be done, and what was last said."""
        session = self.session
        self.engine.show()
        if session.problems != self._shown:
            replace_children(self.list, [self._row(problem) for problem in session.problems])
            self._shown = session.problems
        self.start.disabled = session.starting
        self.start.description = "Looking at every picture…" if session.starting else "Start training"
        self.summary.say(self._summary())
        self.message.say(session.message, "danger" if session.message else "")

    def _summary(self) -> str:
        values = self.session.values
        steps, batch, many = (
            values["schedule.steps"],
            values["schedule.batch_size"],
            len(blocking(self.session.problems)),
        )
        what = f"{steps} steps, batch size {batch}"
        return f"{what}. {many} to settle first." if many else f"{what}. Ready."

    def _row(self, problem: Problem) -> Box:
        children: list[Widget] = [Labelled(WORDS[problem.severity], problem.message)]
        fix = problem.fix
        if fix is not None and fix.changes:
            button = Button(description=printable(fix.label, 60))
            button.add_class("easel-fix")
            hint(button, ", ".join(f"{path} = {printable(str(value), 80)}" for path, value in fix.changes.items()))
            button.on_click(self.session.handler(lambda _, changes=fix.changes: self.session.change(changes)))
            children.append(button)
        elif fix is not None:
            children.append(Words(fix.label, "muted", "small"))
        row = Box(children)
        row.add_class("easel-problem")
        row.add_class(f"easel-is-{problem.severity}")
        return row

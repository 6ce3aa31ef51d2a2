"""The bar of the preparation: what is missing, what the training will take, and the button that starts it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainer_core.plan import fields
from trainer_core.prepare.problems import engine_problems
from trainer_ui.answers import (
    QUESTIONS,
    in_the_way,
    is_begun,
    needed_answers,
    needed_settings,
    open_questions,
    shown_problems,
)
from trainer_ui.formatting import Figures, Headline
from trainer_ui.panels.forecast import figures, meter
from trainer_ui.panels.install import InstallPanel
from trainer_ui.panels.model import family_title
from trainer_ui.panels.problems import ProblemList
from trainer_ui.panels.queue_it import QueueIt
from trainer_ui.widgets import Box, Button, VBox

if TYPE_CHECKING:
    from trainer_ui.session import Session

HELD = ("easel-two-line", "easel-held")
"""The CSS classes of Start while something prevents a start."""
NUMBERS = ("No", "One", "Two", "Three", "Four")


class LaunchPanel:
    """State, figures and Start; below them the installation of the engine, and the problems with their fixes, worst first."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.problems = ProblemList(session)
        self.install = InstallPanel(session)
        self.start = Button(description="Start training", classes=("easel-big", "easel-start"))
        self.start.on_click(session.handler(lambda _: session.start()))
        self.queue_it = QueueIt(session)
        self.state, self.figures = Headline(), Figures()
        actions = Box([self.queue_it.widget, self.start], classes=("easel-actions",))
        bar = Box([self.state, self.figures, actions], classes=("easel-ready",))
        rows = [bar, self.install.offered, self.install.widget, self.problems.widget]
        self.widget = VBox(rows, classes=("easel-launch",))

    def show(self) -> None:
        """Shows what is missing or that it is ready, the figures and the problems."""
        session = self.session
        self.install.show()
        self.problems.show(fills=not self.install.is_main)
        # Not disabled meanwhile: a button that is disabled loses the keyboard.
        (self.start.add_class if session.starting else self.start.remove_class)("easel-busy")
        self.queue_it.show()
        self._show_main_action()
        self.state.show_state(*self._state())
        seen = session.forecast
        self.figures.show_figures(figures(session.values, seen) if is_begun(session) else (), meter(seen))

    def _show_main_action(self) -> None:
        """Fills one button: the first fix of what prevents a start, the installation if the engine is missing, or Start.

        While something prevents a start, Start is quiet and says so; the page tells screen readers that it is not available
        (`frame.js`). It stays in the Tab order. As long as a question is open it is not filled, and says what is missing.
        """
        held = "" if self.session.starting else self._held()
        is_open = bool(needed_answers(self.session) or needed_settings(self.session))
        main = self.install.start if self.install.is_main else None if held or is_open else self.start
        for button in (self.install.start, self.start):
            style = "primary" if button is main else ""
            if button.button_style != style:
                button.button_style = style
        words = "Checking every image…" if self.session.starting else "Start training"
        self.start.description = f"{words}\n{held}" if held else words
        for name in HELD:
            (self.start.add_class if held else self.start.remove_class)(name)

    def _held(self) -> str:
        """Why Start would not start anything, in a few words, if it is a problem and no open question; else ""."""
        if self.install.is_installing:
            return "once the engine is installed"
        many = len(in_the_way(self.session)) if is_begun(self.session) else 0
        if not many:
            return ""
        return "one thing stops it" if many == 1 else f"{many} things stop it"

    def _state(self) -> tuple[str, str, str, str, float | None]:
        """Tone, sign, title and second line of the bar; and the share of the questions that is answered, as long as one is open."""
        session = self.session
        if session.starting:
            return "accent", "…", "Checking every image", "The training starts when all of them can be read.", None
        missing = open_questions(session)
        needed = needed_answers(session)
        blocking = in_the_way(session)
        warnings = sum(one.severity == "warning" for one in shown_problems(session))
        if (
            self.install.is_installing
            and all(one in engine_problems(session.bench.state) for one in blocking)
            and not needed
        ):
            return "accent", "…", "The engine is being installed", "You can start once it is there.", None
        if blocking and is_begun(session):
            title = "One thing to settle" if len(blocking) == 1 else f"{len(blocking)} things to settle"
            return "danger", "!", title, _and(warnings, len(blocking), self._listed_as_empty()), None
        if needed:
            done = len(QUESTIONS) - len(missing)
            return "", f"{done}/{len(QUESTIONS)}", *_questions(missing), done / len(QUESTIONS)
        if empty := needed_settings(session):
            title = "One setting is needed" if len(empty) == 1 else f"{len(empty)} settings are needed"
            names = [fields.all_fields()[one.path].title for one in empty if one.path in fields.all_fields()]
            return "", "i", title, f"Still empty: {', '.join(dict.fromkeys(names))}.", None
        return *self._ready(warnings), None

    def _listed_as_empty(self) -> int:
        """How many settings are listed because they are still empty."""
        return sum(self.session.lacks(one) for one in shown_problems(self.session))

    def _ready(self, warnings: int) -> tuple[str, str, str, str]:
        session = self.session
        name = f"{session.values['output.name']} on {family_title(session.bench.state.family)}"
        if session.forecast is not None and session.forecast.fit.fits == "maybe":
            return "warn", "!", "Ready, but it may not fit", session.forecast.fit.sentence
        if session.trains_here:
            name = "It would train at the same time as the current run."
        return ("warn", "!", "Ready, with a warning", name) if warnings else ("ok", "✓", "Ready to train", name)


def _questions(missing: list[str]) -> tuple[str, str]:
    """The title and the second line as long as questions are open."""
    if len(missing) == len(QUESTIONS):
        return (
            "Four questions, then you can train",
            "Answer them in any order. Nothing is downloaded before you say so.",
        )
    many = len(missing)
    title = "One question left" if many == 1 else f"{NUMBERS[many]} questions left"
    *first, last = missing
    return title, f"Still missing: {', '.join(first)} and {last}." if first else f"Still missing: {last}."


def _and(many: int, blocking: int, empty: int) -> str:
    if empty:
        return "and one setting is still empty" if empty == 1 else f"and {empty} settings are still empty"
    if many <= 0:
        return "It is listed below, with what to do." if blocking == 1 else "They are listed below, with what to do."
    return "and one warning, which does not stop you" if many == 1 else f"and {many} warnings, which do not stop you"

"""Which engine, what stands in the way, and the button that starts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainer_core.problems import blocking
from trainer_core.runs.run import FINAL_STATES
from trainer_ui.panels.card import card, fold
from trainer_ui.panels.engine import EnginePanel
from trainer_ui.panels.problems import ProblemList
from trainer_ui.widgets import Box, Button
from trainer_ui.words import Words, show

if TYPE_CHECKING:
    from trainer_core.outlook import Outlook
    from trainer_ui.session import Session


class LaunchPanel:
    """The problems of the job, each with its fix, and the button that starts it."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.engine = EnginePanel(session)
        self.problems = ProblemList(session)
        self.start = Button(description="Start training", button_style="primary", classes=("easel-big",))
        self.start.on_click(session.handler(lambda _: session.start()))
        self.summary = Words("", "muted", "grow")
        self.message = Words("", role="status")
        self.fit, self.basis = Words("", "small"), Words("", "muted", "small", "lines")
        self.why = fold(session, "What this estimate stands on", lambda: [self.basis])
        row = Box([self.start, self.summary], classes=("easel-row",))
        self.widget = card("Train", self.engine.widget, self.problems.widget, row, self.message, self.fit, self.why)

    def show(self) -> None:
        """Shows the problems, what would be done, and what was last said."""
        session = self.session
        self.engine.show()
        self.problems.show()
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
        self.fit.say(told(seen), "warn" if seen.fit.fits == "maybe" else "")
        self.basis.say("\n".join(seen.estimate.basis))

    def _summary(self) -> str:
        values = self.session.values
        many = len(blocking(self.session.problems))
        what = f"{values['schedule.steps']} steps, batch size {values['schedule.batch_size']}"
        if (together := values["schedule.gradient_accumulation"]) != 1:
            what += f" x {together}"
        if many:
            return f"{what}. {'One thing' if many == 1 else f'{many} things'} to settle first."
        run = self.session.run
        live = run is not None and run.state not in FINAL_STATES
        return f"{what}. Ready; it would train beside the run that goes on." if live else f"{what}. Ready."


def told(seen: Outlook) -> str:
    """An estimate and whether it fits, in two sentences; what does not fit stands among the problems, with its fix."""
    from trainer_core.estimate import words

    numbers = words.numbers(seen.estimate)
    fits = "" if seen.fit.fits == "no" else seen.fit.sentence
    return " ".join(filter(None, (numbers and f"{numbers}.", fits)))

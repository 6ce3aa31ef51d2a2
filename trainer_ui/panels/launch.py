"""The engine, the problems of the job, and the button that starts it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainer_core.problems import blocking
from trainer_ui.formatting import Paragraph, show
from trainer_ui.panels.card import card, fold
from trainer_ui.panels.engine import EnginePanel
from trainer_ui.panels.install import InstallPanel
from trainer_ui.panels.problems import ProblemList
from trainer_ui.widgets import Box, Button

if TYPE_CHECKING:
    from trainer_core.prepare.forecast import Forecast
    from trainer_ui.session import Session


class LaunchPanel:
    """The problems of the job, each with its fix, and the button that starts it."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.engine = EnginePanel(session)
        self.problems = ProblemList(session)
        self.install = InstallPanel(session)
        self.start = Button(description="Start training", button_style="primary", classes=("easel-big",))
        self.start.on_click(session.handler(lambda _: session.start()))
        self.summary = Paragraph("", "muted", "grow")
        self.message = Paragraph("", role="status")
        self.fit, self.basis = Paragraph("", "small"), Paragraph("", "muted", "small", "lines")
        self.why = fold(session, "What this estimate is based on", lambda: [self.basis])
        row = Box([self.start, self.summary], classes=("easel-row",))
        before = (self.engine.widget, self.problems.widget, self.install.widget)
        self.widget = card("Train", *before, row, self.message, self.fit, self.why)

    def show(self) -> None:
        """Shows the problems, a summary of the job, and the last message."""
        session = self.session
        self.engine.show()
        self.problems.show()
        self.install.show()
        self.start.disabled = session.starting
        self.start.description = "Checking every image…" if session.starting else "Start training"
        self.summary.show_text(self._summary())
        self._show_fit()
        self.message.show_text(session.message, "danger" if session.message else "")

    def _show_fit(self) -> None:
        """Shows what the job will take, and whether it fits."""
        seen = self.session.forecast
        show(self.why, seen is not None)
        if seen is None:
            self.fit.show_text("")
            return
        self.fit.show_text(_sentences(seen), "warn" if seen.fit.fits == "maybe" else "")
        self.basis.show_text("\n".join(seen.estimate.basis))

    def _summary(self) -> str:
        values = self.session.values
        many = len(blocking(self.session.problems))
        what = f"{values['schedule.steps']} steps, batch size {values['schedule.batch_size']}"
        if (together := values["schedule.gradient_accumulation"]) != 1:
            what += f" x {together}"
        if many:
            return f"{what}. {'One problem' if many == 1 else f'{many} problems'} to fix first."
        busy = self.session.jobs.is_live
        return f"{what}. Ready. It would train at the same time as the current run." if busy else f"{what}. Ready."


def _sentences(seen: Forecast) -> str:
    """An estimate and whether it fits, in two sentences; if it does not fit, a problem with a fix says so."""
    from trainer_core.estimate import formatting

    numbers = formatting.numbers(seen.estimate)
    fits = "" if seen.fit.fits == "no" else seen.fit.sentence
    return " ".join(filter(None, (numbers and f"{numbers}.", fits)))

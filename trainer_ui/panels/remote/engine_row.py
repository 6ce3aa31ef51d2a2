"""The engine of the plan, if the machine that would train lacks it: a row that says so, and the button that installs it there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainer_core.prepare.problems import engine_problems
from trainer_core.text import printable
from trainer_ui.formatting import Labelled, Paragraph, show
from trainer_ui.panels.card import fold
from trainer_ui.remote_desk import machine_of
from trainer_ui.widgets import Box, Button, VBox

if TYPE_CHECKING:
    from trainer_ui.remote_desk import RemoteDesk

SHOWN_LINES = 6
GOES_ON = "Its installation downloads a few GB there. It goes on there when this page is closed."
INSTALLS_FIRST = "The start installs it there first, which can take several minutes. Or install it now."


class EngineRow:
    """The offer, and below it how the installation goes. The threads only fill the widgets (see `Views.unasked`)."""

    def __init__(self, desk: RemoteDesk) -> None:
        self.desk = desk
        self.is_offered = self.is_installing = False
        """Whether the engine is missing there; whether it is being installed from here."""
        self.stops = False
        """Whether a start is not possible without it."""
        self.offer = Labelled("", "")
        self.button = Button()
        self.button.on_click(desk.session.handler(lambda _: self._install()))
        self.offered = Box([self.offer, self.button], classes=("easel-message", "easel-engine-offer"))
        self.says, self.log = Paragraph("", "grow", role="status"), Paragraph("", "muted", "small", "lines")
        log = fold(desk.session, "Log", lambda: [self.log])
        self.doing = VBox([Box([self.says], classes=("easel-row",)), log], classes=("easel-install",))
        self.widget = VBox([self.offered, self.doing])
        self._missing = ("", "", "")
        self._installs = ("", "", "")
        """What was installed last: machine, id and title of the engine."""
        self._lines: list[str] = []

    @property
    def sentence(self) -> str:
        """That the engine is being installed there."""
        machine, _, title = self._installs
        return f"{title} is being installed on {machine}"

    def show(self) -> None:
        """Shows the offer if the machine lacks the engine, and the installation that runs or has failed."""
        desk, state = self.desk, self.desk.session.bench.state
        missing = engine_problems(state) if desk.on else []
        manifest = state.backend.manifest if state.backend is not None and missing else None
        status = state.facts.engine(manifest.id) if manifest is not None else None
        self._missing = (
            (status.machine, manifest.id, manifest.title)
            if status is not None and manifest is not None
            else ("", "", "")
        )
        self.stops = any(one.severity == "error" for one in missing)
        key = machine_of(self._installs[0])
        self.is_installing = bool(self._installs[0]) and key in desk.doing
        self.is_offered = bool(missing) and not (self.is_installing and self._installs == self._missing)
        if self.is_offered:
            machine, _, title = self._missing
            self.offer.show_text(f"{title} is not installed on {machine}.", GOES_ON if self.stops else INSTALLS_FIRST)
            self._name(printable(f"Install {title} on {machine}", 120))
        style = "primary" if self.stops else ""
        if self.button.button_style != style:
            self.button.button_style = style
        show(self.offered, self.is_offered)
        self._show_doing(key)

    def _show_doing(self, key: str) -> None:
        machine, _, title = self._installs
        sentence, tone = self.desk.said.get(key, ("", ""))
        has_failed = tone == "danger" and self._installs == self._missing
        if self.is_installing:
            self.says.show_text(f"Installing {title} on {machine}: {self.desk.doing[key]}", "")
        elif has_failed:
            self.says.show_text(sentence, "danger")
        self.log.show_text("\n".join(self._lines[-SHOWN_LINES:]))
        show(self.doing, self.is_installing or has_failed)

    def _name(self, words: str) -> None:
        if self.button.description != words:
            self.button.description = words

    def _install(self) -> None:
        """Installs it in a thread, as a job of that machine; then the machine is asked again what it has."""
        desk = self.desk
        machine, engine, title = self._missing
        if not machine:
            return
        self._installs, self._lines = self._missing, []

        def say(sentence: str) -> None:
            with desk.session.lock:
                self._lines.append(sentence.strip())
            desk.tell(machine_of(machine), sentence.strip().rstrip("."))

        def work() -> str:
            from trainer_core.remote.machines import book, engine_there

            engine_there.bring(book.find(machine).machine, engine, say)
            with desk.session.lock:
                desk.session.note(f"{title} is installed on {machine}.")
                desk.prepare()
            return f"{title} is installed there."

        desk.ask(machine_of(machine), "connecting", work)

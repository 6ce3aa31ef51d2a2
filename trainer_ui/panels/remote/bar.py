"""The bar of the preparation: whether it can start, its length, time and cost, and the button that starts it where it trains."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainer_core.text import size
from trainer_ui.answers import in_the_way, is_begun, needed_answers, needed_settings
from trainer_ui.formatting import Figures, Headline, show
from trainer_ui.panels.forecast import figures
from trainer_ui.panels.install import InstallPanel
from trainer_ui.panels.problems import ProblemList
from trainer_ui.panels.remote.engine_row import EngineRow
from trainer_ui.widgets import Box, Button, VBox

if TYPE_CHECKING:
    from trainer_ui.remote_desk import RemoteDesk

HELD = "easel-held"


class RemoteBar:
    """State, figures and Start; below them the engine if it is missing where it would train, and the problems, worst first."""

    def __init__(self, desk: RemoteDesk) -> None:
        self.desk = desk
        self.problems = ProblemList(desk.session)
        self.engine, self.install = EngineRow(desk), InstallPanel(desk.session)
        self.here = VBox([self.install.offered, self.install.widget])
        self.headline, self.figures = Headline(), Figures()
        self.start = Button(description="Start training", classes=("easel-two-lines", "easel-remote-start"))
        self.start.on_click(desk.session.handler(lambda _: desk.start()))
        actions = Box([self.start], classes=("easel-actions",))
        bar = Box([self.headline, self.figures, actions], classes=("easel-ready",))
        rows = [bar, self.engine.widget, self.here, self.problems.widget]
        self.widget = VBox(rows, classes=("easel-launch",))

    def show(self) -> None:
        """Shows what is missing or that it is ready, the figures, and what Start does."""
        session = self.desk.session
        self.engine.show()
        show(self.here, not self.desk.on)
        if not self.desk.on:
            self.install.show()
            # The installation here is the one thing to do while it is offered for this model.
            self.install.start.button_style = "primary" if self.install.is_main else ""
        offers = self.engine.is_offered or (not self.desk.on and self.install.is_main)
        self.problems.show(fills=not offers)
        is_missing = bool(needed_answers(session) or needed_settings(session))
        held = bool(in_the_way(session) or is_missing or self.desk.obstacle())
        (self.start.add_class if session.starting else self.start.remove_class)("easel-busy")
        (self.start.add_class if held else self.start.remove_class)(HELD)
        style = "" if held else "primary"
        if self.start.button_style != style:
            self.start.button_style = style
        words = self._words()
        if self.start.description != words:
            self.start.description = words
        self.headline.show_state(*self._state(is_missing=is_missing))
        self.figures.show_figures(self._figures() if is_begun(session) else ())

    def close(self) -> None:
        """Ends the feeds of what the bar has started; the jobs go on."""
        self.problems.tool.close()
        self.install.close()

    def _words(self) -> str:
        desk = self.desk
        if desk.session.starting:
            return "Starting…\nevery image is checked first"
        if not desk.on:
            return "Start training\non this computer"
        outlook = desk.outlook()
        sends = outlook.image_bytes + sum(each for _, each in outlook.models)
        return (
            f"Start on {desk.trainer.title}\nsends up to {size(sends)}"
            if outlook.images
            else f"Start on {desk.trainer.title}\nsends images and plan"
        )

    def _figures(self) -> list[tuple[str, str, str]]:
        from trainer_core.estimate import formatting

        session = self.desk.session
        found = [each for each in figures(session.values, session.forecast) if each[0] in ("Length", "File")]
        taken = self.desk.estimate()
        if taken is not None and taken.is_time_known and taken.seconds[1] > 0:
            found.insert(1, ("Time", formatting.span(taken.seconds), ""))
        cost = self.desk.cost().words
        return [*found, ("Cost", cost, f"at {self.desk.price:g} an hour" if cost else "")]

    def _state(self, *, is_missing: bool) -> tuple[str, str, str, str]:
        session = self.desk.session
        if session.starting:
            return "accent", "…", "Starting", "Every image is checked, then the run is made."
        if not is_begun(session):
            return (
                "",
                "1",
                "What should be trained, and where?",
                "Choose both below. Nothing is sent before you press Start.",
            )
        if self.engine.is_installing:
            return "accent", "…", self.engine.sentence, "You can start once it is there."
        blocking = () if self.desk.lacks else in_the_way(session)
        if blocking:
            title = "One thing to settle" if len(blocking) == 1 else f"{len(blocking)} things to settle"
            return "danger", "!", title, "It is listed below, with what to do."
        if is_missing and not self.desk.lacks:
            missing = needed_answers(session) or ["a setting"]
            return "", "i", "Something is still missing", f"Still missing: {', '.join(missing)}."
        if obstacle := self.desk.obstacle():
            tone, title, sentence = obstacle
            return tone, "!" if tone else "i", title, sentence
        where = self.desk.trainer
        return "ok", "✓", "Ready to train", f"{session.values['output.name']} on {where.title}"

"""Which program would train the job, and why the others would not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainer_core.engines import registry
from trainer_core.install.offer import trains
from trainer_core.text import printable
from trainer_ui.explaining import helped
from trainer_ui.formatting import Paragraph, show
from trainer_ui.panels.card import card, fold
from trainer_ui.panels.engine_table import EngineRows
from trainer_ui.widgets import Box, Button, Dropdown, Widget

if TYPE_CHECKING:
    from trainer_core.engines.seam import Backend
    from trainer_core.estimate import Past
    from trainer_core.prepare.engine_rows import EngineTable
    from trainer_core.prepare.state import State
    from trainer_core.prepare.switching import Switched
    from trainer_ui.session import Session

HELP = "The program that trains. Easel chooses an installed one that trains your model."
AUTOMATIC = ("Automatic: the best installed engine", "")


class EnginePanel:
    """A choice of engine, the engine that would run the job, and a table of what each engine would need and lose."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.choice = Dropdown(description="Training engine", options=[AUTOMATIC])
        self.choice.observe(session.handler(self.choose), "value")
        self.says = Paragraph()
        self.others = Paragraph("", "muted", "small", "lines")
        self.table = EngineRows()
        self.proposes = Paragraph("", "grow")
        self.widget = fold(session, "Engine", self._content)
        self.switched: Switched | None = None
        """What the last choice of another engine means, until the user goes back."""
        self.back: Button | None = None
        self.use: Button | None = None
        self.compared: EngineTable | None = None
        """The table that is shown."""
        self._compared_for: tuple[State, tuple[Past, ...], tuple[bool, bool]] | None = None
        """What the table is for: the job, the past runs, and whether it trains elsewhere, on a machine that is known."""
        session.forgetting.append(self._forget)

    def _forget(self) -> None:
        """Offers no way back to the engine of a form that is gone."""
        self.switched = None

    def _content(self) -> list[Widget]:
        self.back, self.use = Button(classes=("easel-small",)), Button(classes=("easel-small",))
        self.back.on_click(self.session.handler(lambda _: self._go_back()))
        self.use.on_click(self.session.handler(lambda _: self._use_proposed()))
        self._show_back()
        self._show_table()
        proposal = Box([self.proposes, self.use], classes=("easel-row", "easel-engines-proposal"))
        return [helped(self.choice, HELP), self.says, self.back, proposal, self.table, self.others]

    def choose(self, name: str) -> None:
        """Sets the engine, or "" for an automatic choice, and says which values do not carry over.

        The dataset is read again, by the rules of the engine.
        """
        from trainer_core.prepare import switching

        self.switched = switching.switch(self.session.bench, name)
        if self.switched is not None:
            self.session.note(self.switched.message)

    def _use_proposed(self) -> None:
        if self.compared is not None and self.compared.proposed:
            self.choose(self.compared.proposed)

    def _go_back(self) -> None:
        if self.switched is not None:
            back, self.switched = self.switched, None
            self.session.bench.use_engine(back.back)
            self.session.note(f"{back.old} trains this again, with the values that it had.")

    def _show_back(self) -> None:
        if self.back is not None:
            self.back.description = f"Back to {self.switched.old}" if self.switched else ""
            show(self.back, self.switched is not None)

    def show(self) -> None:
        """Shows the engine."""
        state, chosen = self.session.bench.state, self.session.backend
        asked = state.engine.manifest.id if state.engine else ""
        known = {engine.manifest.id: engine.manifest.title for engine in registry.available()}
        if state.engine:
            known.setdefault(asked, state.engine.manifest.title)
        options = [AUTOMATIC, *((printable(title, 60), name) for name, title in known.items())]
        if tuple(options) != tuple(self.choice.options):
            self.choice.options = options
        self.choice.value = asked
        if self.switched is not None and chosen is not None and chosen.manifest.title != self.switched.new:
            # Another engine was chosen elsewhere on the page, as by a fix.
            self.switched = None
        self._show_back()
        if chosen is not None and not asked:
            self.says.show_text(f"{chosen.manifest.title} would train this.", "")
        else:
            open_ = not (asked or state.family)
            self.says.show_text("Easel chooses the engine once you choose a model." if open_ else "", "muted")
        self.widget.children[0].description = printable(f"Engine: {_title(chosen, asked)}", 120)
        told = [] if state.family else [trains(engine.manifest) for engine in registry.available()]
        self.others.show_text("\n".join(told))
        self._show_table()

    def _show_table(self) -> None:
        """Compares the engines while the table is open: it takes all rules and an estimate for each of them."""
        if self.use is None or not self.widget.children[0].value:
            return
        from trainer_core.prepare import engine_rows

        bench, past, known = self.session.bench, self.session.past, self._compared_for
        state, where = bench.state, (bench.reader.is_elsewhere, bench.is_known)
        if known is None or known[1] is not past or known[2] != where or not engine_rows.is_same(known[0], state):
            self.compared = engine_rows.table(bench, past) if state.family else None
            self._compared_for = state, past, where
        table = self.compared
        self.table.show_table(table)
        self.proposes.show_text(table.reason if table is not None else "")
        proposed = table.named(table.proposed) if table is not None else None
        is_other = proposed is not None and not proposed.is_chosen
        self.use.description = printable(f"Use {proposed.standing.title}", 60) if proposed is not None else ""
        show(self.use, is_other)


def use_engine(session: Session, name: str) -> None:
    """Trains with this engine from now on, and says which values do not carry over."""
    from trainer_core.prepare import switching

    if (switched := switching.switch(session.bench, name)) is not None:
        session.note(switched.message)


class EngineCard:
    """The same in a card of its own, for an app that has no step for the model."""

    def __init__(self, session: Session) -> None:
        self.panel = EnginePanel(session)
        self.widget = card("What trains it", self.panel.widget)

    def show(self) -> None:
        """Shows the engine."""
        self.panel.show()


def _title(chosen: Backend | None, asked: str) -> str:
    if chosen is None:
        return "chosen once the model is known"
    return f"{chosen.manifest.title}, " + ("chosen by you" if asked else "chosen for this model")

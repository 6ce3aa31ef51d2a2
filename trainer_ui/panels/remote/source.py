"""What is trained: the settings of another notebook, a plan in a file, or a style with a selection set."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainer_core.text import printable
from trainer_ui.browse import Browse
from trainer_ui.components.cards import Card, Cards
from trainer_ui.explaining import helped
from trainer_ui.formatting import Pairs, Paragraph, notebook_link, show
from trainer_ui.panels.model import family_title
from trainer_ui.remote_desk import NO_PLAN, NO_STYLE
from trainer_ui.widgets import HTML, Box, Button, Text, VBox

if TYPE_CHECKING:
    from trainer_ui.panels.remote.style import StyleChoice
    from trainer_ui.remote_desk import RemoteDesk

NOTEBOOKS = ("lora_trainer", "finetuning_trainer")
PREPARED_IN = (
    '<span class="easel-text">Model, images and recipe are chosen in '
    f"{notebook_link('LoRA_Trainer')} or {notebook_link('Finetuning_Trainer')}. What you set there is read here.</span>"
)
PLAN, STYLE = "plan", "style"
CARDS = (
    Card("lora_trainer", "Settings of LoRA Trainer", "as you left them in that notebook", "spark"),
    Card("finetuning_trainer", "Settings of Finetuning Trainer", "as you left them in that notebook", "cube"),
    Card(PLAN, "A plan in a file", "plan.toml of a run, or your own", "tag"),
    Card(STYLE, "A style or an actor", "with one of its selection sets", "brush"),
)


class SourcePanel:
    """Four cards, the fields of the chosen one, and what was taken over in a few lines."""

    def __init__(self, desk: RemoteDesk) -> None:
        self.desk, session = desk, desk.session
        self.chosen = ""
        self.cards = Cards("What to train", session.handler(self._choose))
        self.again = Button(description="Read them again", classes=("easel-small",))
        self.again.on_click(session.handler(lambda _: self.take(self.chosen)))
        self.path = Text(description="Plan", placeholder="/path/to/plan.toml", continuous_update=False)
        self.path.observe(session.handler(self._take_plan), "value")
        browse = Browse(session, "Plan", self._take_plan, lambda: self.path.value, extensions=(".toml",))
        line = helped(self.path, "A plan in TOML. It takes the place of the settings below.")
        self.file = Box([line, browse.widget], classes=("easel-remote-file",))
        self.style_place = VBox(classes=("easel-remote-style",))
        self.style: StyleChoice | None = None
        self.link = HTML(PREPARED_IN, classes=("easel-small", "easel-muted", "easel-tool-elsewhere"))
        self.pairs = Pairs()
        self.says = Paragraph("", "small", "muted", role="status")
        self.row = Box([self.again, self.says], classes=("easel-row",))
        self.widget = VBox(
            [
                Paragraph("What to train", "heading"),
                self.cards,
                self.link,
                self.file,
                self.style_place,
                self.pairs,
                self.row,
            ],
            classes=("easel-card", "easel-remote-cards"),
        )
        self.told = ""

    def _choose(self, wanted: str) -> None:
        self.told = ""
        if wanted in NOTEBOOKS:
            self.take(wanted)
            self.chosen = wanted
        elif wanted != self.chosen:
            self.chosen = wanted
            self.desk.style, self.desk.lacks = None, NO_STYLE if wanted == STYLE else NO_PLAN
            if wanted == STYLE:
                self._open_style()
            else:
                self._take_plan(self.path.value)

    def leave(self) -> None:
        """Has none of the sources chosen, because the settings of a run take their place."""
        self.chosen = self.told = self.desk.lacks = ""
        self.desk.style = None

    def begin(self, app: str) -> None:
        """Takes over the settings of a notebook when the app is opened.

        Raises:
            PlanError: they are damaged.
        """
        self.take(app)
        self.chosen = app

    def take(self, app: str) -> None:
        """Takes over the settings of a notebook.

        Raises:
            PlanError: it has kept none.
        """
        from trainer_core.remote import sources

        session = self.desk.session
        self.told = " ".join(sources.take_form(session.bench, app))
        session.is_method_chosen = True
        self.desk.style, self.desk.lacks = None, ""
        self.desk.prepare()

    def _take_plan(self, path: str) -> None:
        from trainer_core.remote import sources

        self.path.value = path
        self.desk.lacks = NO_PLAN
        if path.strip():
            sources.take_plan(self.desk.session.bench, path)
            self.desk.session.is_method_chosen = True
            self.desk.lacks = ""
            self.desk.prepare()

    def _open_style(self) -> None:
        if self.style is None:
            from trainer_ui.panels.remote.style import StyleChoice

            self.style = StyleChoice(self.desk)
            self.style_place.children = (self.style.widget,)
        self.style.open()

    def show(self) -> None:
        """Shows what was taken over."""
        self.cards.show_cards(CARDS, self.chosen)
        show(self.file, self.chosen == PLAN)
        show(self.style_place, self.chosen == STYLE)
        show(self.again, self.chosen in NOTEBOOKS)
        if self.style is not None:
            self.style.show()
        self.pairs.show_pairs(self._taken())
        self.says.show_text(self.told)
        show(self.row, bool(self.told) or self.chosen in NOTEBOOKS)

    def _taken(self) -> list[tuple[str, str]]:
        if self.desk.lacks:
            # What was prepared before is not what the chosen source trains.
            return []
        state, values = self.desk.session.bench.state, self.desk.session.values
        dataset, path = state.facts.dataset, str(values["model.path"])
        found = []
        if path:
            found.append(
                ("Model", f"{_name(path)}, {family_title(state.family) if state.family else 'family not known'}")
            )
        if values["dataset.path"]:
            many = f", {len(dataset.images):,} images" if dataset is not None else ", which cannot be read"
            found.append(("Images", f"{_name(str(values['dataset.path']))}{many}"))
        if state.profile is not None:
            found.append(("Profile", state.profile.title))
        return found


def _name(path: str) -> str:
    return printable(path.rstrip("/").rpartition("/")[2] or path, 120)

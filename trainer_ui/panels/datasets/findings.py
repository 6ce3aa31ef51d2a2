"""What is wrong with the dataset by the rules of the engine, and the fixes, each of which can be taken back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainer_ui.components.action_list import Act, ActionList, Item
from trainer_ui.formatting import Paragraph, show
from trainer_ui.widgets import Box, Button, Dropdown, Text, VBox

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trainer_core.curation.fixing import Offer
    from trainer_ui.dataset_session import DatasetSession

GROUPS = {"error": "Stops a training", "warning": "May train something that you do not mean", "info": "Good to know"}
ALL = "all"


class FindingsPanel:
    """The problems, worst first, with the images that have each, and the fixes. `see` shows the images of a filter."""

    def __init__(self, session: DatasetSession, see: Callable[[str], object]) -> None:
        self.session, self._see = session, see
        handler = session.handler
        self.engine = Dropdown(description="By the rules of", options=[("", "")])
        self.engine.observe(handler(self._choose_engine), "value")
        self.trigger = Text(
            description="Trigger word", placeholder="to look for in the captions", continuous_update=False
        )
        self.trigger.observe(handler(self._choose_trigger), "value")
        self.summary = Paragraph("", "small")
        self.offers = ActionList("Fixes", handler(self._fix))
        self.everything = Button(description="Make all fixes", button_style="primary")
        self.everything.on_click(handler(lambda _: self._fix((ALL, "fix"))))
        self.fixes = VBox([Paragraph("Fixes", "heading"), self.offers, self.everything])
        self.problems = ActionList("Findings", handler(self._show))
        self.none = Paragraph("", "ok")
        self.widget = VBox(
            [
                Paragraph("What the engine would make of it", "heading"),
                Box([self.engine, self.trigger], classes=("easel-pair",)),
                self.summary,
                self.none,
                self.problems,
                self.fixes,
            ],
            classes=("easel-card", "easel-findings"),
        )
        self._dataset: object = None
        self._offers: Sequence[Offer] = ()

    def show(self) -> None:
        """Shows the findings of the last reading."""
        from trainer_core.engines import registry

        session, read = self.session, self.session.read
        show(self.widget, session.root is not None)
        if not self.engine.options[0][0]:
            engines = [(one.manifest.title, one.manifest.id) for one in registry.available()]
            self.engine.options, self.engine.value = engines, session.engine or engines[0][1]
        if self.trigger.value != session.trigger:
            self.trigger.value = session.trigger
        if read is None:
            self.summary.show_text("" if session.root is None else "Reading the images…")
            return
        if self._dataset is not read.dataset:
            self._dataset = read.dataset
            self._show_findings()
        self.everything.disabled = bool(session.doing)

    def _show_findings(self) -> None:
        from trainer_core.curation import fixing

        read = self.session.read
        if read is None:
            return
        self.summary.show_text(read.dataset.summary)
        problems = sorted(read.dataset.problems, key=lambda one: list(GROUPS).index(one.severity))
        self.problems.show_items(
            Item(
                str(place),
                one.message,
                one.fix.label if one.fix is not None and one.fix.is_advice else "",
                group=GROUPS[one.severity],
            )
            for place, one in enumerate(problems)
        )
        show(self.problems, bool(problems))
        is_good = not problems and bool(read.dataset.images)
        self.none.show_text(
            "Nothing was found that stops a training or trains something else than you mean." if is_good else ""
        )
        self._offers = fixing.offers(read.dataset, self.session.trigger)
        self.offers.show_items(
            Item(
                one.mending.id,
                one.mending.title,
                f"{one.mending.help} {_named([self._name(file) for file in one.files])}",
                aside=f"{len(one.files):,}",
                acts=(
                    Act("see", "Show", f"Show the files of: {one.mending.title}"),
                    Act("fix", "Fix", f"{one.mending.title}. Undo takes it back."),
                ),
            )
            for one in self._offers
        )
        show(self.fixes, bool(self._offers))
        show(self.everything, len(self._offers) > 1)

    def _name(self, file: object) -> str:
        root = self.session.root
        return str(file)[len(str(root)) :].lstrip("/")

    def _choose_engine(self, engine: str) -> None:
        if engine and engine != self.session.engine:
            self.session.engine = engine
            self.session.look()

    def _choose_trigger(self, word: str) -> None:
        if word.strip() != self.session.trigger:
            self.session.trigger = word.strip()
            self.session.look()

    def _show(self, told: tuple[str, str]) -> None:
        self._see(told[0])

    def _fix(self, told: tuple[str, str]) -> None:
        from trainer_core.curation import filtering, fixing

        wanted, act = told
        session, read = self.session, self.session.read
        if read is None or session.root is None:
            return
        found = [one for one in self._offers if wanted in (ALL, one.mending.id)]
        if act == "see":
            names = [filtering.quoted(self._name(file)) for one in found for file in one.files[:200]]
            self._see(" or ".join(f"path:{name}" for name in names))
            return
        ids, root, trigger, dataset = [one.mending.id for one in found], session.root, session.trigger, read.dataset
        title = "; ".join(one.mending.title for one in found)
        session.save_drafts()

        def work() -> str:
            from trainer_core.curation.journal import Journal
            from trainer_ui.dataset_session import told as said

            made, refused = fixing.changes(dataset, ids, trigger)
            edit = Journal(root).apply("fix", title, made) if made else None
            left = f" Left as they were: {_named([f'{path} ({why})' for path, why in refused])}" if refused else ""
            return f"{said(edit)}{left}"

        session.do(f"{title}.", work)


def _named(names: Sequence[str], most: int = 3) -> str:
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{more}."

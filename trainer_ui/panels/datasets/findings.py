"""What is wrong with the dataset by the rules of the engine, and the fixes, each of which can be taken back."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from trainer_core.datasets import defects
from trainer_core.datasets.defects import DEFECTS
from trainer_ui.components.action_list import Act, ActionList, Item
from trainer_ui.dataset_session import told
from trainer_ui.formatting import Paragraph, show
from trainer_ui.widgets import Box, Button, Dropdown, Text, VBox

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
    from pathlib import Path

    from trainer_core.curation.fixing import Offer
    from trainer_core.datasets.scan import Dataset
    from trainer_ui.dataset_session import DatasetSession

GROUPS = {"error": "Stops a training", "warning": "May train something that you do not mean", "info": "Good to know"}
SEE, REJECTED = "see", "rejected"


class FindingsPanel:
    """The problems, worst first, with the images that have each, and the fixes. `see_only` shows images, with a title."""

    def __init__(self, session: DatasetSession, see_only: Callable[[str, Collection[str]], object]) -> None:
        self.session, self._see_only = session, see_only
        handler = session.handler
        self.engine = Dropdown(description="By the rules of", options=[("", "")])
        self.engine.observe(handler(self._choose_engine), "value")
        self.trigger = Text(
            description="Trigger word", placeholder="to look for in the captions", continuous_update=False
        )
        self.trigger.observe(handler(self._choose_trigger), "value")
        self.summary = Paragraph("", "small")
        self.list = ActionList("Findings", handler(self._act))
        self.everything = Button(button_style="primary")
        self.everything.on_click(handler(lambda _: self._fix(list(self._offers))))
        self.none = Paragraph("", "ok")
        self.widget = VBox(
            [
                Paragraph("What the engine would make of it", "heading"),
                Box([self.engine, self.trigger], classes=("easel-pair",)),
                self.summary,
                self.none,
                self.everything,
                self.list,
            ],
            classes=("easel-card", "easel-findings"),
        )
        self._dataset: tuple[Dataset, tuple[str, ...]] | None = None
        self._offers: Mapping[str, Offer] = {}

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
        now = read.dataset, tuple(one.path for one in session.entries if one.choice == "reject")
        if self._dataset is None or self._dataset[0] is not now[0] or self._dataset[1] != now[1]:
            self._dataset = now
            self._show_findings()
        self.everything.disabled = bool(session.doing)

    def _show_findings(self) -> None:
        from trainer_core.curation import fixing

        read = self.session.read
        if read is None:
            return
        unseen = sum(not one.scores and one.is_trained for one in read.entries)
        more = (
            " Only their headers were read: damage inside of a file is found by “Look at every image”."
            if unseen
            else ""
        )
        self.summary.show_text(f"{read.dataset.summary}{more}")
        self._offers = {one.mending.id: one for one in fixing.offers(read.dataset, self.session.trigger)}
        items = sorted(self._items(read.dataset), key=lambda one: list(GROUPS.values()).index(one.group))
        self.list.show_items(items)
        is_good = not items and bool(read.dataset.images)
        self.none.show_text(
            "Nothing was found that stops a training or trains something else than you mean." if is_good else ""
        )
        self.everything.description = f"Make all {len(self._offers)} fixes"
        show(self.everything, len(self._offers) > 1)

    def _items(self, dataset: Dataset) -> Iterator[Item]:
        """Each defect with its files, and then what is not about single files."""
        for key, files in dataset.defects.items():
            defect = DEFECTS[key]
            offer = next((one for one in self._offers.values() if key in one.mending.defects), None)
            fix = (
                (Act(offer.mending.id, offer.mending.title, f"{offer.mending.help} Undo takes it back."),)
                if offer
                else ()
            )
            yield Item(
                key,
                f"{defect.reason[:1].upper()}{defect.reason[1:]}",
                f"{defect.advice} {_named([self._name(file) for file in files])}".strip(),
                aside=f"{len(files):,} {'file' if len(files) == 1 else 'files'}",
                group=GROUPS[defect.severity],
                acts=(Act(SEE, "Show", f"Show the images: {defect.reason}"), *fix),
            )
        rejected = [one.path for one in self.session.entries if one.choice == "reject"]
        if rejected:
            yield Item(
                REJECTED,
                "Images that you rejected are still in the dataset, so they would be trained",
                f"“Set rejected aside” in Images takes them out. {_named(rejected)}",
                aside=f"{len(rejected):,} {'file' if len(rejected) == 1 else 'files'}",
                group=GROUPS["warning"],
                acts=(Act(SEE, "Show", "Show the rejected images"),),
            )
        named = {key: [self._name(file) for file in files] for key, files in dataset.defects.items()}
        of_files = {(one.severity, one.message.partition(": ")[2]) for one in defects.problems(named)}
        for place, one in enumerate(dataset.problems):
            if (one.severity, one.message.partition(": ")[2]) in of_files:
                continue
            advice = one.fix.label if one.fix is not None and one.fix.is_advice else ""
            yield Item(f"other {place}", one.message, advice, group=GROUPS[one.severity])

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

    def _see(self, title: str, files: Sequence[Path]) -> None:
        """Shows the images that these files are or belong to."""
        names = {self._name(file) for file in files}
        found = [one.path for one in self.session.entries if {one.path, one.caption_path} & names]
        self._see_only(title, found)

    def _act(self, told: tuple[str, str]) -> None:
        key, act = told
        read = self.session.read
        if key == REJECTED:
            self._see_only("rejected", [one.path for one in self.session.entries if one.choice == "reject"])
        elif act == SEE and read is not None:
            self._see(DEFECTS[key].reason, read.dataset.defects.get(key, ()))
        elif act in self._offers:
            self._fix([act])

    def _fix(self, ids: Sequence[str]) -> None:
        session, read = self.session, self.session.read
        if read is None or session.root is None:
            return
        session.drafts.save_all()
        title = "; ".join(self._offers[one].mending.title for one in ids)
        session.do(f"{title}.", partial(_mended, read.dataset, list(ids), session.trigger, title))


def _mended(dataset: Dataset, ids: Sequence[str], trigger: str, title: str) -> str:
    from trainer_core.curation import fixing

    edit, refused = fixing.mend(dataset, ids, title, trigger)
    also = refused[: len(refused) - len(edit.refused)] if edit is not None else refused
    left = f" Left as they were: {_named([f'{path} ({why})' for path, why in also])}" if also else ""
    return f"{told(edit)}{left}"


def _named(names: Sequence[str], most: int = 3) -> str:
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{more}."

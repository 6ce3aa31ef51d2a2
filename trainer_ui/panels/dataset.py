"""Which pictures: the folder, what is in it by the engine's own rules, and the trigger word."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainer_ui.panels.card import card, fold
from trainer_ui.widgets import Box, Button, Text
from trainer_ui.words import Pairs, Words, show

if TYPE_CHECKING:
    from trainer_core.datasets.scan import Dataset
    from trainer_ui.session import Session

CAPTIONS_SHOWN = 12


class DatasetPanel:
    """The dataset's folder, trigger word and counts."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.path = Text(
            description="Folder with pictures and captions", placeholder="/path/to/pictures", continuous_update=False
        )
        self.trigger = Text(
            description="Trigger word", placeholder="a rare word, such as ohwx", continuous_update=False
        )
        self.path.observe(session.handler(lambda path: session.change({"dataset.path": path.strip()})), "value")
        self.trigger.observe(session.handler(lambda word: session.change({"dataset.trigger": word.strip()})), "value")
        self.counts = Words()
        self.recalled, self.without = Words("", "muted", "small"), Button(description="Without them")
        self.without.add_class("easel-fix")
        self.without.on_click(session.handler(lambda _: session.memory.put_away()))
        self.kept = Box([self.recalled, self.without], classes=("easel-row",))
        self.captions = Pairs()
        self.fold = fold(session, "Captions as they are read", lambda: [self.captions])
        self.widget = card("Dataset", self.path, self.trigger, self.counts, self.kept, self.fold)

    def show(self) -> None:
        """Shows folder, word and counts."""
        values, dataset = self.session.values, self.session.bench.facts.dataset
        for field, path in ((self.path, "dataset.path"), (self.trigger, "dataset.trigger")):
            if field.value != values[path]:
                field.value = values[path]
        self.counts.say(*counts(dataset, values["dataset.path"]))
        self.recalled.say(self.session.memory.sentence)
        show(self.kept, bool(self.session.memory.recalled))
        self.captions.say(captions(dataset, values["dataset.trigger"]) if dataset is not None else ())
        show(self.fold, dataset is not None and bool(dataset.pictures))


def counts(dataset: Dataset | None, path: str) -> tuple[str, str]:
    """What was found, and the tone to say it in."""
    if not path:
        return "", ""
    if dataset is None:
        return f"{path} cannot be read as a dataset.", "danger"
    pictures = dataset.pictures
    captioned = sum(bool(picture.caption) for picture in pictures)
    if not pictures:
        return f"There is nothing to train on in this folder. {dataset.summary}", "danger"
    good = not dataset.stopping and not dataset.unseen
    return f"{dataset.summary} {captioned} of {len(pictures)} pictures have a caption.", "ok" if good else "warn"


def captions(dataset: Dataset, trigger: str) -> list[tuple[str, str]]:
    """The first captions, as (picture, caption)."""
    none = "none; the trigger word stands in" if trigger else "none"
    shown = dataset.pictures[:CAPTIONS_SHOWN]
    rest = len(dataset.pictures) - len(shown)
    return [(one.name, one.caption or none) for one in shown] + ([("…", f"and {rest} more")] if rest else [])

"""The dataset: its folder, what the engine will read from it, and the trigger word."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainer_ui.formatting import Pairs, Paragraph, show
from trainer_ui.panels.card import card, fold
from trainer_ui.widgets import Box, Button, Text

if TYPE_CHECKING:
    from trainer_core.datasets.scan import Dataset
    from trainer_ui.session import Session

CAPTIONS_SHOWN = 12


class DatasetPanel:
    """The dataset's folder, trigger word and counts."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.path = Text(
            description="Folder with images and captions", placeholder="/path/to/images", continuous_update=False
        )
        self.trigger = Text(
            description="Trigger word", placeholder="a rare word, such as ohwx", continuous_update=False
        )
        self.path.observe(session.handler(lambda path: session.change({"dataset.path": path.strip()})), "value")
        self.trigger.observe(session.handler(lambda word: session.change({"dataset.trigger": word.strip()})), "value")
        self.counts = Paragraph()
        self.recalled, self.without = Paragraph("", "muted", "small"), Button(description="Remove these values")
        self.without.add_class("easel-fix")
        self.without.on_click(session.handler(lambda _: session.memory.put_away()))
        self.kept = Box([self.recalled, self.without], classes=("easel-row",))
        self.captions = Pairs()
        self.fold = fold(session, "Captions as they are read", lambda: [self.captions])
        self.widget = card("Dataset", self.path, self.trigger, self.counts, self.kept, self.fold)

    def show(self) -> None:
        """Shows folder, trigger word and counts."""
        values, dataset = self.session.values, self.session.bench.state.facts.dataset
        for field, path in ((self.path, "dataset.path"), (self.trigger, "dataset.trigger")):
            if field.value != values[path]:
                field.value = values[path]
        self.counts.show_text(*counts(dataset, values["dataset.path"]))
        self.recalled.show_text(self.session.memory.sentence)
        show(self.kept, bool(self.session.memory.recalled))
        self.captions.show_pairs(captions(dataset, values["dataset.trigger"]) if dataset is not None else ())
        show(self.fold, dataset is not None and bool(dataset.images))


def counts(dataset: Dataset | None, path: str) -> tuple[str, str]:
    """A sentence about what was found, and its tone."""
    if not path:
        return "", ""
    if dataset is None:
        return f"{path} cannot be read as a dataset.", "danger"
    images = dataset.images
    captioned = sum(bool(image.caption) for image in images)
    if not images:
        return f"There is nothing to train on in this folder. {dataset.summary}", "danger"
    good = not dataset.stopping and not dataset.unseen
    return f"{dataset.summary} {captioned} of {len(images)} images have a caption.", "ok" if good else "warn"


def captions(dataset: Dataset, trigger: str) -> list[tuple[str, str]]:
    """The first captions, as (name of the image, caption)."""
    none = "none: the trigger word is used instead" if trigger else "none"
    shown = dataset.images[:CAPTIONS_SHOWN]
    rest = len(dataset.images) - len(shown)
    return [(one.name, one.caption or none) for one in shown] + ([("…", f"and {rest} more")] if rest else [])

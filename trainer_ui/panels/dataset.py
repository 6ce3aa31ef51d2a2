"""The dataset: its folder, what the engine will read from it, and the trigger word."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer_ui.answers import mark
from trainer_ui.browse import Browse
from trainer_ui.components.gallery import Gallery, Shown
from trainer_ui.controls import help_of
from trainer_ui.explaining import helped
from trainer_ui.formatting import Pairs, Paragraph, show
from trainer_ui.panels.card import Step, fold, row
from trainer_ui.panels.dataset_desk import DatasetDesk
from trainer_ui.panels.image_choice import ImageChoice
from trainer_ui.panels.image_folders import ImageFolders
from trainer_ui.panels.image_pairs import ImagePairs
from trainer_ui.panels.settling import SETTLED
from trainer_ui.widgets import Button, Text

if TYPE_CHECKING:
    from trainer_core.datasets.scan import Dataset
    from trainer_ui.panels.settings import Settings
    from trainer_ui.session import Session

CAPTIONS_SHOWN = 12
IMAGES_SHOWN = 24


class DatasetPanel:
    """The dataset's folder, trigger word and counts."""

    def __init__(self, session: Session, settings: Settings) -> None:
        self.session = session
        self.path = Text(
            description="Folder with images and captions", placeholder="/path/to/images", continuous_update=False
        )
        self.trigger = Text(
            description="Trigger word", placeholder="a rare word, such as ohwx", continuous_update=False
        )
        self.path.observe(session.handler(lambda path: session.change({"dataset.path": path.strip()})), "value")
        self.trigger.observe(session.handler(lambda word: session.change({"dataset.trigger": word.strip()})), "value")
        self.browse = Browse(
            session,
            "Dataset",
            lambda path: session.change({"dataset.path": path}),
            lambda: session.values["dataset.path"],
            wants="folder",
        )
        self.field = helped(self.path, *help_of("dataset.path"))
        self.folder = Paragraph("", "muted", "small", "grow")
        self.change = Button(description="Change the folder", classes=("easel-quiet",))
        self.change.on_click(session.handler(lambda _: self.fold_choice(False)))
        self.settled = row(self.folder, self.change)
        self.settled.add_class("easel-settled")
        self.is_folded = False
        """Whether the folder is only named, without the field and the button that choose it."""
        self.counts = Paragraph("", "small")
        self.recalled = Paragraph("", "muted", "small", "grow")
        self.without = Button(description="Remove these values", classes=("easel-small",))
        self.without.on_click(session.handler(lambda _: session.memory.put_away()))
        self.kept = row(self.recalled, self.without)
        self.captions = Pairs()
        self.fold = fold(session, "Captions as they are read", lambda: [self.captions])
        self.images = Gallery("Images of the dataset")
        self.desk = DatasetDesk(session)
        self.choice, self.more = ImageChoice(session, settings), ImageFolders(session)
        self.pairs = ImagePairs(session, settings)
        self._files: tuple[str, ...] = ()
        self.step = Step(
            session,
            "Dataset",
            lambda: [
                self.settled,
                self.field,
                self.browse.widget,
                self.desk.yours,
                self.desk.brings,
                self.images,
                self.counts,
                self.desk.looks,
                self.desk.writes,
                helped(self.trigger, *help_of("dataset.trigger")),
                self.kept,
                self.fold,
                self.pairs.widget,
                self.choice.widget,
                self.more.widget,
                *([settings.front(settings.of_images)] if settings.of_images else []),
                settings.groups["dataset"],
            ],
            question="Which images should it learn from?",
            number="2",
            is_open=True,
        )
        self.widget = self.step.widget
        self.fold_choice(False)

    def show(self) -> None:
        """Shows folder, trigger word and counts."""
        values, dataset = self.session.values, self.session.bench.state.facts.dataset
        for field, path in ((self.path, "dataset.path"), (self.trigger, "dataset.trigger")):
            if field.value != values[path]:
                field.value = values[path]
        self._show_images(dataset)
        self.counts.show_text(*counts(dataset, values["dataset.path"]))
        self.recalled.show_text(self.session.memory.sentence)
        show(self.kept, bool(self.session.memory.recalled))
        self.captions.show_pairs(captions(dataset, values["dataset.trigger"]) if dataset is not None else ())
        show(self.fold, dataset is not None and bool(dataset.images))
        state = mark(self.session, "dataset", values["dataset.path"])
        if self.is_folded and state not in SETTLED:
            self.fold_choice(False)
        self.folder.show_text(values["dataset.path"])
        self.desk.show()
        self.choice.show()
        self.pairs.show()
        self.more.show(self.desk.datasets)
        self.step.show(state, _summary(dataset, values))

    def fold_choice(self, is_folded: bool) -> None:
        """Only names the folder, or shows what chooses it; the images stay."""
        self.is_folded = is_folded
        show(self.settled, is_folded)
        for one in (self.field, self.browse.widget, self.desk.yours, self.desk.brings):
            show(one, not is_folded)

    def _show_images(self, dataset: Dataset | None) -> None:
        """Shows the first images, and how many more there are."""
        images = dataset.images if dataset is not None else ()
        files = tuple(str(one.path) for one in images)
        if files == self._files:
            return
        self._files = files
        self.images.show_images(
            [Shown(one.path, one.name) for one in images[:IMAGES_SHOWN]], len(images) - IMAGES_SHOWN
        )


def _summary(dataset: Dataset | None, values: Mapping[str, Any]) -> str:
    """The dataset in one line."""
    if not values["dataset.path"]:
        return ""
    folder, trigger = Path(values["dataset.path"]).name, values["dataset.trigger"]
    images = f"{len(dataset.images)} images" if dataset is not None else "cannot be read"
    return ", ".join(filter(None, (folder, images, f"trigger word {trigger}" if trigger else "")))


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
    return f"{dataset.summary} {captioned} of {len(images)} images have a caption.", "" if good else "warn"


def captions(dataset: Dataset, trigger: str) -> list[tuple[str, str]]:
    """The first captions, as (name of the image, caption)."""
    none = "none: the trigger word is used instead" if trigger else "none"
    shown = dataset.images[:CAPTIONS_SHOWN]
    rest = len(dataset.images) - len(shown)
    return [(one.name, one.caption or none) for one in shown] + ([("…", f"and {rest} more")] if rest else [])

"""What an edit model is shown for each image: the folders of control images, and the pairs side by side."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer_core.plan.subsets import CONTROLS
from trainer_core.prepare import image_folders
from trainer_core.text import printable
from trainer_ui.components.gallery import Gallery, Shown
from trainer_ui.formatting import Paragraph, show
from trainer_ui.panels.card import fold

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trainer_core.datasets.scan import Dataset, DatasetImage
    from trainer_core.engines.claim import Controls
    from trainer_ui.panels.settings import Settings
    from trainer_ui.session import Session
    from trainer_ui.widgets import Widget

SHOWN = (*(f"dataset.{name}" for name in CONTROLS), "dataset.only_pairs")
"""The settings that have their usual control here."""
TITLE = "Control images, for models that edit images"
PAIRS_SHOWN = 8
NAMED = 12


class ImagePairs:
    """The group in the dataset's card; its controls are made when it is first opened."""

    def __init__(self, session: Session, settings: Settings) -> None:
        self.session, self.settings = session, settings
        self.needed = Paragraph("", "small")
        self.counts = Paragraph("", "small", role="status")
        self.unmatched = Paragraph("", "small", "warn")
        self.pairs = Gallery("Pairs of images")
        self.widget = fold(session, TITLE, self._content, "easel-pairs-shown")
        self._files: tuple[object, ...] = ()
        self._opened_for = ""

    def _content(self) -> Sequence[Widget]:
        return [self.needed, self.settings.front(SHOWN), self.counts, self.unmatched, self.pairs]

    def open_for(self, path: str) -> None:
        """Opens the group if the setting is in it, so that its control is there."""
        if path in SHOWN:
            self.widget.children[0].value = True

    def show(self) -> None:
        """Shows the pairs of the dataset, and which images are none, if this model is shown control images or a folder is set."""
        session = self.session
        values, dataset = session.values, session.bench.state.facts.dataset
        first = SHOWN[0]
        is_used = session.scope.shows(first, session.bench.state.draft.source_of(first))
        show(self.widget, bool(values["dataset.path"]) and is_used)
        self.widget.children[0].description = f"{TITLE}{said(values)}"
        self.needed.show_text(needed(session.scope.controls))
        is_lacking = session.scope.controls.least and not values[first]
        if is_lacking and self._opened_for != values["model.path"]:
            # Once for each model that cannot be trained without them: whoever closes the group is not shown it again.
            self._opened_for = values["model.path"]
            self.widget.unfold()
            self.settings.show()
        found = dataset if dataset is not None and dataset.controls else None
        self.counts.show_text(counted(found) if found is not None else "")
        self.unmatched.show_text(unmatched(found) if found is not None else "")
        pairs = paired(found) if found is not None else []
        files = tuple((image.path, *(each.path for each in controls)) for image, controls in pairs)
        if files != self._files:
            self._files = files
            self.pairs.show_images([tile for image, controls in pairs for tile in _row(image, controls)])


def needed(controls: Controls) -> str:
    """What a model is shown for each image, as a sentence."""
    if not controls.most:
        return ""
    many = f"up to {controls.most} control images" if controls.most > 1 else "a control image"
    if not controls.least:
        return f"This model can also be trained with {many} for each image, of the same name."
    many = f"{controls.least} to {controls.most} control images" if controls.most > controls.least else many
    return f"This model edits images. For each image it needs {many} of the same name: what it is shown, such as the image before the edit."


def paired(dataset: Dataset) -> list[tuple[DatasetImage, list[DatasetImage]]]:
    """The first images that have all their control images, with these."""
    whole = (image for image in dataset.images if all(image.name in each for each in dataset.controls))
    return [(image, [each[image.name] for each in dataset.controls]) for image in islice(whole, PAIRS_SHOWN)]


def _row(image: DatasetImage, controls: Sequence[DatasetImage]) -> list[Shown]:
    row = f"{image.name}: {image.caption or 'no instruction'}"
    many = len(controls) > 1
    shown = [
        Shown(each.path, f"Control image {at}" if many else "Control image", row) for at, each in enumerate(controls, 1)
    ]
    return [Shown(image.path, "Target", row), *shown]


def counted(dataset: Dataset) -> str:
    """How many pairs there are, and how many of them are shown."""
    pairs = sum(all(image.name in each for each in dataset.controls) for image in dataset.images)
    first = f" The first {PAIRS_SHOWN} are shown." if pairs > PAIRS_SHOWN else ""
    word = "pair" if pairs == 1 else "pairs"
    many = f" of one image and {len(dataset.controls)} control images" if len(dataset.controls) > 1 else " of images"
    return f"{pairs:,} {word}{many}. The caption is the instruction.{first}"


def unmatched(dataset: Dataset) -> str:
    """The images without a control image, and the control images without an image; "" if all have one."""
    parts = [
        f"{image_folders.counted(len(names))} {what}: {_named(names)}."
        for names, what in (
            (dataset.unpaired, "without a control image"),
            (dataset.unused, "of the control images not used"),
        )
        if names
    ]
    return " ".join(parts)


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
    return f"{', '.join(names[:NAMED])}{more}"


def said(values: Mapping[str, Any]) -> str:
    """The folders that are set, for the title of the group; "" if none is."""
    names = [printable(Path(path).name, 40) for each in CONTROLS if (path := values[f"dataset.{each}"])]
    return f": {', '.join(names)}" if names else ""

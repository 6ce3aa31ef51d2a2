"""Figures of the dataset: sizes and shapes, what is cut off in training, how long captions are, and which views are missing."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from trainer_ui.boundary import attempt
from trainer_ui.components.action_list import Act, ActionList, Item
from trainer_ui.explaining import helped
from trainer_ui.formatting import Pairs, Paragraph, show
from trainer_ui.panels.card import fold
from trainer_ui.widgets import Text, VBox, Widget

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from trainer_core.curation.coverage import Covered
    from trainer_core.curation.placements import Placement
    from trainer_core.curation.statistics import Figures, Range
    from trainer_ui.dataset_session import DatasetSession, Read

CROPPED, LONG = "cropped", "long"
STEP = 64
"""The usual step of the sides of buckets, in pixels."""
MOST_SHAPES = 8


@dataclass(frozen=True)
class Counted:
    """What was counted: figures, the images that lose much, the captions that are too long, and the views that tags name."""

    figures: Figures
    much: tuple[Placement, ...]
    too_long: Mapping[str, str]
    """What of a caption is not read, by the name of its image."""
    tokens: str
    views: tuple[Covered, ...]


class FiguresPanel:
    """The figures, which are counted when the group is open. `see_only` shows images, with a title."""

    def __init__(self, session: DatasetSession, see_only: Callable[[str, Collection[str]], object]) -> None:
        self.session, self._see_only = session, see_only
        self.counted: Counted | None = None
        self._asked: object = None
        self.fold = fold(session, "Sizes, shapes and captions in figures", self._make)
        self.widget = VBox([Paragraph("Figures", "heading"), self.fold], classes=("easel-card", "easel-counted"))
        self.content: tuple[Widget, ...] = ()

    def _make(self) -> tuple[Widget, ...]:
        handler = self.session.handler
        self.resolution = Text(
            description="Resolution of the training", value=str(self.session.resolution), continuous_update=False
        )
        self.resolution.observe(handler(self._resize), "value")
        self.pairs = Pairs()
        self.list = ActionList("What is worth a look", handler(self._show))
        field = helped(self.resolution, "The side of the square with the same area, in pixels: 512, 768, 1024.")
        self.content = (field, self.pairs, self.list)
        return self.content

    def _resize(self, text: str) -> None:
        number = int(text) if text.strip().isdecimal() else 0
        if 64 <= number <= 4096:
            self.session.resolution = number
        else:
            self.session.note("The resolution is a number of pixels from 64 to 4096.")
            self.resolution.value = str(self.session.resolution)

    def show(self) -> None:
        """Shows the figures, and counts them again if the dataset was read again."""
        session, read = self.session, self.session.read
        show(self.widget, read is not None)
        asked = (read and id(read.dataset), session.resolution, session.engine)
        if not self.content or read is None:
            return
        if asked != self._asked:
            self._asked = asked
            work = partial(self._count, read, asked)
            threading.Thread(target=attempt, args=(work, session.show_soon), name="easel-figures", daemon=True).start()
        if self.counted is not None:
            self.pairs.show_pairs(pairs(self.counted))
            self.list.show_items(_items(self.counted))

    def _count(self, read: Read, asked: object) -> None:
        found = counted(read, self.session.engine, self.session.resolution)
        with self.session.lock:
            if asked == self._asked:
                self.counted = found
        self.session.show_unasked()

    def _show(self, told: tuple[str, str]) -> None:
        found = self.counted
        if found is None:
            return
        if told[0] == CROPPED:
            self._see_only("much is cut off", [one.name for one in found.much])
        else:
            self._see_only("the caption is too long", list(found.too_long))


def counted(read: Read, engine: str, resolution: int) -> Counted:
    """Counts everything that is shown."""
    from trainer_core.curation import coverage, placements, statistics, token_meter
    from trainer_core.datasets import bucket_places
    from trainer_core.engines import registry

    manifest = (registry.get(engine) if engine else registry.first()).manifest
    made = bucket_places.way(manifest.dataset)
    meter = token_meter.of_model(None)
    captions = {one.name: one.caption for one in read.dataset.images if one.caption}
    cut = {name: token_meter.cut(text, meter).tag for name, text in captions.items()}
    placed = placements.placements(read.dataset, made, resolution, STEP) if made else []
    return Counted(
        statistics.figures(read.dataset, meter.count),
        tuple(one for one in placed if one.lost >= placements.MUCH),
        {name: tag for name, tag in cut.items() if tag},
        token_meter.why_estimated(meter),
        tuple(coverage.covered(list(captions.values()))),
    )


def pairs(found: Counted) -> list[tuple[str, str]]:
    """The figures in lines."""
    figures = found.figures
    shapes = ", ".join(f"{name}: {count:,}" for name, count in figures.shapes[:MOST_SHAPES])
    rows = [
        ("Megapixels", _range(figures.megapixels, "{:.2f}")),
        ("Shorter side", _range(figures.shorter_side, "{:.0f} px")),
        ("Shapes", shapes),
        ("Tokens of captions", f"{_range(figures.tokens, '{:.0f}')}{f'; {found.tokens}' if found.tokens else ''}"),
    ]
    rows += [
        (group.title, f"{', '.join(f'no {name}' for name in group.gaps)}, by the tags")
        for group in found.views
        if group.gaps
    ]
    rows += [
        ("Always together", f"{one} and {other} ({count:,} captions): the model cannot tell them apart")
        for one, other, count in figures.pairs[:5]
    ]
    return [(name, text) for name, text in rows if text]


def _range(one: Range | None, form: str) -> str:
    if one is None:
        return ""
    least, middle, most = (form.format(value) for value in (one.least, one.middle, one.most))
    return least if least == most else f"{least} to {most}, mostly about {middle}"


def _items(found: Counted) -> list[Item]:
    items = []
    if found.much:
        worst = found.much[0]
        items.append(
            Item(
                CROPPED,
                f"A quarter or more is cut off from {len(found.much):,} {'image' if len(found.much) == 1 else 'images'}",
                f"The most: {worst.name}, {worst.lost:.0%}",
                acts=(Act("see", "Show", "Show the images from which much is cut off"),),
            )
        )
    if found.too_long:
        name, tag = next(iter(found.too_long.items()))
        number = len(found.too_long)
        items.append(
            Item(
                LONG,
                f"{number:,} {'caption is' if number == 1 else 'captions are'} longer than the text encoder reads at once",
                f"{name}: from “{tag}” on",
                acts=(Act("see", "Show", "Show the images with captions that are too long"),),
            )
        )
    return items

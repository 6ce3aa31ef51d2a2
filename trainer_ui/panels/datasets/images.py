"""All images of the dataset: filter, order, choosing, and what is done with the chosen ones."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from trainer_core.text import printable
from trainer_ui.components.image_list import CAPTIONED, KEEP, REJECT, STOPS, UNSEEN, WARNING, Heard, ImageList, Tile
from trainer_ui.dataset_list import CHOSEN
from trainer_ui.dataset_session import told
from trainer_ui.explaining import explanation
from trainer_ui.formatting import Paragraph, hint, show
from trainer_ui.panels.card import row
from trainer_ui.widgets import Box, Button, Dropdown, Text, ToggleButton, VBox

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from trainer_core.curation.catalogue import Entry
    from trainer_core.curation.selections import Choice
    from trainer_ui.dataset_session import DatasetSession

QUICK = (("All", ""), ("No caption", "is:uncaptioned"), ("Problems", "problem:any"), ("Kept", "is:keep"), ("Rejected", "is:reject"))  # fmt: skip
"""Filters with a button, as (words, expression)."""
FILTER_HELP = (
    'Words are looked for in names and captions. A field looks closer: tag:hat, caption:"red hat", name:beach*, width:<768, '
    "mp:>=1, aspect:>2, tags:<3, problem:any, is:uncaptioned, is:keep, is:reject. Combine them with and, or, not and ( ); "
    "a minus sign means not: -tag:hat."
)  # fmt: skip
NOTHING_OPEN = "No dataset is open yet."
NOTHING_FITS = "No image fits the filter."
NOTHING_THERE = "There is no image in this folder yet."


class ImagesPanel:
    """The list of images with its filter, and the actions for the chosen ones."""

    def __init__(self, session: DatasetSession) -> None:
        self.session = session
        handler = session.handler
        self.filter = Text(
            description="Filter", placeholder="words, tag:hat, width:<768, is:uncaptioned …", continuous_update=False
        )
        self.filter.observe(handler(session.list.set_filter), "value")
        self.quick = [ToggleButton(description=words, classes=("easel-chip",)) for words, _ in QUICK]
        for button, (_, expression) in zip(self.quick, QUICK, strict=True):
            button.observe(handler(lambda _, expression=expression: session.list.set_filter(expression)), "value")
        self.sort = Dropdown(description="Order", options=[("Name", "name")], value="name")
        self.sort.observe(handler(lambda key: session.list.set_sort(key, descending=session.list.descending)), "value")
        self.turn = ToggleButton(description="Reverse order", classes=("easel-chip",))
        self.turn.observe(handler(lambda down: session.list.set_sort(session.list.sort, descending=down)), "value")
        self.only = Button(classes=("easel-small", "easel-chip", "mod-active"))
        self.only.on_click(handler(lambda _: session.list.show_only("", ())))
        self.wrong = Paragraph("", "small", "note", role="status")
        self.count = Paragraph("", "muted", "small", "grow", role="status")
        self.list = ImageList(
            "Images of the dataset",
            Heard(handler(self._choose), handler(self._go), handler(self._mark), self._fails),
        )
        self.chosen = ChosenBar(session)
        fields = Box([self.filter, explanation(FILTER_HELP), self.sort, self.turn], classes=("easel-filter-line",))
        self.widget = VBox(
            [fields, row(*self.quick, self.only, self.count), self.wrong, self.chosen.widget, self.list],
            classes=("easel-card", "easel-images"),
        )
        self._entries: object = None
        self._tiles: dict[str, tuple[Entry, Tile]] = {}
        self._version = -1

    def show(self) -> None:
        """Shows the images that the filter leaves."""
        from trainer_core.curation import filtering

        session = self.session
        show(self.widget, session.root is not None)
        if self.filter.value != session.list.filter:
            self.filter.value = session.list.filter
        for button, (_, expression) in zip(self.quick, QUICK, strict=True):
            if button.value != (session.list.filter == expression):
                button.value = session.list.filter == expression
        options = [(f"{title[:1].upper()}{title[1:]}", key) for key, (title, _) in filtering.SORTS.items()]
        if tuple(self.sort.options) != tuple(options):
            self.sort.options = options
        if self.sort.value != session.list.sort:
            self.sort.value = session.list.sort
        self.wrong.show_text(session.list.error, "danger")
        title = f"Only: {session.list.only[0]} \N{MULTIPLICATION SIGN}" if session.list.only is not None else ""
        if self.only.description != title:
            self.only.description = printable(title, 120)
            hint(self.only, "Shows all images again" if title else "")
        show(self.only, bool(title))
        self._show_images()
        self.count.show_text(_counted(session))
        self.chosen.show()

    def _show_images(self) -> None:
        session = self.session
        self.list.empty = NOTHING_OPEN if session.root is None else NOTHING_FITS if session.entries else NOTHING_THERE
        if self._entries is not session.entries or self._version != session.version:
            anew = self._version != session.version
            self._entries, self._version = session.entries, session.version
            root = session.root
            made = {} if anew else self._tiles
            # Most images are the same as before: only one of thousands was marked or captioned.
            self._tiles = {
                one.path: known if (known := made.get(one.path)) and known[0] is one else (one, tile(session, one))
                for one in (session.entries if root is not None else ())
            }
            self.list.show_images([each for _, each in self._tiles.values()], anew=anew)
        self.list.show_order([session.list.number(one.path) for one in session.list.shown])
        self.list.choose(session.list.number(path) for path in session.list.chosen)
        self.list.show_current(session.list.number(session.list.current) if session.list.current else -1)

    def _choose(self, numbers: frozenset[int]) -> None:
        self.session.list.choose(path for number in numbers if (path := self.session.list.path_of(number)))

    def _mark(self, asked: tuple[int, Choice]) -> None:
        number, choice = asked
        if path := self.session.list.path_of(number):
            self.session.mark([path], choice)

    def _go(self, number: int) -> None:
        if path := self.session.list.path_of(number):
            self.session.list.current = path

    def _fails(self, numbers: Sequence[int]) -> None:
        """Decodes the images that cannot be shown, and reads the dataset again if one of them stops an engine."""
        from trainer_core.curation import scores

        session = self.session
        with session.lock:
            root, known = session.root, {session.list.path_of(number) for number in numbers}
            # What a scan has found already is not looked for again.
            paths = [one.path for one in session.entries if one.path in known and not _stops(one.defects)]
        if root is not None and any(_stops(look.info.defects) for look in scores.measured(root, paths).values()):
            session.look()


class ChosenBar:
    """How many images are chosen, and what can be done with them."""

    def __init__(self, session: DatasetSession) -> None:
        self.session = session
        handler = session.handler
        self.count = Paragraph("", "grow", "small", role="status")
        self.everything = Button(description="Choose all shown", classes=("easel-small", "easel-quiet"))
        self.everything.on_click(handler(lambda _: session.list.choose(one.path for one in session.list.shown)))
        self.nothing = Button(description="Choose none", classes=("easel-small", "easel-quiet"))
        self.nothing.on_click(handler(lambda _: session.list.choose(())))
        self.keep = Button(description="Keep", classes=("easel-small",))
        self.keep.on_click(handler(lambda _: session.mark(session.list.chosen, "keep")))
        self.reject = Button(description="Reject", classes=("easel-small",))
        self.reject.on_click(handler(lambda _: session.mark(session.list.chosen, "reject")))
        self.away = Button(description="Move out", classes=("easel-small",))
        hint(self.away, "Takes them and their captions out of the dataset. Undo brings them back.")
        self.away.on_click(handler(lambda _: self._move_out()))
        self.aside = Button(classes=("easel-small",))
        hint(self.aside, "They get a folder beside the dataset, so that no engine trains them. Undo brings them back.")
        self.aside.on_click(handler(lambda _: self._set_aside()))
        self.name = Text(placeholder="name of a selection", continuous_update=False)
        self.save = Button(description="Save as selection", classes=("easel-small",))
        self.save.on_click(handler(lambda _: self._save()))
        self.acts = Box([self.keep, self.reject, self.away], classes=("easel-row",))
        self.saves = Box([self.name, self.save], classes=("easel-row", "easel-enters"))
        self.widget = Box(
            [self.count, self.everything, self.nothing, self.aside, self.acts, self.saves],
            classes=("easel-row", "easel-chosen-bar"),
        )

    def show(self) -> None:
        """Shows what is chosen."""
        session = self.session
        number = len(session.list.chosen)
        hidden = number - len(session.list.chosen & {one.path for one in session.list.shown})
        more = f", {hidden:,} of them not shown" if hidden else ""
        self.count.show_text(
            f"{number:,} chosen{more}" if number else "Choose images with Space, or with a click on their corner."
        )
        for one in (self.nothing, self.acts, self.saves):
            show(one, bool(number))
        rejected = len(self._rejected())
        self.aside.description = f"Set {rejected:,} rejected aside"
        show(self.aside, bool(rejected))
        show(self.widget, bool(session.entries))

    def _rejected(self) -> list[str]:
        return [one.path for one in self.session.entries if one.choice == "reject"]

    def _set_aside(self) -> None:
        if self.session.root is not None:
            work = partial(_set_aside, self.session.root, self._rejected(), self.session.extension)
            self.session.drafts.save_all()
            self.session.do("Setting the rejected images aside.", work)

    def _move_out(self) -> None:
        """Takes the chosen images out of the dataset; undo brings them back."""
        from trainer_core.curation import taking_out

        session = self.session
        if session.root is None:
            return
        found = [one.path for one in session.list.of(CHOSEN)]
        changes = taking_out.changes(session.root, found, session.extension)
        images = f"{len(found):,} {'image' if len(found) == 1 else 'images'}"
        session.apply("move-out", f"Move {images} out of the dataset", changes)

    def _save(self) -> None:
        from trainer_core.curation import selections

        session = self.session
        if session.root is None:
            return
        paths = [one.path for one in session.entries if one.path in session.list.chosen]
        selections.keep(session.root, self.name.value, paths)
        session.note(f"The selection “{self.name.value.strip()}” has {len(paths):,} images.")
        self.name.value = ""
        session.look()


def _set_aside(root: Path, paths: list[str], ending: str) -> str:
    from trainer_core.curation import taking_out

    found = taking_out.set_aside(root, paths, ending)
    return f"{told(found.edit)} They are in {found.folder}." if found is not None else "Nothing was changed."


def _stops(keys: Sequence[str]) -> bool:
    from trainer_core.datasets import defects

    return bool(defects.stops(tuple(keys)))


def tile(session: DatasetSession, entry: Entry) -> Tile:
    """What the tile of an image shows."""
    from trainer_core.datasets.defects import DEFECTS

    found = [DEFECTS[key] for key in entry.defects if key in DEFECTS]
    severities = {one.severity for one in found}
    bits = (
        (CAPTIONED, bool(entry.caption.strip())),
        (STOPS, "error" in severities),
        (WARNING, "warning" in severities),
        (KEEP, entry.choice == "keep"),
        (REJECT, entry.choice == "reject"),
        (UNSEEN, not entry.is_trained and "error" not in severities),
    )
    note = "; ".join(one.reason for one in found if one.severity != "info")
    path = session.root / entry.path if session.root is not None else None
    assert path is not None  # there are no entries without a dataset
    stamp = hash((entry.time, entry.bytes)) & 0x7FFFFFFF
    flags = sum(bit for bit, is_set in bits if is_set)
    return Tile(session.list.number(entry.path), path, entry.path, flags, note, stamp)


def _counted(session: DatasetSession) -> str:
    if session.read is None:
        return "Reading the images…" if session.root is not None else ""
    whole, shown = len(session.entries), len(session.list.shown)
    return f"{shown:,} of {whole:,} images" if shown != whole else f"{whole:,} {'image' if whole == 1 else 'images'}"

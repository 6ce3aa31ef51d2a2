"""Which images of a dataset are listed, in which order, which are chosen, and which one is shown large."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING

from trainer_core.errors import DatasetError

if TYPE_CHECKING:
    from trainer_core.curation.catalogue import Entry

ALL, WITHOUT, SHOWN, CHOSEN = "all", "without", "shown", "chosen"
"""Which images an action is about."""


class DatasetList:
    """The images of one dataset as they are listed. An image has a number, which it keeps while the dataset is open."""

    def __init__(self) -> None:
        self.entries: tuple[Entry, ...] = ()
        """All images of the dataset."""
        self.selections: tuple[str, ...] | None = None
        """The names of the selections that there are; None if that is not known."""
        self.filter, self.error = "", ""
        """The expression of the filter, and why it cannot be understood."""
        self.only: tuple[str, frozenset[str]] | None = None
        """Images that are shown and no others, with a title, such as those of a finding; the filter applies to them, too."""
        self.sort, self.descending = "name", False
        self.shown: tuple[Entry, ...] = ()
        """The images that the filter leaves, in order."""
        self.chosen: frozenset[str] = frozenset()
        """The paths of the images that the user has chosen."""
        self.current = ""
        """The path of the image that is shown large."""
        self._numbers: dict[str, int] = {}
        self._paths: list[str] = []

    def clear(self) -> None:
        """Lists nothing, as when another dataset is opened. The order stays."""
        self.entries = self.shown = ()
        self.filter = self.error = self.current = ""
        self.only, self.chosen, self.selections = None, frozenset(), None
        self._numbers, self._paths = {}, []

    def take(self, entries: Iterable[Entry], selections: Iterable[str] = ()) -> None:
        """Lists these images, which were read again, with the names of the selections."""
        self.entries, self.selections = tuple(entries), tuple(selections)
        paths = {one.path for one in self.entries}
        self.chosen &= paths
        for path in sorted(paths):
            self.number(path)
        self._apply()

    def put(self, entries: Iterable[Entry]) -> None:
        """Changes what is known of the same images; their order stays until they are read again."""
        self.entries = tuple(entries)
        by_path = {one.path: one for one in self.entries}
        self.shown = tuple(by_path[one.path] for one in self.shown if one.path in by_path)

    def number(self, path: str) -> int:
        """The number of an image."""
        if path not in self._numbers:
            self._numbers[path] = len(self._paths)
            self._paths.append(path)
        return self._numbers[path]

    def path_of(self, number: int) -> str:
        """The path of the image with this number; "" if there is none."""
        return self._paths[number] if 0 <= number < len(self._paths) else ""

    def of(self, scope: str) -> Sequence[Entry]:
        """The images that an action is about, by ALL, WITHOUT (a caption), SHOWN or CHOSEN."""
        if scope == WITHOUT:
            return [one for one in self.entries if not (one.caption or "").strip()]
        if scope == CHOSEN:
            return [one for one in self.entries if one.path in self.chosen]
        return self.shown if scope == SHOWN else self.entries

    def set_filter(self, text: str) -> None:
        """Shows only the images that fit; an expression that cannot be understood changes nothing, and the error says why."""
        self.filter = text.strip()
        self._apply()

    def show_only(self, title: str, paths: Collection[str]) -> None:
        """Shows these images and no others; without a title, all of them again."""
        self.only = (title, frozenset(paths)) if title else None
        self.filter = ""
        self._apply()

    def set_sort(self, key: str, *, descending: bool) -> None:
        """Shows the images in this order."""
        self.sort, self.descending = key, descending
        self._apply()

    def choose(self, paths: Iterable[str]) -> None:
        """Chooses these images, and no other one."""
        self.chosen = frozenset(paths)

    def go(self, by: int) -> None:
        """Shows the image that is so many places further in the list."""
        paths = [one.path for one in self.shown]
        if paths:
            at = paths.index(self.current) if self.current in paths else 0
            self.current = paths[min(max(at + by, 0), len(paths) - 1)]

    def _apply(self) -> None:
        from trainer_core.curation import filtering

        try:
            fits = filtering.parse(self.filter, selections=self.selections)
        except DatasetError as error:
            self.error = str(error)
            return
        self.error = ""
        only = self.only[1] if self.only is not None else None
        found = [one for one in self.entries if (only is None or one.path in only) and fits.matches(one)]
        before = [one.path for one in self.shown]
        self.shown = tuple(filtering.ordered(found, self.sort, self.descending))
        self._keep_place(before)

    def _keep_place(self, before: list[str]) -> None:
        """An image that is not shown any more leaves its place to the next one that is."""
        there = {one.path for one in self.shown}
        if self.current in there:
            return
        at = before.index(self.current) if self.current in before else 0
        after = (path for path in (*before[at:], *reversed(before[:at])) if path in there)
        self.current = next(after, self.shown[0].path if self.shown else "")

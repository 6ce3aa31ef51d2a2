"""The dataset that an app shows: its images, what is filtered and chosen of them, and every change of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer_core.errors import DatasetError
from trainer_ui.boundary import attempt
from trainer_ui.job_session import JobSession
from trainer_ui.views import Views

if TYPE_CHECKING:
    from trainer_core.curation.catalogue import Entry
    from trainer_core.curation.journal import Change
    from trainer_core.curation.records import Edit
    from trainer_core.curation.selections import Choice
    from trainer_core.datasets.rules import DatasetRules
    from trainer_core.datasets.scan import Dataset

ALL, SHOWN, CHOSEN = "all", "shown", "chosen"
"""Which images an action is about."""


@dataclass(frozen=True)
class Read:
    """What was read of a dataset, all at one time."""

    root: Path
    dataset: Dataset
    entries: tuple[Entry, ...] = ()
    selections: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    edits: tuple[Edit, ...] = ()
    undoable: Edit | None = None
    redoable: Edit | None = None


class DatasetSession(Views):
    """A dataset, and what is filtered, chosen and done with it. What takes long is done in a thread, one thing at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.jobs: JobSession[Any] = JobSession(self)
        self.root: Path | None = None
        self.read: Read | None = None
        """What was last read; None while no dataset is open, or the first reading goes on."""
        self.error = ""
        """Why the dataset cannot be read; "" if it can."""
        self.version = 0
        """Counts the datasets that were opened."""
        self.engine = ""
        """The engine whose rules are used; "" for the first one."""
        self.trigger = ""
        self.extension = ".txt"
        self.filter, self.filter_error = "", ""
        self.only: tuple[str, frozenset[str]] | None = None
        """Images that are shown and no others, with a title, such as those of a finding; the filter applies to them, too."""
        self.thresholds: Mapping[str, float] = {}
        """The thresholds of quality that the user has moved, by finding."""
        self.sort, self.descending = "name", False
        self.shown: tuple[Entry, ...] = ()
        """The images that the filter leaves, in order."""
        self.chosen: frozenset[str] = frozenset()
        """The paths of the images that the user has chosen."""
        self.current = ""
        """The path of the image that is shown large."""
        self.copies: Mapping[str, str] = {}
        """The better copy of each image that has one, as far as copies were looked for."""
        self.doing = ""
        """What is being done now, as a sentence; "" if nothing is."""
        self.share: float | None = None
        """How much of it is done, from 0 to 1; None if that is not known."""
        self.drafts: dict[str, tuple[str, str]] = {}
        """Captions that are being typed and were not saved yet, and what their files had then, by the path of the image."""
        self._numbers: dict[str, int] = {}
        self._paths: list[str] = []
        self._is_reading = self._reads_again = False

    # ---- the dataset ----
    def open(self, folder: Path) -> None:
        """Shows the dataset in this folder.

        Raises:
            DatasetError: there is no such folder.
        """
        if not folder.is_dir():
            raise DatasetError(f"There is no folder {folder}.")
        from trainer_core.curation import known

        self.save_drafts()
        known.remember(folder)
        with self.lock:
            self.root, self.read, self.error = folder, None, ""
            self.version += 1
            self.filter = self.filter_error = self.current = ""
            self.only = None
            self.shown, self.chosen, self.copies = (), frozenset(), {}
            self._numbers, self._paths = {}, []
        self.look()

    @property
    def entries(self) -> tuple[Entry, ...]:
        """The images of the dataset."""
        return self.read.entries if self.read is not None else ()

    def entry(self, path: str) -> Entry | None:
        """The image with this path; None if there is none."""
        return next((one for one in self.entries if one.path == path), None)

    def number(self, path: str) -> int:
        """The number of an image in this session."""
        if path not in self._numbers:
            self._numbers[path] = len(self._paths)
            self._paths.append(path)
        return self._numbers[path]

    def path_of(self, number: int) -> str:
        """The path of the image with this number; "" if there is none."""
        return self._paths[number] if 0 <= number < len(self._paths) else ""

    def entries_in(self, scope: str) -> Sequence[Entry]:
        """The images that an action is about, by ALL, SHOWN or CHOSEN."""
        if scope == CHOSEN:
            return [one for one in self.entries if one.path in self.chosen]
        return self.shown if scope == SHOWN else self.entries

    # ---- reading ----
    def look(self) -> None:
        """Reads the dataset again in a thread, and shows it."""
        with self.lock:
            if self.root is None:
                return
            if self._is_reading:
                self._reads_again = True
                return
            self._is_reading = True
        threading.Thread(target=self._look, name="easel-dataset", daemon=True).start()

    def _look(self) -> None:
        while True:
            with self.lock:
                root, rules, self._reads_again = self.root, self.rules(), False
            reasons: list[str] = []
            found: list[Read] = []
            if root is not None:
                attempt(lambda: found.append(self._read(root, rules)), reasons.append)  # noqa: B023
            with self.lock:
                if self.root == root:
                    self.error = reasons[0] if reasons else ""
                    if found:
                        self._take(found[0])
                if not self._reads_again:
                    self._is_reading = False
                    break
        self.show_unasked()

    def rules(self) -> DatasetRules:
        """How the chosen engine reads a folder."""
        from trainer_core.engines import registry

        return (registry.get(self.engine) if self.engine else registry.first()).manifest.dataset

    def _read(self, root: Path, rules: DatasetRules) -> Read:
        from trainer_core.curation import authors, catalogue, scores, selections
        from trainer_core.curation.journal import Journal
        from trainer_core.datasets import scan

        journal = Journal(root)
        journal.recover()
        looks = scores.stored(root)
        found = scan.scan(root, rules, self.extension, self.trigger, quick=True, inspect=scores.inspector(root, looks))
        entries = catalogue.of(found, scores=scores.of(looks), authors=authors.of(root), copies=self.copies)
        kept = selections.read(root)
        return Read(
            root,
            found,
            tuple(entries),
            kept.named,
            tuple(journal.edits()),
            journal.undoable(),
            journal.redoable(),
        )

    def _take(self, found: Read) -> None:
        self.read = found
        paths = {one.path for one in found.entries}
        self.chosen &= paths
        for path in sorted(paths):
            self.number(path)
        self._filter()

    # ---- what is shown and chosen ----
    def set_filter(self, text: str) -> None:
        """Shows only the images that fit; an expression that cannot be understood changes nothing, and the error says why."""
        self.filter = text.strip()
        self._filter()

    def show_only(self, title: str, paths: Collection[str]) -> None:
        """Shows these images and no others; without a title, all of them again."""
        self.only = (title, frozenset(paths)) if title else None
        self.filter = self.filter_error = ""
        self._filter()

    def set_sort(self, key: str, *, descending: bool) -> None:
        """Shows the images in this order."""
        self.sort, self.descending = key, descending
        self._filter()

    def _filter(self) -> None:
        from trainer_core.curation import filtering

        try:
            fits = filtering.parse(self.filter)
        except DatasetError as error:
            self.filter_error = str(error)
            return
        self.filter_error = ""
        only = self.only[1] if self.only is not None else None
        found = [one for one in self.entries if (only is None or one.path in only) and fits.matches(one)]
        self.shown = tuple(filtering.ordered(found, self.sort, self.descending))
        if self.current not in {one.path for one in self.shown}:
            self.current = self.shown[0].path if self.shown else ""

    def choose(self, paths: Iterable[str]) -> None:
        """Chooses these images."""
        self.chosen = frozenset(paths)

    def go(self, by: int) -> None:
        """Shows the image that is so many places further in the list."""
        paths = [one.path for one in self.shown]
        if paths:
            at = paths.index(self.current) if self.current in paths else 0
            self.current = paths[min(max(at + by, 0), len(paths) - 1)]

    def mark(self, paths: Collection[str], choice: Choice) -> None:
        """Keeps or rejects images; the same again takes it back."""
        from trainer_core.curation import selections

        if self.root is None:
            return
        same = all(one.choice == choice for one in self.entries if one.path in paths)
        wanted: Choice = "" if same and choice else choice
        selections.choose(self.root, paths, wanted)
        self._put({path: {"choice": wanted} for path in paths})

    def _put(self, values: Mapping[str, Mapping[str, Any]]) -> None:
        """Changes what is known of images at once; the order stays until the dataset is read again."""
        if self.read is None:
            return
        made = tuple(
            replace(one, **values[one.path]) if one.path in values else one  # type: ignore[arg-type]
            for one in self.read.entries
        )
        by_path = {one.path: one for one in made}
        self.read = replace(self.read, entries=made)
        self.shown = tuple(by_path[one.path] for one in self.shown if one.path in by_path)

    # ---- changes ----
    def do(self, doing: str, work: Callable[[], str | None]) -> None:
        """Does something slow in a thread; `work` returns a sentence for the user. The dataset is read again afterwards."""
        with self.lock:
            if self.doing:
                self.note(f"Wait until this is done: {self.doing}")
                return
            self.doing, self.share = doing, None
        threading.Thread(target=self._do, args=(work,), name="easel-dataset-work", daemon=True).start()

    def _do(self, work: Callable[[], str | None]) -> None:
        said: list[str] = []

        def run() -> None:
            said.append(work() or "")

        attempt(run, said.append)
        with self.lock:
            self.doing, self.share = "", None
        self.show_unasked(said[-1] if said else "")
        self.look()

    def went_on(self, done: int, whole: int) -> None:
        """Keeps how much is done; called by slow work."""
        self.share = done / whole if whole else None

    def apply(self, name: str, title: str, changes: Sequence[Change], author: str = "user") -> None:
        """Makes an edit in a thread, and says what it has changed."""
        if self.root is None or not changes:
            self.note("There is nothing to change.")
            return
        self.do(f"{title}.", partial(self._apply, self.root, name, title, changes, author))

    def _apply(self, root: Path, name: str, title: str, changes: Sequence[Change], author: str) -> str:
        from trainer_core.curation.journal import Journal

        return told(Journal(root).apply(name, title, changes, author))

    def undo(self, number: int | None = None) -> None:
        """Takes back an edit, or the newest."""
        self._take_back(lambda journal: journal.undo(number), "Undoing.")

    def redo(self) -> None:
        """Makes the edit again that was taken back last."""
        self._take_back(lambda journal: journal.redo(), "Redoing.")

    def _take_back(self, act: Callable[[Any], Edit | None], doing: str) -> None:
        from trainer_core.curation.journal import Journal

        if (root := self.root) is None:
            return
        self.save_drafts()
        self.do(doing, lambda: told(act(Journal(root))))

    # ---- captions ----
    def save_caption(self, path: str, text: str, base: str) -> None:
        """Writes the caption of one image, as an edit of its own; an equal one is not written.

        Raises:
            DatasetError: the file has something else than `base` now, so that writing would lose it; the text stays a draft.
        """
        from trainer_core.curation import captions
        from trainer_core.curation.journal import Journal

        entry = self.entry(path)
        if self.root is None or entry is None:
            return
        place = entry.caption_path or captions.place_of(path, self.extension)
        change = captions.written(self.root, place, text)
        now = captions.text_of(self.root, place)
        if change is not None and now is not None and captions.plain(now) != base:
            self.drafts[path] = text, base
            raise DatasetError(
                f"The caption of {path} was changed meanwhile, so yours was not saved over it.",
                "It is still in the field: change it once more to save it.",
            )
        self.drafts.pop(path, None)
        if change is None:
            return
        edit = Journal(self.root).apply("caption", f"Caption of {path}", [change])
        if edit is not None and edit.refused:
            raise DatasetError(f"The caption was not saved: {edit.refused[0][1]}.", "Look at it again, then change it.")
        self._put({path: {"caption": " ".join(text.split("\n")), "caption_path": place, "author": "user"}})
        self.look()

    def save_drafts(self) -> None:
        """Saves what was typed, such as before another dataset is opened."""
        for path, (text, base) in list(self.drafts.items()):
            attempt(partial(self.save_caption, path, text, base), self.note)


def told(edit: Edit | None) -> str:
    """What an edit has done, in a sentence."""
    if edit is None:
        return "Nothing was changed."
    files = f"{edit.files:,} {'file' if edit.files == 1 else 'files'}"
    left = (
        f" Left as they were: {', '.join(f'{path} ({why})' for path, why in edit.refused[:3])}" if edit.refused else ""
    )
    more = f" and {len(edit.refused) - 3} more" if len(edit.refused) > 3 else ""
    return f"{edit.title}: {files} changed. Undo takes it back.{left}{more}{'.' if left else ''}"

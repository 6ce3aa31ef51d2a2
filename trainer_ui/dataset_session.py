"""The dataset that an app shows: how it is read, and every change of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer_core.errors import DatasetError
from trainer_ui.boundary import attempt
from trainer_ui.dataset_drafts import Drafts
from trainer_ui.dataset_list import DatasetList
from trainer_ui.job_session import JobSession
from trainer_ui.views import Views

if TYPE_CHECKING:
    from trainer_core.curation.catalogue import Entry
    from trainer_core.curation.journal import Change
    from trainer_core.curation.records import Edit
    from trainer_core.curation.selections import Choice
    from trainer_core.curation.unpacking import Going
    from trainer_core.datasets.scan import Dataset


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
    originals: frozenset[int] = frozenset()
    """The imports of which the originals of converted images are kept, by the number of the edit."""


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
        self.resolution = 1024
        """The resolution of the training for which it is shown what is cut off, in pixels."""
        self.thresholds: Mapping[str, float] = {}
        """The thresholds of quality that the user has moved, by finding."""
        self.list = DatasetList()
        """Which images are listed, and which are chosen."""
        self.drafts = Drafts(self)
        """The captions that are being typed."""
        self.copies: Mapping[str, str] = {}
        """The better copy of each image that has one, as far as copies were looked for."""
        self.doing = ""
        """What is being done now, as a sentence; "" if nothing is."""
        self.share: float | None = None
        """How much of it is done, from 0 to 1; None if that is not known."""
        self.cancelled = threading.Event()
        """Set when what is being done shall stop."""
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

        self.drafts.save_all()
        known.remember(folder)
        with self.lock:
            self.root, self.read, self.error = folder, None, ""
            self.version += 1
            self.copies = {}
            self.list.clear()
        self.look()

    @property
    def entries(self) -> tuple[Entry, ...]:
        """The images of the dataset."""
        return self.list.entries

    def entry(self, path: str) -> Entry | None:
        """The image with this path; None if there is none."""
        return next((one for one in self.entries if one.path == path), None)

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
                root, self._reads_again = self.root, False
            reasons: list[str] = []
            found: list[Read] = []
            if root is not None:
                attempt(partial(self._read_into, found, root), reasons.append)
            with self.lock:
                if self.root == root:
                    self.error = reasons[0] if reasons else ""
                    if found:
                        self.read = found[0]
                        self.list.take(found[0].entries, found[0].selections)
                if not self._reads_again:
                    self._is_reading = False
                    break
        self.show_unasked()

    def _read_into(self, found: list[Read], root: Path) -> None:
        found.append(self._read(root))

    def _read(self, root: Path) -> Read:
        from trainer_core.curation import authors, catalogue, originals, scores, selections
        from trainer_core.curation.journal import Journal
        from trainer_core.datasets import scan
        from trainer_core.engines import registry

        rules = (registry.get(self.engine) if self.engine else registry.first()).manifest.dataset
        journal = Journal(root)
        journal.recover()
        looks = scores.stored(root)
        found = scan.scan(root, rules, self.extension, self.trigger, quick=True, inspect=scores.inspector(root, looks))
        entries = catalogue.of(found, scores=scores.of(looks), authors=authors.of(root), copies=self.copies)
        kept = selections.read(root)
        if kept.notes:
            self.note(" ".join(kept.notes))
        return Read(
            root,
            found,
            tuple(entries),
            kept.named,
            tuple(journal.edits()),
            journal.undoable(),
            journal.redoable(),
            frozenset(originals.numbers(root)),
        )

    def mark(self, paths: Collection[str], choice: Choice) -> None:
        """Keeps or rejects images; the same again takes it back."""
        from trainer_core.curation import selections

        if self.root is None:
            return
        same = all(one.choice == choice for one in self.entries if one.path in paths)
        wanted: Choice = "" if same and choice else choice
        selections.choose(self.root, paths, wanted)
        self.put({path: {"choice": wanted} for path in paths})

    def put(self, values: Mapping[str, Mapping[str, Any]]) -> None:
        """Changes what is known of images at once, by path; the dataset is not read for it."""
        self.list.put(
            replace(one, **values[one.path]) if one.path in values else one  # type: ignore[arg-type]
            for one in self.entries
        )

    # ---- changes ----
    def do(self, doing: str, work: Callable[[], str | None]) -> None:
        """Does something slow in a thread; `work` returns a sentence for the user. The dataset is read again afterwards."""
        with self.lock:
            if self.doing:
                self.note(f"Wait until this is done: {self.doing}")
                return
            self.doing, self.share = doing, None
            self.cancelled.clear()
        threading.Thread(target=self._do, args=(work,), name="easel-dataset-work", daemon=True).start()

    def _do(self, work: Callable[[], str | None]) -> None:
        said: list[str] = []

        def run() -> None:
            said.append(work() or "")

        attempt(run, said.append)
        with self.lock:
            self.doing, self.share = "", None
            # At once: whoever sees that nothing is done any more also sees that the dataset is being read.
            self.look()
        self.show_unasked(said[-1] if said else "")

    @property
    def going(self) -> Going:
        """What slow work is given: it tells how much is done, and hears that it shall stop."""
        from trainer_core.curation.unpacking import Going

        return Going(self.went_on, self.cancelled)

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

    def bring_back(self, number: int) -> None:
        """Puts the originals of an import in the place of their converted forms."""
        from trainer_core.curation import originals

        if (root := self.root) is not None:
            self.drafts.save_all()
            self.do("Bringing the originals back.", lambda: told(originals.bring_back(root, number)))

    def _take_back(self, act: Callable[[Any], Edit | None], doing: str) -> None:
        from trainer_core.curation.journal import Journal

        if (root := self.root) is None:
            return
        self.drafts.save_all()
        self.do(doing, lambda: told(act(Journal(root))))


def told(edit: Edit | None) -> str:
    """What an edit has done, in a sentence."""
    if edit is None:
        return "Nothing was changed."
    files = f"{edit.files:,} {'file' if edit.files == 1 else 'files'}"
    left = (
        f" Left as they were: {', '.join(f'{path} ({why})' for path, why in edit.refused[:3])}" if edit.refused else ""
    )
    more = f" and {len(edit.refused) - 3} more" if len(edit.refused) > 3 else ""
    back = (
        "Undo takes it back."
        if edit.undoes is None
        else "Redo makes it again."
        if edit.title.startswith("Undo")
        else ""
    )
    return f"{edit.title}: {files} changed. {back}{left}{more}{'.' if left else ''}".strip()

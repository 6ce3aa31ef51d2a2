"""The files that the file uploader shows, where new ones go, and every change of them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from trainer_core.errors import FilesError
from trainer_ui.boundary import attempt
from trainer_ui.job_session import JobSession
from trainer_ui.views import Views

if TYPE_CHECKING:
    from trainer_core.keeping.bounds import Spot
    from trainer_core.keeping.carrying import Going
    from trainer_core.keeping.listing import Listing, Size, Space
    from trainer_core.keeping.trash import Deleted


class FilesSession(Views):
    """The folder that is shown, what is chosen in it, and where new files go. What takes long is done in a thread, one thing at a time."""

    def __init__(self) -> None:
        super().__init__()
        from trainer_core.keeping import bounds

        self.jobs: JobSession[Any] = JobSession(self)
        self.target: Spot = bounds.spot("models")
        """The folder that new files go into."""
        self.folder: Spot = self.target
        """The folder that is shown."""
        self.listing: Listing | None = None
        self.error = ""
        """Why the folder cannot be shown; "" if it can."""
        self.version = 0
        """Counts what was read."""
        self.chosen: tuple[str, ...] = ()
        """The names of the files and folders that are chosen in the folder."""
        self.size: Size | None = None
        """How much is in what is chosen; None while it is counted, or nothing is chosen."""
        self.uses = ""
        """What uses them, as sentences; "" if nothing does."""
        self.what = ""
        """What the one chosen file is, if it is a model."""
        self.deleted: tuple[Deleted, ...] = ()
        self.disk: Space | None = None
        self.doing = ""
        """What is being done now, as a sentence; "" if nothing is."""
        self.share: float | None = None
        self.cancelled = threading.Event()
        self.is_stale = False
        """Whether files have arrived since the folder was read."""
        self._choice = 0

    # ---- reading ----
    def open(self, folder: Spot) -> None:
        """Shows a folder.

        Raises:
            FilesError: it cannot be shown; what was shown stays.
        """
        from trainer_core.keeping import listing

        found = listing.look(folder)
        with self.lock:
            self.folder, self.listing, self.error = folder, found, ""
            self.chosen, self.size, self.uses, self.what = (), None, "", ""
            self.version += 1
            self.disk = listing.space(folder)

    def look(self) -> None:
        """Reads the folder and the trash again; a folder that is gone gives way to the nearest one that is there."""
        from trainer_core.keeping import listing, trash

        with self.lock:
            folder = self.folder
            kept = self.chosen
            self.is_stale = False
            while True:
                try:
                    self.open(folder)
                    break
                except FilesError as error:
                    if not folder.parts:
                        self.listing, self.error = None, str(error)
                        self.version += 1
                        break
                    folder = folder.parent
            names = {one.name for one in self.listing.entries} if self.listing is not None else set()
            self.deleted = tuple(trash.listed())
            self.disk = listing.space(self.folder)
            self.choose(tuple(name for name in kept if name in names))

    def choose(self, names: tuple[str, ...]) -> None:
        """Chooses files and folders by their names; how much they are and what uses them is found in a thread."""
        with self.lock:
            self.chosen, self.size, self.uses, self.what = names, None, "", ""
            self._choice += 1
            number = self._choice
        if names:
            work = partial(attempt, partial(self._measure, number, self.spots), self.note)
            threading.Thread(target=work, name="easel-measure", daemon=True).start()

    def _measure(self, number: int, spots: tuple[Spot, ...]) -> None:
        from trainer_core.keeping import listing, recognising, uses
        from trainer_core.keeping.listing import Size

        whole = sum((listing.measure(spot) for spot in spots), Size(0, 0))
        told = uses.told(uses.of(*spots))
        model = (
            recognising.recognise(spots[0]) if len(spots) == 1 and listing.kind_of(spots[0].name) == "model" else None
        )
        with self.lock:
            if number != self._choice:
                return
            self.size, self.uses, self.what = whole, told, model.told if model is not None else ""
        self.show_soon()

    def look_soon(self) -> None:
        """Reads the folder again in a thread, and shows it."""
        with self.lock:
            self.is_stale = False

        def work() -> None:
            attempt(self.look, self.note)
            self.show_unasked()

        threading.Thread(target=work, name="easel-look", daemon=True).start()

    @property
    def spots(self) -> tuple[Spot, ...]:
        """What is chosen."""
        return tuple(self.folder.child(name) for name in self.chosen)

    # ---- changes ----
    def do(self, doing: str, work: Callable[[Going], str]) -> None:
        """Does something slow in a thread; `work` returns a sentence for the user. The folder is read again afterwards."""
        with self.lock:
            if self.doing:
                self.note(f"Wait until this is done: {self.doing}")
                return
            self.doing, self.share = doing, None
            self.cancelled.clear()
        threading.Thread(target=self._do, args=(work,), name="easel-files", daemon=True).start()

    def _do(self, work: Callable[[Going], str]) -> None:
        from trainer_core.keeping.carrying import Going

        said: list[str] = []
        attempt(lambda: said.append(work(Going(self._went_on, self.cancelled))), said.append)
        with self.lock:
            self.doing, self.share = "", None
            attempt(self.look, said.append)
        self.show_unasked(said[0] if said else "")

    def _went_on(self, done: int, total: int) -> None:
        self.share = done / total if total else None

    def is_free(self) -> None:
        """Nothing, if nothing is being done.

        Raises:
            FilesError: something is.
        """
        if self.doing:
            raise FilesError(f"Wait until this is done: {self.doing}", "")

"""The results that are shown: of which run, which checkpoint is chosen, and what is done with it in a thread."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from trainer_core import places
from trainer_core.jobs.state import FINAL_STATES
from trainer_core.training import choice
from trainer_core.training.results import Made, Results, results_of
from trainer_core.training.run import Run, list_runs
from trainer_ui.boundary import attempt
from trainer_ui.panels.fetch import gigabytes

if TYPE_CHECKING:
    from trainer_ui.session import Session

MOST_RUNS = 50
"""So many runs can be chosen here; the history has all of them."""


def size_text(size_bytes: int) -> str:
    """A size as text: "186 MB", "14 kB"."""
    return gigabytes(size_bytes) if size_bytes >= 1e6 else f"{size_bytes / 1e3:.0f} kB"


class RunResults:
    """A run that has ended, its results, and the chosen checkpoint. `version` changes with everything that is shown."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.run: Run | None = None
        self.results = Results()
        self.step: int | None = None
        self.version = 0
        self.known: list[Run] = []
        """The runs that can be chosen, the newest first."""
        self.busy = ""
        """What is being done in a thread, in a few words; "" for nothing."""
        self._wanted: Run | None = None
        self._listed: object = None
        self._read: object = None

    @property
    def made(self) -> Made | None:
        """The chosen checkpoint."""
        return self.results.of_step(self.step) if self.step is not None else None

    def want(self, run: Run | None) -> None:
        """Shows this run from now on; None for the one that Easel chooses."""
        self._wanted = run

    def look(self) -> None:
        """Chooses the run: the one that was wanted, else that in Watch if it has ended, else the newest that has."""
        self._list()
        shown = self.session.run
        ended = shown if shown is not None and shown.state in FINAL_STATES else None
        run = self._wanted or ended or next(iter(self.known), None)
        state = (run.folder.path, run.state) if run is not None else None
        if state == self._read:
            return
        changed = self.run is None or run is None or self.run.folder.path != run.folder.path
        self._read, self.run = state, run
        if changed:
            self.step = None
        self.read()

    def read(self) -> None:
        """Reads the results again, after something was decided or copied."""
        self.version += 1
        run = self.run
        # What was read before stays until the new results are there.
        if run is None or not attempt(lambda: self._take(results_of(run)), self.session.note):
            self.results = Results()

    def _take(self, found: Results) -> None:
        self.results = found
        if self.made is None:
            one = found.offered or (found.made[-1] if found.made else None)
            self.step = one.step if one else None

    def _list(self) -> None:
        """Lists the runs that have ended; read again only when there is another one, or when the one in Watch has changed."""
        try:
            names = frozenset(path.name for path in places.runs().iterdir())
        except OSError:
            names = frozenset()
        shown = self.session.run
        seen = names, (shown.folder.path, shown.state) if shown is not None else None
        if seen != self._listed:
            self._listed = seen
            self.known = [run for run in list_runs(places.runs()) if run.state in FINAL_STATES][:MOST_RUNS]

    def choose(self, step: int) -> None:
        """Chooses the checkpoint of a step."""
        if self.results.of_step(step) is not None:
            self.step, self.version = step, self.version + 1

    def prefer(self, step: int) -> None:
        """Marks the checkpoint of a step as the best; takes the mark away from the one that has it."""
        if self.run is None or (one := self.results.of_step(step)) is None:
            return
        choice.prefer(self.run.folder, None if one.is_best else step)
        self.step = step
        self.read()

    def work(self, words: str, action: Callable[[], str]) -> None:
        """Does something in a thread; its sentence, or the reason why it failed, becomes the message."""
        if self.busy:
            self.session.note(f"Wait until this is done: {self.busy}.")
            return
        self.busy = words
        self.version += 1
        threading.Thread(target=self._work, args=(action,), name="easel-result", daemon=True).start()

    def _work(self, action: Callable[[], str]) -> None:
        said = [""]

        def act() -> None:
            said[0] = action()

        attempt(act, lambda sentence: said.__setitem__(0, sentence))
        with self.session.lock:
            self.busy = ""
            self.read()
        self.session.show_soon(said[0])

"""How far files are on their way to or from a trainer: written by whoever transfers them, and read by the watch of the run."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

from trainer_core import events
from trainer_core.events import Transfer
from trainer_core.files import write_whole
from trainer_core.jobs.folder import json_text
from trainer_core.models.downloads.progress import Progress
from trainer_core.remote.runs.known import read_json
from trainer_core.remote.runs.notes import FOLDER

FILE = "transfer.json"
EVERY_S = 1.0
"""How often it is written down at most. A transfer that takes less is not told."""
STALE_S = 15.0
"""If nothing has arrived for so long, no rate is known any more."""


class Transfers:
    """Writes down what is on its way for one run. `clock` counts seconds."""

    def __init__(self, run: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._path, self._clock = run / FOLDER / FILE, clock
        self._what, self._due = "", 0.0

    @contextlib.contextmanager
    def of(self, what: str) -> Iterator[Callable[[Progress], None]]:
        """Meanwhile the files that `what` names are on their way; what is yielded is told how far they are."""
        self._what, self._due = what, self._clock() + EVERY_S
        try:
            yield self.tell
        finally:
            self.over()

    def tell(self, progress: Progress) -> None:
        """Writes down how far the files are, if that is due; nothing if none are on their way."""
        now = self._clock()
        if not self._what or now < self._due:
            return
        self._due = now + EVERY_S
        # A rate of 0 was not measured yet.
        told = Transfer(self._what, progress.done_bytes, progress.total_bytes, progress.bytes_per_s or None)
        # A full disk, or a folder that is not made yet: then it is not told.
        with contextlib.suppress(OSError):
            write_whole(self._path, json_text(events.to_dict(told)))

    def over(self) -> None:
        """Nothing is on its way any more."""
        self._what = ""
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)


def read(run: Path) -> Transfer:
    """What is on its way for a run now; one of nothing if nothing is."""
    path = run / FOLDER / FILE
    found = events.from_dict(read_json(path) or {})
    if not isinstance(found, Transfer):
        return Transfer()
    with contextlib.suppress(OSError):
        if time.time() - path.stat().st_mtime > STALE_S:
            return dataclasses.replace(found, bytes_per_s=None)
    return found


def fetched(name: str) -> str:
    """What is on its way when a file of the trainer is fetched."""
    return f"fetching {PurePosixPath(name).name}"

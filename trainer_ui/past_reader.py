"""Reads what the history shows in a thread: the runs, the queue, the trash and their sizes. A page must not wait for a thousand runs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from trainer_core import places
from trainer_core.errors import JobError
from trainer_core.jobs.queueing import entries, occupancy
from trainer_core.jobs.queueing.entries import Queue
from trainer_core.jobs.state import FINAL_STATES
from trainer_core.training import past_cache, trash
from trainer_core.training.history import PastRun, history
from trainer_core.training.run import Run
from trainer_core.training.trash import Trashed
from trainer_ui.boundary import attempt

if TYPE_CHECKING:
    from trainer_ui.session import Session

LEAST_S = 0.5
"""The pause between two looks that nobody asked for."""


@dataclass(frozen=True)
class Going:
    """How far a run is that has not ended: its step, the number of all steps, and the seconds that are left, if known."""

    step: int
    total: int
    left_s: float | None
    gpu: str = ""
    occupies: bool = False
    """Whether it runs, and does not wait."""


@dataclass(frozen=True)
class Seen:
    """What was read: the runs, how far those are that have not ended, the queue, sizes in bytes by run, and the trash."""

    runs: tuple[PastRun, ...] = ()
    going: Mapping[str, Going] = field(default_factory=dict)
    queue: Queue = field(default_factory=Queue)
    queue_problem: str = ""
    sizes: Mapping[str, int] = field(default_factory=dict)
    trash: tuple[Trashed, ...] = ()
    profiles: Mapping[str, str] = field(default_factory=dict)
    """The titles of profiles by id."""

    def run(self, name: str) -> PastRun | None:
        """The run with this folder name; None if it is gone."""
        return next((run for run in self.runs if run.run == name), None)


class PastReader:
    """The newest of what was read. `look` reads again in a thread, which shows the views if something has changed."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.seen: Seen | None = None
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._again = self._closed = False
        self._ended_s = 0.0
        self._handles: dict[str, Run] = {}
        self._sizes: dict[str, tuple[object, int]] = {}
        self._trash: tuple[object, tuple[Trashed, ...]] = (None, ())

    def look(self, now: bool = False) -> None:
        """Reads in a thread; without `now` only if the last look was some time ago."""
        with self._starting:
            if self._thread is not None:
                self._again = self._again or now
                return
            if self._closed or (not now and time.monotonic() - self._ended_s < LEAST_S):
                return
            self._thread = threading.Thread(target=self._look, name="easel-history", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Ends the reading."""
        self._closed = True

    def _look(self) -> None:
        goes_on = True
        while goes_on:
            attempt(self._read, self.session.note)
            with self._starting:
                goes_on, self._again = self._again and not self._closed, False
                if not goes_on:
                    self._thread, self._ended_s = None, time.monotonic()

    def _read(self) -> None:
        runs = tuple(history())
        queue, problem = _queue()
        known = self.seen.sizes if self.seen is not None else {}
        profiles = _profiles()
        going = self._going(runs)
        self._publish(Seen(runs, going, queue, problem, known, self._trash[1], profiles))
        # The sizes take longest, so the runs are shown before.
        sizes = {run.run: self._size(run) for run in runs if not self._closed}
        self._publish(Seen(runs, going, queue, problem, sizes, self._trashed(), profiles))

    def _publish(self, seen: Seen) -> None:
        if seen != self.seen and not self._closed:
            self.seen = seen
            self.session.show_soon()

    def _going(self, runs: tuple[PastRun, ...]) -> dict[str, Going]:
        """The runs that have not ended. A handle is kept for each, which reads only the new events."""
        names = {run.run for run in runs if run.state not in FINAL_STATES}
        self._handles = {name: handle for name, handle in self._handles.items() if name in names}
        found = {}
        for name in names:
            try:
                handle = self._handles.setdefault(name, Run.attach(places.runs() / name))
                summary = handle.summary
                gpu, occupies = occupancy.gpu_of(handle.folder), occupancy.goes_on(handle)
                found[name] = Going(summary.step, summary.total, summary.eta_s if summary.step else None, gpu, occupies)
            except JobError:
                continue
        return found

    def _size(self, run: PastRun) -> int:
        path = places.runs() / run.run
        state = (past_cache.state_of(path), _time(path), _time(path / "output"), run.state)
        known = self._sizes.get(run.run)
        if known is None or known[0] != state or run.state not in FINAL_STATES:
            self._sizes[run.run] = known = state, trash.size_bytes(path)
        return known[1]

    def _trashed(self) -> tuple[Trashed, ...]:
        state = _time(places.trash())
        if self._trash[0] != state:
            self._trash = state, tuple(trash.trashed())
        return self._trash[1]


def in_thread(session: Session, work: Callable[[], object], after: Callable[[], object] = lambda: None) -> None:
    """Does slow work of a button in a thread; an error becomes the message. `after` follows, then all views are shown."""

    def run() -> None:
        attempt(work, session.note)
        with session.lock:
            after()
            session.show_unasked()

    threading.Thread(target=run, name="easel-work", daemon=True).start()


def _queue() -> tuple[Queue, str]:
    try:
        return entries.read(), ""
    except JobError as error:
        return Queue(), str(error)


def _profiles() -> dict[str, str]:
    from trainer_core import profiles

    return {name: profile.title for name, profile in profiles.known().items()}


def _time(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0

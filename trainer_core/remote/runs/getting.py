"""Fetches the files of a remote run in a thread, so that events, log and stops do not wait for large files."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from trainer_core.errors import EaselError, JobError
from trainer_core.jobs.folder import DiskError
from trainer_core.remote.runs import mirror
from trainer_core.remote.runs.carrier import Carrier, FileThere, is_passing
from trainer_core.remote.runs.fetching import DamagedError
from trainer_core.remote.runs.known import Known
from trainer_core.remote.runs.mirror import Mirror
from trainer_core.remote.runs.silence import Silence

TIMES = 5
"""How often a file is fetched that arrives damaged each time, or that the trainer refuses."""
FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 60.0


class Getting:
    """Fetches what the trainer has and this machine has not, with a carrier of its own that `connect` makes.

    Only the thread that made it calls its methods. `done` is called when files have arrived.
    """

    def __init__(
        self,
        run: Path,
        connect: Callable[[], Carrier],
        known: Known,
        copied: Mirror,
        done: Callable[[], None],
        patience_s: float,
    ) -> None:
        self._run, self._connect, self._known, self._mirror = run, connect, known, copied
        self._done, self._patience_s = done, patience_s
        self._work: _Work | None = None
        self._there: dict[str, FileThere] = {}
        self._failed: dict[str, int] = {}
        self._left_out: set[str] = set()
        self._silence = Silence()
        self._not_before = 0.0
        self._wait_s = FIRST_WAIT_S

    @property
    def is_busy(self) -> bool:
        """Whether a file is being fetched."""
        return self._work is not None

    def look(self, carrier: Carrier, *, has_ended: bool) -> bool:
        """Starts fetching what is due; returns whether everything of a run that `has_ended` is here.

        Raises:
            EaselError: the trainer does not say what it has; or a file could not be fetched for as long as that is tried.
        """
        if self._work is not None:
            self._take(self._work)
            self._mirror.arrived(self._there, has_ended=False)
            if self._work.thread.is_alive():
                return False
            work, self._work = self._work, None
            self._take(work)
            self._judge(work)
        if not has_ended and not self._mirror.awaits():
            return False
        there = self._there = dict(carrier.files())
        self._mirror.arrived(there, has_ended=has_ended)
        due = [name for name in self._mirror.due(there, all_of_them=has_ended) if name not in self._left_out]
        if due and time.monotonic() >= self._not_before:
            self._work = _Work(self._run, self._connect, {name: there[name] for name in due}, self._done)
            self._work.thread.start()
        return has_ended and not due

    def _take(self, work: _Work) -> None:
        """Notes the files that have arrived."""
        while work.arrived:
            name, tag = work.arrived.pop(0)
            self._known.fetched[name] = tag
            self._failed.pop(name, None)
            self._silence.answered()
            self._wait_s = FIRST_WAIT_S

    def _judge(self, work: _Work) -> None:
        """Decides what to do about a file that could not be fetched."""
        error, name = work.error, work.name
        if error is None:
            return
        now = time.monotonic()
        is_damaged, is_full = isinstance(error, DamagedError), isinstance(error, DiskError)
        if is_damaged or is_full:
            self._known.notice(str(error))
        if is_damaged or not (is_full or is_passing(error)):
            self._failed[name] = self._failed.get(name, 0) + 1
        if self._failed.get(name, 0) >= TIMES:
            self._left_out.add(name)
            self._wait_s = FIRST_WAIT_S
            self._known.notice(f"{name} was not fetched, and stays on the trainer. {error}")
            return
        self._silence.failed()
        if self._silence.is_longer_than(self._patience_s):
            raise JobError(f"{name} could not be fetched for a long time. {error.message}", error.hint)
        self._not_before = now + self._wait_s
        self._wait_s = min(self._wait_s * 2, LONGEST_WAIT_S)


class _Work:
    """Files that are being fetched, one after the other, up to the first that cannot be: `name`, for the reason in `error`."""

    def __init__(
        self, run: Path, connect: Callable[[], Carrier], files: Mapping[str, FileThere], done: Callable[[], None]
    ) -> None:
        self.name, self.arrived = "", list[tuple[str, str]]()
        self.error: EaselError | None = None
        self._run, self._connect, self._files, self._done = run, connect, files, done
        self.thread = threading.Thread(target=self._fetch, name="getting", daemon=True)

    def _fetch(self) -> None:
        carrier = None
        try:
            carrier = self._connect()
            for name, there in self._files.items():
                self.name = name
                mirror.fetch(self._run, carrier, name, there)
                self.arrived.append((name, there.tag))
        except EaselError as error:
            self.error = error
        finally:
            if carrier is not None:
                carrier.close()
            self._done()

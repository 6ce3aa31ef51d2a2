"""The lock of an app: of several kernels that have the same app open, one starts jobs."""

from __future__ import annotations

import contextlib
import os
import threading

from trainer_core import places
from trainer_core.files import write_whole
from trainer_core.jobs.folder import json_object, json_text
from trainer_core.jobs.processes import Identity


class AppLock:
    """A file that names the process which may start the jobs of an app.

    A process that has ended, or that runs on another machine with the same home, holds no lock. Where the file cannot be
    written there is no lock: jobs can be started.
    """

    def __init__(self, app: str) -> None:
        self.path = places.home() / "apps" / f"{app}.json"
        self._own = Identity.of(os.getpid())
        self._turn = threading.Lock()
        self._is_given_up = False

    @property
    def holder(self) -> Identity | None:
        """The live process that holds the lock; None when there is none."""
        try:
            found = Identity.from_dict(json_object(self.path.read_bytes()))
        except OSError:
            return None
        return found if found is not None and found.alive else None

    def acquire(self, take_over: bool = False) -> bool:
        """Takes the lock if no other process holds it, or from the other process; returns whether this process holds it.

        Once it was released it is not taken again: a thread may still show an app that was closed.
        """
        with self._turn:
            return not self._is_given_up and self._acquired(take_over)

    def _acquired(self, take_over: bool) -> bool:
        holder = self.holder
        if self._own is None or holder == self._own:
            return True
        if holder is not None and not take_over:
            return False
        with contextlib.suppress(OSError):
            write_whole(self.path, json_text(self._own.as_dict()))
        return True

    def release(self) -> None:
        """Gives the lock up for good, and frees it if this process holds it."""
        with self._turn:
            self._is_given_up = True
            if self.holder == self._own:
                with contextlib.suppress(OSError):
                    self.path.unlink(missing_ok=True)

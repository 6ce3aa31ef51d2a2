"""What the user has set, written into a file while it changes. Not: what is in it."""

from __future__ import annotations

import atexit
import datetime as dt
import threading
import time
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

AnyForm = TypeVar("AnyForm")
EVERY_S = 1.0
"""How often a form is written at most."""


class Keeper(Generic[AnyForm]):
    """Writes the newest form into its file with `put`, in a thread, at most once a second, and when the program ends."""

    def __init__(self, path: Path, say: Callable[[str], None], put: Callable[[Path, AnyForm], object]) -> None:
        self.path, self._say, self._put = path, say, put
        self._waiting: AnyForm | None = None
        self._timer: threading.Timer | None = None
        self._lock, self._writing = threading.Lock(), threading.Lock()
        self._written_s = -EVERY_S
        self._has_failed = False
        atexit.register(self.write)

    def keep(self, form: AnyForm) -> None:
        """Writes this form soon."""
        with self._lock:
            self._waiting = form
            if self._timer is None:
                pause = max(0.0, self._written_s + EVERY_S - time.monotonic())
                self._timer = threading.Timer(pause, self.write)
                self._timer.daemon = True
                self._timer.start()

    def write(self) -> None:
        """Writes now what waits to be written."""
        with self._writing:
            with self._lock:
                form, self._waiting, self._timer = self._waiting, None, None
                self._written_s = time.monotonic()
            if form is None:
                return
            try:
                self._put(self.path, form)
            except OSError as error:
                if not self._has_failed:
                    self._say(f"Your settings cannot be kept for the next time: {error.strerror or error}.")
                self._has_failed = True

    def close(self) -> None:
        """Writes what waits to be written; nothing is written from then on."""
        self.write()
        atexit.unregister(self.write)


def when(saved: dt.datetime) -> str:
    """The local time, with the date unless it is today's."""
    now = dt.datetime.now().astimezone()
    return saved.strftime("%H:%M" if saved.date() == now.date() else "%Y-%m-%d, %H:%M")

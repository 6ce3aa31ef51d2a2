"""The models on this machine, searched in a thread: the first scan of a thousand files takes seconds."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from trainer_ui.boundary import attempt

if TYPE_CHECKING:
    from collections.abc import Callable

    from trainer_core.models.library import Library
    from trainer_ui.views import Views


class Shelf:
    """The result of the last scan of the library, and whether a scan is in progress. `take` gets it, with the lock held."""

    def __init__(self, views: Views, take: Callable[[Library], object]) -> None:
        self.views, self._take = views, take
        self.library: Library | None = None
        self.said = ""
        self._cancelled = threading.Event()
        self._thread: threading.Thread | None = None
        self._again = False
        self._starting = threading.Lock()

    @property
    def is_looking(self) -> bool:
        """Whether a scan is in progress."""
        return self._thread is not None and self._thread.is_alive()

    def look(self) -> None:
        """Scans the folders in a thread; files that have not changed since an earlier scan are not read again.

        During a scan, another one is queued: the first may already have passed the folder of a download that just finished.
        """
        with self._starting:
            self._again = self.is_looking
            if not self._again:
                self._thread = threading.Thread(target=self._look, name="easel-library", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """Cancels a scan that is in progress."""
        self._cancelled.set()

    def _look(self) -> None:
        goes_on = True
        while goes_on:
            self.said = ""
            attempt(self._scan, self._say)
            with self._starting:
                goes_on, self._again = self._again and not self._cancelled.is_set(), False
                self._thread = self._thread if goes_on else None
        if not self._cancelled.is_set():
            self.views.show_soon()

    def _scan(self) -> None:
        from trainer_core.models import library

        found = library.scan(cancelled=self._cancelled)
        if not self._cancelled.is_set():
            with self.views.lock:
                self.library = found
                self._take(found)

    def _say(self, sentence: str) -> None:
        self.said = sentence

"""The models on this machine, looked for in a thread: a first look into a thousand files takes seconds."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from trainer_ui.boundary import attempt

if TYPE_CHECKING:
    from trainer_core.library import Library
    from trainer_ui.session import Session


class Shelf:
    """The library as it was last seen, and whether it is being looked through."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.library: Library | None = None
        self.said = ""
        self._cancelled = threading.Event()
        self._thread: threading.Thread | None = None
        self._again = False
        self._starting = threading.Lock()

    @property
    def is_looking(self) -> bool:
        """Whether a scan is going on."""
        return self._thread is not None and self._thread.is_alive()

    def look(self) -> None:
        """Looks through the folders in a thread; what was read before and has not changed is not read again.

        Asked for while a scan goes on, it follows that scan: it may have passed the folder where a download has just come.
        """
        with self._starting:
            self._again = self.is_looking
            if not self._again:
                self._thread = threading.Thread(target=self._look, name="easel-library", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """Ends a scan that is going on."""
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
            self.session.show_soon()

    def _scan(self) -> None:
        from trainer_core import library

        found = library.scan(cancelled=self._cancelled)
        if not self._cancelled.is_set():
            with self.session.lock:
                self.library = found
                self.session.bench.use_library(found)

    def _say(self, sentence: str) -> None:
        self.said = sentence

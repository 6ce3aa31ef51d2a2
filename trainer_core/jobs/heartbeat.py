"""The sign of life that a supervisor gives: a small file that it writes every two seconds (read by `heard`)."""

from __future__ import annotations

import contextlib
import threading
import time

from trainer_core.jobs.folder import HEARTBEAT, JobFolder
from trainer_core.jobs.heard import FINISHING, Places
from trainer_core.jobs.journal import Journal
from trainer_core.jobs.moved import Place
from trainer_core.jobs.origin import boot_id, uptime_s

EVERY_S = 2.0
_BEHIND_S = 3.0
"""A watch may keep what it has read back for about a second, so an adopter starts that much before the last sign of life."""


class Heartbeat:
    """Writes the signs of life of one supervisor."""

    def __init__(self, folder: JobFolder, token: str, journal: Journal, place: Place | None = None) -> None:
        self._folder, self._token, self._journal, self._place = folder, token, journal, place
        self._doing = "running"
        self._count = 0
        self._next = 0.0
        self._before: list[tuple[float, Places]] = []
        self._start = journal.places
        self._ended = threading.Event()
        self.figures: dict[str, int | None] = {}
        """The largest use of memory so far, by its name in the result."""

    def beat(self, doing: str = "") -> bool:
        """Writes a sign of life if one is due, or if the supervisor does something else now; returns whether it did."""
        if self._place is not None:
            self._place.keep()
        now = time.monotonic()
        is_other = bool(doing) and doing != self._doing
        if now < self._next and not is_other:
            return False
        self._next, self._doing = now + EVERY_S, doing or self._doing
        self._before.append((now, self._journal.places))
        self._count += 1
        content = {
            "time": round(time.time(), 3),
            "uptime_s": round(uptime_s(), 3),
            "boot": boot_id(),
            "count": self._count,
            "doing": self._doing,
            "token": self._token,
            **self._behind(now),
            **self.figures,
        }
        # A full disk may have space again later, and must not end the job.
        with contextlib.suppress(OSError):
            self._folder.write(HEARTBEAT, content)
        return True

    def _behind(self, now: float) -> dict[str, int]:
        """The places that the watch had reached a few seconds ago."""
        old = [places for at, places in self._before if now - at >= _BEHIND_S]
        if old:
            self._start = old[-1]
            self._before = [each for each in self._before if now - each[0] < _BEHIND_S]
        return {"log": self._start.log, "events": self._start.events}

    def finishing(self) -> None:
        """Goes on in a thread of its own: while the output is checked and delivered, nothing else can."""
        self.beat(FINISHING)
        threading.Thread(target=self._go_on, name="easel-heartbeat", daemon=True).start()

    def close(self) -> None:
        """Ends the thread."""
        self._ended.set()

    def _go_on(self) -> None:
        while not self._ended.wait(EVERY_S):
            self.beat()

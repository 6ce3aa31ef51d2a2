"""How many requests an endpoint gets at once: fewer when it is busy, more again when it answers."""

from __future__ import annotations

import threading
import time

FIRST, MOST = 2, 4
FASTER_AFTER = 6
"""After so many answers in a row, one more request is sent at once."""
LONGEST_WAIT_S = 60.0


class Pace:
    """Lets a number of threads send at the same time, at most `most`. A busy server halves the number and is left alone for a while."""

    def __init__(self, most: int = MOST, first_wait_s: float = 1.0) -> None:
        self.limit = min(FIRST, max(1, most))
        self._most, self._first_wait_s = max(1, most), first_wait_s
        self._changed = threading.Condition()
        self._active = self._answers = self._refusals = 0
        self._not_before_s = 0.0

    def enter(self) -> None:
        """Waits for a turn."""
        with self._changed:
            while True:
                wait_s = self._not_before_s - time.monotonic()
                if wait_s <= 0 and self._active < self.limit:
                    self._active += 1
                    return
                self._changed.wait(wait_s if wait_s > 0 else None)

    def answered(self) -> None:
        """Ends a turn whose request was answered."""
        with self._changed:
            self._active -= 1
            self._refusals = 0
            self._answers += 1
            if self._answers >= FASTER_AFTER and self.limit < self._most:
                self.limit, self._answers = self.limit + 1, 0
            self._changed.notify_all()

    def failed(self) -> None:
        """Ends a turn whose request failed for good."""
        with self._changed:
            self._active -= 1
            self._changed.notify_all()

    def refused(self, wait_s: float | None) -> float:
        """Ends a turn whose request came too early; how long nothing is sent now, in seconds: `wait_s` if the server says it."""
        with self._changed:
            self._active -= 1
            self._answers = 0
            self.limit = max(1, self.limit // 2)
            own_s = self._first_wait_s * 2**self._refusals
            self._refusals = min(8, self._refusals + 1)
            pause_s = min(LONGEST_WAIT_S, own_s if wait_s is None else wait_s)
            self._not_before_s = max(self._not_before_s, time.monotonic() + pause_s)
            self._changed.notify_all()
            return pause_s

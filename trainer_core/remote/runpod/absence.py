"""When "there is no such thing" counts. One such answer may come from a proxy, or from a part of a service that has not heard of it."""

from __future__ import annotations

import time
from dataclasses import dataclass

GRACE_S = 90.0
"""For so long a service must say that it does not know a thing before that counts, in seconds."""


@dataclass
class Absence:
    """What one service has said of one thing. It lives as long as the process: the next one asks for as long again."""

    _since_s: float | None = None
    """By a clock that stands still while this machine sleeps."""

    def counts(self, grace_s: float) -> bool:
        """The service says now that there is no such thing; whether it has said nothing else for so long."""
        now = time.monotonic()
        if self._since_s is None:
            self._since_s = now
        return now - self._since_s >= grace_s

    def ends(self) -> None:
        """The service knows the thing."""
        self._since_s = None

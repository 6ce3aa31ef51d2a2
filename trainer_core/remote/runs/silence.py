"""For how long a trainer has not answered: only time counts in which this machine was awake, and asked in vain."""

from __future__ import annotations

import time
from collections.abc import Callable

from trainer_core.jobs.gauges.clocks import suspended_s

TIMES = 3
"""So many questions in turn must fail after this machine woke up, or the asking program was started, before a trainer is given up."""
SUSPENDED_S = 10.0
"""A shorter suspension changes nothing."""
MOST_BETWEEN_S = 1000.0
"""No question and the pause after it take longer: what is longer was a sleep that this system does not tell."""


class Silence:
    """Counts the seconds in which questions failed. `seconds` are those of an earlier program; `clock` stands still during a sleep."""

    def __init__(
        self,
        seconds: float = 0.0,
        *,
        clock: Callable[[], float] = time.monotonic,
        suspended: Callable[[], float] = suspended_s,
    ) -> None:
        self.seconds, self._clock, self._suspended = seconds, clock, suspended
        self._last: float | None = None
        self._slept = suspended()
        self._times = 0

    def failed(self) -> None:
        """A question has failed now."""
        now, slept = self._clock(), self._suspended()
        passed = 0.0 if self._last is None else max(0.0, now - self._last)
        if slept - self._slept >= SUSPENDED_S or passed > MOST_BETWEEN_S:
            self._times = 0
        self.seconds += min(passed, MOST_BETWEEN_S)
        self._last, self._slept = now, slept
        self._times += 1

    def answered(self) -> None:
        """A question was answered: everything begins anew."""
        self.seconds, self._last, self._times = 0.0, None, 0

    def is_longer_than(self, patience_s: float) -> bool:
        """Whether the trainer was asked for longer than this, and several times since this machine is awake."""
        return self.seconds > patience_s and self._times >= TIMES

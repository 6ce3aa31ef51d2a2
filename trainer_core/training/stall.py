"""Whether a training stands still: no step for much longer than a step usually takes. It is said, and ends nothing."""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Callable

from trainer_core.jobs.gauges.clocks import span

TRAINING = "training"
"""The phase in which steps follow each other; in others, such as sampling and saving, none is expected."""
TIMES = 10.0
"""A step that takes so many times as long as usual is late."""
LEAST_S = 120.0
"""Shorter pauses are normal: the end of an epoch, reading images, compiling for another size of image."""
FEWEST = 5
"""The number of steps that show what is usual."""
RECENT = 50
_GAP_S = 30.0
"""If this watch itself was not called for so long, the machine or this process stood still."""


class StallWatch:
    """Notices once that no step has come, and again only after the next step.

    Times are seconds on a clock that stands still while the machine is suspended.
    """

    def __init__(self) -> None:
        self._recent: deque[float] = deque(maxlen=RECENT)
        self._step = 0
        self._since = self._looked = 0.0
        self._is_plain = False
        self._said = False

    def step(self, step: int, now: float) -> None:
        """Notes that the engine has finished a step."""
        if step <= self._step:
            return
        if self._step and self._is_plain:
            self._recent.append((now - self._since) / (step - self._step))
        self._step, self._since, self._is_plain, self._said = step, now, True, False

    def look(self, now: float, phase: str, total: int, last_line: Callable[[], str]) -> str | None:
        """A sentence if the training stands still now. `total` is the number of steps; `last_line` what the engine printed last."""
        gap, self._looked = now - self._looked, now
        if gap >= _GAP_S:
            self._since += gap
        if phase != TRAINING:
            # Whatever is done now, the wait for the next step begins when it ends.
            self._is_plain, self._since = False, now
            return None
        if self._said or len(self._recent) < FEWEST or self._step >= total > 0:
            return None
        usual, waited = statistics.median(self._recent), now - self._since
        if waited < max(LEAST_S, TIMES * usual):
            return None
        self._said = True
        line = last_line().strip()
        printed = f" The engine printed last: {line:.200}" if line else ""
        return (
            f"No step has ended for {span(waited)}; a step usually takes {_pace(usual)}. The engine may wait for a slow disk, "
            f"or hang. If this lasts, stop the run.{printed}"
        )


def _pace(seconds: float) -> str:
    return span(seconds) if seconds >= 10 else f"{seconds:.1f} seconds" if seconds >= 0.1 else "less than 0.1 seconds"

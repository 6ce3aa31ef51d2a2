"""Whether the loss of a training has risen far above its best value and stays there. It is said, and ends nothing.

The loss of one step says little: with flow matching it depends mostly on the random time step. The median over many steps
is steady, and one very high loss does not move it.
"""

from __future__ import annotations

import bisect
import math
from collections import deque
from collections.abc import Iterable

from trainer_core.events import Step

WINDOW = 101
"""The number of steps of the median."""
TIMES = 3.0
"""How far the median must be above the lowest one so far."""
STAYS = 50
"""For how many steps in a row it must be so."""
FALLING = 0.9
"""A median that has fallen below this share of its value at the beginning of these steps is on its way back."""


class DivergenceWatch:
    """Takes the loss of each step and says once that the training diverges."""

    def __init__(self) -> None:
        self._window: deque[float] = deque()
        self._sorted: list[float] = []
        self._first = self._best = math.inf
        self._high = 0
        self._high_began = 0.0
        self._said = False

    def take(self, steps: Iterable[Step]) -> str | None:
        """A sentence if the training diverges at one of these steps, once."""
        said = [self._take(step) for step in steps if step.loss is not None and math.isfinite(step.loss)]
        return next((text for text in said if text), None)

    def _take(self, step: Step) -> str | None:
        assert step.loss is not None
        self._window.append(step.loss)
        bisect.insort(self._sorted, step.loss)
        if len(self._window) > WINDOW:
            del self._sorted[bisect.bisect_left(self._sorted, self._window.popleft())]
        if len(self._window) < WINDOW or self._said:
            return None
        median = self._sorted[WINDOW // 2]
        if math.isinf(self._first):
            self._first = median
        self._best = min(self._best, median)
        # A loss near zero can triple and still be good, so it must also be worse than at the beginning.
        if median <= max(TIMES * self._best, self._first) or median <= 0:
            self._high = 0
            return None
        self._high_began = median if not self._high else self._high_began
        self._high += 1
        if median < FALLING * self._high_began:
            self._high, self._high_began = 1, median
        if self._high < STAYS:
            return None
        self._said = True
        return (
            f"The training diverges: at step {step.step} the loss is about {median:.3g}, {median / self._best:.1f} times its lowest "
            f"value of {self._best:.3g}, and it does not fall. Usually the learning rate is too high. A checkpoint from before "
            "is probably better than the result."
        )

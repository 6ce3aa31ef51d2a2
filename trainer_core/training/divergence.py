"""Whether the loss of a training has risen far above its best value and stays there. It is said, and ends nothing.

The loss of one step says little: it depends mostly on the random time step, and is often ten times that of the step before.
So the geometric mean over many steps is used, which varies least with such values and which one very high loss does not move.
"""

from __future__ import annotations

import math
import statistics
from collections import deque
from collections.abc import Iterable

from trainer_core.events import Step
from trainer_core.text import plain_number

WINDOW = 101
"""The number of steps of the mean."""
TIMES = 3.0
"""How far the mean must at least be above the lowest one so far."""
DEVIATIONS = 8.0
"""The same in standard errors of the mean: more than chance brings in 50,000 steps, however much the loss varies."""
STAYS = 100
"""For how many steps in a row it must be so."""
FALLING = 0.9
"""A mean that has fallen below this share of its value at the beginning of these steps is on its way back."""


class DivergenceWatch:
    """Takes the loss of each step and says once that the training diverges."""

    def __init__(self) -> None:
        self._logs: deque[float] = deque(maxlen=WINDOW)
        self._first = math.inf
        self._best = math.inf
        self._spread = 0.0
        self._high = 0
        self._high_began = 0.0
        self._said = False

    def take(self, steps: Iterable[Step]) -> str | None:
        """A sentence if the training diverges at one of these steps, once."""
        return next((text for step in steps if (text := self._take(step))), None)

    def _take(self, step: Step) -> str | None:
        loss = step.loss
        if self._said or loss is None or not math.isfinite(loss) or loss <= 0:
            return None
        self._logs.append(math.log(loss))
        if len(self._logs) < WINDOW:
            return None
        mean = sum(self._logs) / WINDOW
        if math.isinf(self._first):
            self._first = mean
        if mean < self._best:
            self._best, self._spread = mean, statistics.pstdev(self._logs)
        far = max(math.log(TIMES), DEVIATIONS * self._spread / math.sqrt(WINDOW))
        # A loss near zero can triple and still be good, so it must also be worse than at the beginning.
        if not self._is_high(mean, max(self._best + far, self._first)):
            return None
        self._said = True
        now, best = math.exp(mean), math.exp(self._best)
        return (
            f"The training diverges: at step {step.step} the loss is about {plain_number(now)}, {now / best:,.1f} times its lowest value of "
            f"{plain_number(best)}, and it does not fall. Usually the learning rate is too high. A checkpoint from before is probably "
            "better than the result."
        )

    def _is_high(self, mean: float, limit: float) -> bool:
        """Whether the mean has been above the limit for long enough, without falling."""
        if mean <= limit:
            self._high = 0
            return False
        if not self._high or mean < self._high_began + math.log(FALLING):
            self._high, self._high_began = 0, mean
        self._high += 1
        return self._high >= STAYS

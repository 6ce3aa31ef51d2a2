"""The smoothed loss: one figure, which Watch, the history, a comparison and the command line show alike."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

SMOOTHEST = 0.02
"""The least share of a new value in the average."""


class Smoothed:
    """The moving average of a loss. It covers about the last tenth of the steps, so that that of a short run does not lag behind.

    trainer_ui/components/chart.js computes the same for its curve.
    """

    def __init__(self) -> None:
        self.value: float | None = None
        self._seen = 0

    def take(self, loss: float | None) -> float | None:
        """The average with one more value; one that is not known or not finite changes nothing."""
        if loss is not None and math.isfinite(loss):
            share = max(SMOOTHEST, 1 / (1 + self._seen * 0.1))
            self._seen += 1
            self.value = loss if self.value is None else self.value + share * (loss - self.value)
        return self.value


def smoothed(losses: Iterable[float]) -> Iterator[float]:
    """The average after each of these losses."""
    average = Smoothed()
    for loss in losses:
        if (value := average.take(loss)) is not None:
            yield value

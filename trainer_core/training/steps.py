"""Gives out exactly one `Step` for each optimizer step, in order, from sources that repeat, lag and skip."""

from __future__ import annotations

import math
from collections.abc import Iterator

from trainer_core.events import Step

NAN_STEPS = 5
"""A run is ended after this many steps in a row without a finite loss.

Once the weights contain a NaN, every later loss is NaN. A single bad batch with fp16 is different: the gradient scaler
skips it, and the next loss is finite again. Five steps in a row are certain, and waste little time.
"""


class StepLedger:
    """Collects loss and learning rate of each step, and gives out each step once, in order.

    A step is given out when a later one is known or when its source adds nothing more: a progress bar shows a step before
    its loss, and a TensorBoard file has loss and learning rate in two entries.
    """

    def __init__(self, given: int = 0) -> None:
        self.given = given
        """The last step that was given out, here or by the supervisor before this one."""
        self.nan_in_a_row = 0
        self.nan_since = 0
        """The first step of the last row of steps without a finite loss; 0 if the last known loss is finite."""
        self._known: dict[int, Step] = {}
        self._seen = 0

    def know(self, step: Step) -> None:
        """Takes over a step that was given out before, by another supervisor of the same run."""
        self.given = self._seen = max(self.given, step.step)
        self._count(step)

    def note(self, step: int, loss: float | None = None, learning_rate: float | None = None) -> None:
        """Notes the values of a step; the last value counts. Steps that were given out do not change."""
        if step <= self.given:
            return
        before = self._known.get(step, Step(step))
        self._known[step] = Step(
            step,
            before.loss if loss is None else loss,
            before.learning_rate if learning_rate is None else learning_rate,
        )

    def saw(self, step: int) -> None:
        """Notes that the console showed a step; it is given out at the end even if no values have come."""
        self._seen = max(self._seen, step)

    def take(self, silent: bool = False) -> Iterator[Step]:
        """The steps that are complete: all before the newest, and also the newest if its source is `silent`."""
        newest = max(self._known, default=0)
        yield from self._up_to(newest if silent else newest - 1)

    def finish(self) -> Iterator[Step]:
        """All remaining steps, including those that only the console showed."""
        yield from self._up_to(max(max(self._known, default=0), self._seen))

    def _up_to(self, last: int) -> Iterator[Step]:
        for number in range(self.given + 1, last + 1):
            step = self._known.pop(number, Step(number))
            self.given = number
            self._count(step)
            yield step

    def _count(self, step: Step) -> None:
        if step.loss is None:
            return
        if math.isfinite(step.loss):
            self.nan_in_a_row = self.nan_since = 0
        else:
            self.nan_in_a_row += 1
            self.nan_since = self.nan_since or step.step

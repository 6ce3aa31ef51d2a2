"""How long a run's samples take, and how often it makes some: the time left includes those that are still to come."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise

from trainer_core.events import Phase
from trainer_core.jobs.timeline import SAMPLING


@dataclass
class SampleTime:
    """The times at which samples were made. `seconds` are those of all finished ones since the steps are timed."""

    seconds: float = 0.0
    _took: list[float] = field(default_factory=list)
    _steps: list[int] = field(default_factory=list)
    _since_s: float | None = None

    def take(self, phase: Phase, step: int, at_s: float) -> None:
        """Adds a phase that began at a step and a time in seconds, without those of a suspended machine."""
        if phase.name == SAMPLING:
            if self._since_s is None:
                self._since_s = at_s
                self._steps += [step] if step > max(self._steps, default=0) else []
        elif self._since_s is not None:
            # A clock that was set back makes it negative.
            took = max(0.0, at_s - self._since_s)
            self._since_s = None
            self._took.append(took)
            self.seconds += took

    def begin(self) -> None:
        """The steps are timed anew from now on."""
        self.seconds, self._since_s = 0.0, None

    @property
    def all_s(self) -> float:
        """The seconds that all finished samples took."""
        return sum(self._took)

    @property
    def usual_s(self) -> float:
        """The seconds that samples take once they are made; 0 if none were finished."""
        return sum(self._took) / len(self._took) if self._took else 0.0

    @property
    def pending_s(self) -> float:
        """The usual seconds of the samples that are made now; 0 if none are."""
        return self.usual_s if self._since_s is not None else 0.0

    def left_s(self, step: int, total: int) -> float:
        """The seconds of the samples that are made now, since their begin, and of those after a step until the last one."""
        if not self._steps:
            return self.pending_s
        # The most frequent distance, the longest of these: the user may ask for samples between.
        counts = Counter(after - before for before, after in pairwise([0, *self._steps]))
        every = max(counts, key=lambda length: (counts[length], length))
        return max(0, total // every - step // every) * self.usual_s + self.pending_s

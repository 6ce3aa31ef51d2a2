"""What the events of one run add up to, and what of it a view has not seen yet."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from trainer_core import events

if TYPE_CHECKING:
    from trainer_core.events import Event

_NAN = float("nan")


@dataclass
class Record:
    """The state of a run's view, folded from its events in order.

    `points` is flat float32: step, raw loss, learning rate, with nan for what is not known. Every step is in it once.
    """

    points: array[float] = field(default_factory=lambda: array("f"))
    samples: list[events.Sample] = field(default_factory=list)
    notices: list[events.Notice] = field(default_factory=list)
    phase: str = ""
    step: int = 0
    total: int = 0
    last_step: int = 0
    seconds_per_step: float | None = None
    epoch: str = ""

    @property
    def count(self) -> int:
        """How many points there are."""
        return len(self.points) // 3

    def take(self, event: Event) -> None:
        """Adds one event."""
        match event:
            case events.Step():
                self._take_step(event)
            case events.Progress():
                self.step, self.total = max(self.step, event.step), event.total or self.total
                self.seconds_per_step = event.seconds_per_step or self.seconds_per_step
            case events.Phase():
                self.phase = f"{event.name}: {event.detail}" if event.detail else event.name
            case events.Epoch():
                self.epoch = f"epoch {event.epoch} of {event.total}"
            case events.Sample():
                self.samples.append(event)
            case events.Notice():
                self.notices.append(event)
            case _:
                pass

    def _take_step(self, event: events.Step) -> None:
        # A resumed engine may tell a step again; a chart that goes back in time shows nothing.
        if event.step <= self.last_step:
            return
        self.last_step = event.step
        self.step = max(self.step, event.step)
        loss = _NAN if event.loss is None else event.loss
        rate = _NAN if event.learning_rate is None else event.learning_rate
        self.points.extend((event.step, loss, rate))

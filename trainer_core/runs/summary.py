"""What the events of a run add up to, in a few figures."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass

from trainer_core.events import Checkpoint, Event, Phase, Progress, Sample, Step


@dataclass(frozen=True)
class RunSummary:
    """The figures of a run so far. Paths are relative to the run folder; `eta_s` counts to the last step."""

    phase: str = ""
    step: int = 0
    total: int = 0
    loss: float | None = None
    learning_rate: float | None = None
    seconds_per_step: float | None = None
    newest_sample: str | None = None
    samples: tuple[str, ...] = ()
    checkpoints: tuple[str, ...] = ()

    @property
    def eta_s(self) -> float | None:
        """How many seconds the steps that are left will take; None when that cannot be told."""
        return None if self.seconds_per_step is None else max(0, self.total - self.step) * self.seconds_per_step

    def after(self, happened: Iterable[Event]) -> RunSummary:
        """The summary with more events taken in."""
        changes = dataclasses.asdict(self)
        for event in happened:
            match event:
                case Step():
                    changes["step"] = max(changes["step"], event.step)
                    changes["loss"] = changes["loss"] if event.loss is None else event.loss
                    changes["learning_rate"] = (
                        changes["learning_rate"] if event.learning_rate is None else event.learning_rate
                    )
                case Progress():
                    changes["step"], changes["total"] = max(changes["step"], event.step), event.total
                    changes["seconds_per_step"] = event.seconds_per_step or changes["seconds_per_step"]
                case Phase():
                    changes["phase"] = event.name
                case Sample():
                    changes["newest_sample"] = event.path
                    changes["samples"] = (*changes["samples"], event.path)
                case Checkpoint():
                    changes["checkpoints"] = (*changes["checkpoints"], event.path)
                case _:
                    pass
        return RunSummary(**changes)

"""The summary of a job's events, which notebooks and the command line show."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any

from trainer_core import events
from trainer_core.events import Event
from trainer_core.jobs.gauges.history import GaugeHistory
from trainer_core.jobs.sample_time import SampleTime
from trainer_core.jobs.smoothing import Smoothed
from trainer_core.jobs.state import FINAL_STATES, JobState
from trainer_core.jobs.thinned import Thinned
from trainer_core.jobs.timeline import Timeline
from trainer_core.jobs.transferred import words

_NAN = float("nan")
_BEGINS_OR_ENDS = frozenset({JobState.RUNNING.name, *(state.name for state in FINAL_STATES)})
PACE_STEPS = 5
"""After this many steps, the time left is calculated from the time that they took."""


@dataclass
class Summary:
    """The summary of a job's events so far. Paths are relative to the job's folder.

    `part` is the command that runs, if there are several ("cache text, 2 of 3"), `phase` and `detail` its current stage.
    `length` is the number of steps in the job's spec, `total` the number that was last reported. `points` is a flat
    float32 array of step, raw loss and learning rate, with nan for unknown values; it contains every step once. `gauges` is
    what the job and the machine used last.
    """

    length: int = 0
    phase: str = ""
    detail: str = ""
    part: str = ""
    epoch: str = ""
    epochs: tuple[int, int] = (0, 0)
    """The current epoch and the number of epochs; 0 if the program does not tell them."""
    step: int = 0
    total: int = 0
    loss: float | None = None
    """That of the last step; `smoothed_loss` says more."""
    smoothed_loss: float | None = None
    learning_rate: float | None = None
    seconds_per_step: float | None = None
    samples: list[events.Sample] = field(default_factory=list)
    checkpoints: list[events.Checkpoint] = field(default_factory=list)
    checked: dict[str, events.Checked] = field(default_factory=dict)
    """The tests of checkpoints, by path."""
    notices: list[events.Notice] = field(default_factory=list)
    gauges: events.Gauges | None = None
    transfer: events.Transfer | None = None
    """What is on its way to or from another machine now."""
    validations: list[events.Validation] = field(default_factory=list)
    timeline: Timeline = field(default_factory=Timeline, compare=False, repr=False)
    gauge_history: GaugeHistory = field(default_factory=GaugeHistory, compare=False, repr=False)
    paces: Thinned[float] = field(default_factory=Thinned[float], compare=False, repr=False)
    """The seconds per step that the program reported."""
    sample_time: SampleTime = field(default_factory=SampleTime, compare=False, repr=False)
    stepped_s: float | None = field(default=None, compare=False, repr=False)
    """When the last step ended, in seconds since 1970; None if that is not known."""
    # Not compared, because nan is not equal to itself.
    points: array[float] = field(default_factory=lambda: array("f"), compare=False, repr=False)
    last_step: int = 0
    _timed: tuple[tuple[int, float], tuple[int, float]] | None = field(default=None, compare=False, repr=False)
    """The first and the last step whose time is known, each with its time in seconds, without those of a suspended machine."""
    _smoothed: Smoothed = field(default_factory=Smoothed, compare=False, repr=False)
    _suspended_s: float = field(default=0.0, compare=False, repr=False)

    def __post_init__(self) -> None:
        self.total = self.total or self.length

    @property
    def eta_s(self) -> float | None:
        """The estimated time until the last step, in seconds; None if it is not known.

        It is based on all steps so far, so it includes saving and changes slowly. Samples are counted by themselves where the
        engine says when it makes them, else as a part of the steps. The first step is not counted: it
        often compiles code. Before there are enough steps, the speed that the engine reports is used. The time for which the
        machine was suspended, or the job was not running, does not count.
        """
        pace = self._step_s
        if pace is None:
            return None
        return max(0, self.total - self.step) * pace + self.sample_time.left_s(self.step, self.total)

    @property
    def pace_s(self) -> float | None:
        """The seconds that the present step usually takes, with the samples that are made now; None if they are not known."""
        pace = self._step_s
        return None if pace is None else pace + self.sample_time.pending_s

    @property
    def _step_s(self) -> float | None:
        """The seconds of a step so far, with its share of saving; None if they are not known."""
        if self._timed is not None:
            (first, start), (last, end) = self._timed
            # A clock that was set back makes it negative.
            if last - first >= PACE_STEPS and end > start:
                return max(0.0, end - start - self.sample_time.seconds) / (last - first)
        return self.seconds_per_step

    @property
    def newest_sample(self) -> str | None:
        """The path of the last sample."""
        return self.samples[-1].path if self.samples else None

    @property
    def stage(self) -> str:
        """What the job is doing, in a few words: the command (of several), the phase with its detail, the epoch, what is sent or fetched."""
        phase = f"{self.phase}: {self.detail}" if self.detail else self.phase
        moved = words(self.transfer) if self.transfer else ""
        return " · ".join(word for word in (self.part, phase, self.epoch, moved) if word)

    def figures(self) -> dict[str, Any]:
        """The summary as JSON data, without the points and the notices."""
        names = (
            "phase",
            "part",
            "step",
            "total",
            "loss",
            "smoothed_loss",
            "learning_rate",
            "seconds_per_step",
            "newest_sample",
        )
        stages = [{"name": one.name, "seconds": round(one.seconds, 1)} for one in self.timeline.stages]
        validation = self.validations[-1].loss if self.validations else None
        paths = {"samples": [one.path for one in self.samples], "checkpoints": [one.path for one in self.checkpoints]}
        gauges = None if self.gauges is None else events.to_dict(self.gauges)
        checked = [
            {"path": one.path, "step": one.step, "ok": one.ok, "reasons": one.reasons} for one in self.checked.values()
        ]
        more = {"checked": checked, "left_s": self.eta_s, "gauges": gauges}
        more |= {"stages": stages, "validation_loss": validation}
        more |= {"sampling_seconds": round(self.sample_time.all_s, 1)}
        more |= {"transfer": None if self.transfer is None else events.to_dict(self.transfer)}
        return {**{name: getattr(self, name) for name in names}, **paths, **more}

    def take(self, happened: Iterable[Event], times_s: Iterable[float | None] = ()) -> None:
        """Adds more events, in order, with their times in seconds, as far as these are known."""
        for event, time_s in zip_longest(happened, times_s):
            self._take(event)
            self.timeline.take(event, time_s)
            if isinstance(event, events.Phase) and time_s is not None:
                self.sample_time.take(event, self.step, time_s - self._suspended_s)
            if isinstance(event, events.Step) and time_s is not None and event.step == self.last_step:
                self.stepped_s = time_s
                at = (event.step, time_s - self._suspended_s)
                if self._timed is None:
                    self.sample_time.begin()
                self._timed = self._timed[0] if self._timed else at, at

    def _take(self, event: Event) -> None:
        match event:
            case events.Step():
                self._take_step(event)
            case events.Progress():
                self.step, self.total = max(self.step, event.step), event.total or self.total
                self.seconds_per_step = event.seconds_per_step or self.seconds_per_step
                if event.seconds_per_step:
                    self.paces.take(event.seconds_per_step)
            case events.Phase():
                self._take_phase(event)
            case events.Epoch():
                self.epoch, self.epochs = f"epoch {event.epoch} of {event.total}", (event.epoch, event.total)
            case events.Gauges():
                self.gauges, self._suspended_s = event, event.suspended_s or self._suspended_s
                self.gauge_history.take(event)
            case events.Transfer():
                self.transfer = event if event.what else None
            case events.StateChange() if event.state in _BEGINS_OR_ENDS:
                # A job that goes on after a pause: what was before says nothing of the pace now.
                self._timed = self._timed if event.state != JobState.RUNNING.name else None
                self.transfer = None
            case _:
                self._take_made(event)

    def _take_made(self, event: Event) -> None:
        """Adds a file that was made, its test, or a notice."""
        match event:
            case events.Validation():
                self.validations.append(event)
            case events.Sample():
                self.samples.append(event)
            case events.Checkpoint():
                self.checkpoints.append(event)
            case events.Checked():
                self.checked[event.path] = event
            case events.Notice():
                self.notices.append(event)
            case _:
                pass

    def _take_phase(self, event: events.Phase) -> None:
        if not event.part:
            self.phase, self.detail = event.name, event.detail
            return
        # The progress of one command does not apply to the next.
        self.part = f"{event.name}, {event.part} of {event.parts}"
        self.phase, self.detail, self.epoch = "", "", ""
        self.step, self.total, self.seconds_per_step = self.last_step, self.length, None
        self._timed = None

    def _take_step(self, event: events.Step) -> None:
        self.loss = self.loss if event.loss is None else event.loss
        self.learning_rate = self.learning_rate if event.learning_rate is None else event.learning_rate
        self.step = max(self.step, event.step)
        # A resumed engine may report a step again; the points must stay in order for the chart.
        if event.step <= self.last_step:
            return
        self.last_step = event.step
        self.smoothed_loss = self._smoothed.take(event.loss)
        loss = _NAN if event.loss is None else event.loss
        rate = _NAN if event.learning_rate is None else event.learning_rate
        self.points.extend((event.step, loss, rate))

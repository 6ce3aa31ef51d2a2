"""When a job did what: its stages with their durations, and what happened as sentences with times. From events alone."""

from __future__ import annotations

from dataclasses import dataclass, field

from trainer_core import events
from trainer_core.events import Event, Severity
from trainer_core.jobs.state import FINAL_STATES, JobState

STAGES = {
    "": ("Engine", "Starting the engine"),
    "starting": ("Engine", "Starting the engine"),
    "reading dataset": ("Images", "Reading the images"),
    "caching latents": ("Images", "Caching the images"),
    "caching text": ("Images", "Caching the captions"),
    "loading model": ("Model", "Loading the model"),
    "building network": ("Model", "Building the network"),
    "training": ("Training", "Training"),
    "sampling": ("Training", "Making samples"),
    "validating": ("Training", "Measuring the loss of held-out images"),
    "saving": ("Training", "Saving a checkpoint"),
    "saved": ("Training", "Finishing"),
    "checking the result": ("Result", "Checking the result"),
    "delivering the result": ("Result", "Delivering the result"),
}
"""The stage that each phase belongs to, and what the job is doing then."""
TRAINING, RESULT = "Training", "Result"
SAMPLING = "sampling"
"""The phase in which samples are made."""
ORDER = ("Engine", "Images", "Model", TRAINING)
"""The stages of a training; an engine may load the model before or after it reads the images."""
MOST_TOLD = 1000
_STATES = {
    JobState.RUNNING.name: "The job runs.",
    JobState.COMPLETED.name: "Finished.",
    JobState.CANCELLED.name: "Stopped.",
    JobState.FAILED.name: "Failed.",
    JobState.LOST.name: "Lost.",
}
_FINAL = frozenset(state.name for state in FINAL_STATES)


@dataclass
class Stage:
    """A stage of a job. `seconds` are those of its finished stretches, `since_s` when the present one began, None without one.

    A time counts seconds since 1970, less those for which the machine was suspended.
    """

    name: str
    seconds: float = 0.0
    since_s: float | None = None

    def elapsed_s(self, now_s: float) -> float:
        """How long the stage took until now."""
        return self.seconds + (max(0.0, now_s - self.since_s) if self.since_s is not None else 0.0)


@dataclass(frozen=True)
class Told:
    """A sentence about what happened; `time_s` counts seconds since 1970, None if it is not known."""

    time_s: float | None
    severity: Severity
    text: str


@dataclass
class Timeline:
    """The stages of a job in the order in which they began, and what happened. `suspended_s` is the machine's suspension so far."""

    stages: list[Stage] = field(default_factory=list)
    told: list[Told] = field(default_factory=list)
    dropped: int = 0
    """How many of the oldest sentences were dropped."""
    suspended_s: float = 0.0
    _last_s: float | None = None
    _sampled: int = -1

    def take(self, event: Event, time_s: float | None) -> None:
        """Adds an event with its time in seconds since 1970, None if it is not known."""
        if (sentence := self._sentence(event)) is not None:
            self.told.append(Told(time_s, *sentence))
            if len(self.told) > MOST_TOLD:
                self.dropped += MOST_TOLD // 2
                del self.told[: MOST_TOLD // 2]
        if isinstance(event, events.Gauges):
            self.suspended_s = max(self.suspended_s, event.suspended_s or 0.0)
        if time_s is not None:
            self._clock(event, time_s - self.suspended_s)

    def _clock(self, event: Event, at_s: float) -> None:
        match event:
            case events.StateChange() if event.state == JobState.RUNNING.name:
                # After a pause, in which nobody followed the job, the stage goes on.
                name = self.stages[-1].name if self.stages else "Engine"
                self._close(self._last_s)
                self._enter(name, at_s)
            case events.StateChange() if event.state in _FINAL:
                self._close(at_s)
            case events.Phase():
                self._enter(stage_of(event), at_s)
            case events.Step():
                self._enter(TRAINING, at_s)
            case _:
                pass
        self._last_s = at_s

    def _enter(self, name: str, at_s: float) -> None:
        if self.stages and self.stages[-1].name == name and self.stages[-1].since_s is not None:
            return
        self._close(at_s)
        # The stage in progress is the last one: an engine may come back to an earlier one.
        known = next((each for each in self.stages if each.name == name), Stage(name))
        self.stages = [each for each in self.stages if each is not known] + [known]
        known.since_s = at_s

    def _close(self, at_s: float | None) -> None:
        for stage in self.stages:
            if stage.since_s is not None:
                # A clock that was set back makes it negative.
                stage.seconds += max(0.0, at_s - stage.since_s) if at_s is not None else 0.0
                stage.since_s = None

    def _sentence(self, event: Event) -> tuple[Severity, str] | None:
        """The sentence for an event; None for one that is not worth a sentence."""
        match event:
            case events.Notice():
                return event.severity, event.text
            case events.StateChange():
                return ("info", found) if (found := _STATES.get(event.state)) else None
            case events.Phase():
                return self._phase(event)
            case events.Epoch():
                return "info", f"Epoch {event.epoch:,} of {event.total:,}."
            case events.Checkpoint():
                return "info", f"Saved {f'step {event.step:,}: ' if event.step else ''}{event.path}"
            case events.Checked() if not event.ok:
                return "warning", f"The checkpoint of step {event.step:,} cannot be used: {' '.join(event.reasons)}"
            case events.Sample() if event.step != self._sampled:
                self._sampled = event.step
                return "info", f"Samples of step {event.step:,}."
            case events.Validation():
                return "info", f"Validation loss {event.loss:.4f} at step {event.step:,}."
            case _:
                return None

    def _phase(self, event: events.Phase) -> tuple[Severity, str] | None:
        if event.part:
            return "info", f"Command {event.part} of {event.parts}: {event.name}."
        is_training = stage_of(event) == TRAINING
        if is_training and any(stage.name == TRAINING for stage in self.stages):
            return None
        return "info", f"{doing(event.name, event.detail)}."


def stage_of(phase: events.Phase) -> str:
    """The stage to which a phase belongs; a phase that no engine of Easel has is a stage of its own."""
    if phase.part and phase.name not in STAGES:
        return "Engine"
    known = STAGES.get(phase.name)
    return known[0] if known else phase.name.capitalize()[:40]


def doing(phase: str, detail: str = "") -> str:
    """What a job does in a phase, in words; a caching progress keeps its detail."""
    words = STAGES[phase][1] if phase in STAGES else phase.capitalize()
    return f"{words}: {detail}" if detail else words

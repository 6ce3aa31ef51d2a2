"""The events of a job as data: one JSON object per line in `events.jsonl`, in the order of the events.

The `parse` of an engine or of another kind of job returns `Phase`, `Progress`, `Step` or `Notice`; the supervisor adds the rest.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any, ClassVar, Literal


@dataclass(frozen=True)
class Phase:
    """The job entered a stage of its work.

    `name` is one of a few words ("starting", "loading model", "caching latents", "training", "saving", "sampling");
    `detail` is free text. If a job runs several commands, each of them begins with a phase that has its name, with `part`
    (from 1) of `parts`; both are 0 for a phase within one command.
    """

    kind: ClassVar[str] = "phase"
    name: str
    detail: str = ""
    part: int = 0
    parts: int = 0


@dataclass(frozen=True)
class Progress:
    """The progress of the job; of a training run, in optimizer steps.

    `average_loss` is the smoothed loss that the engine's progress bar shows; None if it shows none.
    """

    kind: ClassVar[str] = "progress"
    step: int
    total: int
    seconds_per_step: float | None = None
    average_loss: float | None = None


@dataclass(frozen=True)
class Step:
    """A finished optimizer step: exactly one event per step, in order. `loss` is not smoothed and may be nan."""

    kind: ClassVar[str] = "step"
    step: int
    loss: float | None = None
    learning_rate: float | None = None


@dataclass(frozen=True)
class Epoch:
    """The engine started epoch `epoch` of `total`."""

    kind: ClassVar[str] = "epoch"
    epoch: int
    total: int


@dataclass(frozen=True)
class Checkpoint:
    """A LoRA file was saved: `path` is relative to the run folder; `step` is 0 if the file name does not contain it."""

    kind: ClassVar[str] = "checkpoint"
    path: str
    step: int


@dataclass(frozen=True)
class Checked:
    """A checkpoint was tested: `ok` is whether it can be used; `reasons` are sentences why not.

    `path` and `step` are those of its `Checkpoint`. `moved` is how many of its parts the training has changed, None if that
    is not known.
    """

    kind: ClassVar[str] = "checked"
    path: str
    step: int
    ok: bool
    reasons: tuple[str, ...] = ()
    moved: int | None = None


@dataclass(frozen=True)
class Sample:
    """A sample image was saved: `path` is relative to the run folder; `prompt` is the index of its prompt."""

    kind: ClassVar[str] = "sample"
    path: str
    step: int
    prompt: int = 0


@dataclass(frozen=True)
class Notice:
    """A message for the user: plain text from the program or the supervisor."""

    kind: ClassVar[str] = "notice"
    severity: Literal["info", "warning", "error"]
    text: str


@dataclass(frozen=True)
class StateChange:
    """The job entered a state of `trainer_core.jobs.state.JobState`."""

    kind: ClassVar[str] = "state"
    state: str
    detail: str = ""


Event = Phase | Progress | Step | Epoch | Checkpoint | Checked | Sample | Notice | StateChange

_KINDS: dict[str, type[Event]] = {
    cls.kind: cls for cls in (Phase, Progress, Step, Epoch, Checkpoint, Checked, Sample, Notice, StateChange)
}


def to_dict(event: Event) -> dict[str, Any]:
    """The event as JSON data, with its `kind`."""
    return {"kind": event.kind, **dataclasses.asdict(event)}


def from_dict(data: dict[str, Any]) -> Event | None:
    """The event that `to_dict` wrote; None for a kind or fields that this version does not know."""
    cls = _KINDS.get(str(data.get("kind")))
    if cls is None:
        return None
    names = {field.name for field in dataclasses.fields(cls)}
    try:
        # JSON has no tuples.
        values: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in data.items()
        }
        return cls(**{key: value for key, value in values.items() if key in names})
    except TypeError:
        return None


def read_lines(text: bytes) -> list[dict[str, Any]]:
    """The JSON objects in the complete lines of an events file; damaged lines are left out."""
    found = []
    for line in text.splitlines():
        try:
            data = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(data, dict):
            found.append(data)
    return found

"""What happens in a run, as data: one JSON object a line in `events.jsonl`, in the order it happened.

An engine's `parse` returns `Phase`, `Progress`, `Step` or `Notice`; the runner adds the rest.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any, ClassVar, Literal


@dataclass(frozen=True)
class Phase:
    """The engine entered a stage of its work.

    `name` is one of a few words ("starting", "loading model", "caching latents", "training", "saving", "sampling"),
    `detail` is free text.
    """

    kind: ClassVar[str] = "phase"
    name: str
    detail: str = ""


@dataclass(frozen=True)
class Progress:
    """How far the engine's bar is. `average_loss` is the console's smoothed figure, None while there is none."""

    kind: ClassVar[str] = "progress"
    step: int
    total: int
    seconds_per_step: float | None = None
    average_loss: float | None = None


@dataclass(frozen=True)
class Step:
    """One optimizer step that is done: exactly one of these a step, in order. `loss` is raw, nan is kept as nan."""

    kind: ClassVar[str] = "step"
    step: int
    loss: float | None = None
    learning_rate: float | None = None


@dataclass(frozen=True)
class Epoch:
    """The engine began epoch `epoch` of `total`."""

    kind: ClassVar[str] = "epoch"
    epoch: int
    total: int


@dataclass(frozen=True)
class Checkpoint:
    """A LoRA file appeared: `path` relative to the run folder; `step` 0 when the name does not tell."""

    kind: ClassVar[str] = "checkpoint"
    path: str
    step: int


@dataclass(frozen=True)
class Sample:
    """A sample picture appeared: `path` relative to the run folder, `prompt` its index among the prompts."""

    kind: ClassVar[str] = "sample"
    path: str
    step: int
    prompt: int = 0


@dataclass(frozen=True)
class Notice:
    """Something a person should read: plain text from the engine or the runner."""

    kind: ClassVar[str] = "notice"
    severity: Literal["info", "warning", "error"]
    text: str


@dataclass(frozen=True)
class StateChange:
    """The run entered a state of `trainer_core.runs.RunState`."""

    kind: ClassVar[str] = "state"
    state: str
    detail: str = ""


Event = Phase | Progress | Step | Epoch | Checkpoint | Sample | Notice | StateChange

_KINDS: dict[str, type[Event]] = {
    cls.kind: cls for cls in (Phase, Progress, Step, Epoch, Checkpoint, Sample, Notice, StateChange)
}


def to_dict(event: Event) -> dict[str, Any]:
    """The event as JSON data, with its `kind`."""
    return {"kind": event.kind, **dataclasses.asdict(event)}


def from_dict(data: dict[str, Any]) -> Event | None:
    """The event that `to_dict` made; None for a kind or shape that this version does not know."""
    cls = _KINDS.get(str(data.get("kind")))
    if cls is None:
        return None
    names = {field.name for field in dataclasses.fields(cls)}
    try:
        return cls(**{key: value for key, value in data.items() if key in names})
    except TypeError:
        return None


def read_lines(text: bytes) -> list[dict[str, Any]]:
    """The JSON objects in whole lines of an events file; lines that are damaged are left out."""
    found = []
    for line in text.splitlines():
        try:
            data = json.loads(line)
        except ValueError:
            continue
        if isinstance(data, dict):
            found.append(data)
    return found

"""The events of a job as data: one JSON object per line in `events.jsonl`, in the order of the events.

The `parse` of an engine or of another kind of job returns `Phase`, `Progress`, `Step` or `Notice`; the supervisor adds the rest.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

Severity = Literal["info", "warning", "error"]
Count = int
"""A whole number that is not negative."""
Amount = float
"""A finite number that is not negative."""


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
    seconds_per_step: Amount | None = None
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
class Validation:
    """The engine has measured the loss on images that it does not train on, after optimizer step `step`."""

    kind: ClassVar[str] = "validation"
    step: int
    loss: float


@dataclass(frozen=True)
class Notice:
    """A message for the user: plain text from the program or the supervisor."""

    kind: ClassVar[str] = "notice"
    severity: Severity
    text: str


@dataclass(frozen=True)
class StateChange:
    """The job entered a state of `trainer_core.jobs.state.JobState`."""

    kind: ClassVar[str] = "state"
    state: str
    detail: str = ""


@dataclass(frozen=True)
class Gpu:
    """The figures of one GPU; None for one that the driver does not tell. `index` is the driver's own number for it.

    `memory_bytes` is the memory in use by all programs, `own_bytes` that of the job's processes.
    """

    index: int
    name: str = ""
    memory_bytes: int | None = None
    own_bytes: int | None = None
    total_bytes: int | None = None
    load_percent: float | None = None
    temperature_c: float | None = None
    power_w: float | None = None


@dataclass(frozen=True)
class Gauges:
    """What the job and the machine used at this time; None for a figure that is not known.

    `memory_bytes` and `swap_bytes` are those of the job's processes; `memory_free_bytes` and `memory_total_bytes` those of
    the machine, or of the container if it has a limit. `cpu_percent` is 100 for one core. `disk_free_bytes` is the free space
    where the job's folder is. `suspended_s` counts the seconds for which the machine was suspended since the job began.
    """

    kind: ClassVar[str] = "gauges"
    gpus: tuple[Gpu, ...] = ()
    memory_bytes: int | None = None
    memory_free_bytes: int | None = None
    memory_total_bytes: int | None = None
    swap_bytes: int | None = None
    cpu_percent: float | None = None
    disk_free_bytes: int | None = None
    suspended_s: float | None = None


@dataclass(frozen=True)
class Transfer:
    """Files are on their way to or from another machine: `what` says which, as "sending 12 files to box"; "" if none are any more.

    `total_bytes` and `bytes_per_s` are None as long as they are not known.
    """

    kind: ClassVar[str] = "transfer"
    what: str = ""
    done_bytes: Count = 0
    total_bytes: Count | None = None
    bytes_per_s: Amount | None = None


Event = (
    Phase
    | Progress
    | Step
    | Epoch
    | Checkpoint
    | Checked
    | Sample
    | Validation
    | Notice
    | StateChange
    | Gauges
    | Transfer
)

_MOST_GPUS = 64
_LARGEST = 2**60
"""Larger figures are errors."""


def to_dict(event: Event) -> dict[str, Any]:
    """The event as JSON data, with its `kind`."""
    if isinstance(event, Gauges):
        # There are many of these, so what is not known is left out.
        return {"kind": event.kind, **_known(event), "gpus": [_known(gpu) for gpu in event.gpus]}
    return {"kind": event.kind, **dataclasses.asdict(event)}


def _known(figures: Gauges | Gpu) -> dict[str, Any]:
    return {name: value for name, value in vars(figures).items() if value is not None}


def from_dict(data: dict[str, Any]) -> Event | None:
    """The event that `to_dict` wrote; None for a kind that this version does not know, or a value of another type.

    Anybody may have written the file: no number in an event is larger than a float can hold exactly.
    """
    kind = data.get("kind")
    if kind == Gauges.kind:
        return _gauges(data)
    known = _FIELDS.get(kind) if isinstance(kind, str) else None
    if known is None:
        return None
    cls, fields = known
    values = []
    for name, default, check in fields:
        value = data.get(name, default)
        if value is not default:
            value = check(value)
        if value is _MISSING or (value is None and default is not None):
            return None
        values.append(value)
    return cls(*values)


LARGEST = 1 << 53
"""No number of Easel's is larger, and up to it a float is exact."""


def whole(value: object) -> int | None:
    """The value, if it is a whole number of a usual size."""
    if isinstance(value, int) and not isinstance(value, bool) and -LARGEST <= value <= LARGEST:
        return value
    return None


def real(value: object) -> float | None:
    """The value as a float, if it is a finite number of a usual size."""
    found = _number(value)
    return found if found is not None and abs(found) <= LARGEST else None


def _number(value: object) -> float | None:
    """The value as a float, nan and inf included: a loss may be either."""
    if isinstance(value, float):
        return value
    found = whole(value)
    return None if found is None else float(found)


def _count(value: object) -> int | None:
    found = whole(value)
    return found if found is not None and found >= 0 else None


def _amount(value: object) -> float | None:
    found = real(value)
    return found if found is not None and found >= 0 else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _severity(value: object) -> str | None:
    """A newer Easel may know more of them."""
    return value if value in ("info", "warning", "error") else "info" if isinstance(value, str) else None


def _flag(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def _texts(value: object) -> tuple[str, ...] | None:
    """JSON has no tuples."""
    is_list = isinstance(value, list | tuple)
    return tuple(value) if is_list and all(isinstance(each, str) for each in value) else None


_MISSING: Any = object()
_CHECKS: dict[str, Callable[[object], Any]] = {
    "str": _text,
    "int": whole,
    "int | None": whole,
    "float": _number,
    "float | None": _number,
    "Count": _count,
    "Count | None": _count,
    "Amount | None": _amount,
    "bool": _flag,
    "tuple[str, ...]": _texts,
    "Severity": _severity,
}
"""The check of a value by the type that its field declares; None means that it has another type."""


def _fields_of(cls: type[Event]) -> tuple[tuple[str, Any, Callable[[object], Any]], ...]:
    """The name, the default and the check of each field of an event."""
    return tuple(
        (
            field.name,
            _MISSING if field.default is dataclasses.MISSING else field.default,
            _CHECKS[str(field.type)],
        )
        for field in dataclasses.fields(cls)
    )


_FIELDS: dict[str, tuple[type[Event], tuple[tuple[str, Any, Callable[[object], Any]], ...]]] = {
    cls.kind: (cls, _fields_of(cls))
    for cls in (Phase, Progress, Step, Epoch, Checkpoint, Checked, Sample, Validation, Notice, StateChange, Transfer)
}


def _gauges(data: dict[str, Any]) -> Gauges:
    """The figures in a line of an events file; those that are no figures are left out, because other programs can write it."""
    rows = data.get("gpus")
    gpus = [row for row in rows[:_MOST_GPUS] if isinstance(row, dict)] if isinstance(rows, list) else []
    return Gauges(gpus=tuple(map(read_gpu, gpus)), **_figures(Gauges, data))


def read_gpu(data: dict[str, Any]) -> Gpu:
    """The figures of a GPU in JSON data, without those that are no figures."""
    figures = {"index": 0, **_figures(Gpu, data)}
    return Gpu(name=str(data.get("name", ""))[:200], **figures)


def _figures(cls: type[Gauges | Gpu], data: dict[str, Any]) -> dict[str, Any]:
    names = {field.name for field in dataclasses.fields(cls)} - {"gpus", "name"}
    return {name: data[name] for name in names if _is_figure(data.get(name))}


def _is_figure(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < _LARGEST


_decode = json.JSONDecoder().decode
"""As json.loads, which looks for another encoding in each line."""


def read_lines(text: bytes) -> list[dict[str, Any]]:
    """The JSON objects in the complete lines of an events file; damaged lines are left out."""
    found = []
    for line in text.splitlines():
        try:
            data = _decode(line.decode())
        except (ValueError, RecursionError):
            continue
        if isinstance(data, dict):
            found.append(data)
    return found

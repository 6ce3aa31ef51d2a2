"""What a job does: the commands that it runs one after another, and data that only its kind reads."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trainer_core.events import whole

DEFAULT_KIND = "training"
"""The kind of a job whose `spec.json` contains none: it was written when training was the only kind."""
DEFAULT_STEP = "train"
"""The name of the only command of such a job."""


@dataclass(frozen=True)
class Step:
    """One command of a job: a list of arguments, never a shell string. `environment` is added to the inherited one."""

    name: str
    argv: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Spec:
    """Everything that is needed to run a job.

    `stop_signal` asks a command to end; if that takes too long, the command is killed. `total_steps` is the length of
    the job's progress, 0 if it is not known. `keeps` lists environment variables that the commands inherit although Easel
    normally removes them; their values, which may be secret, are not written to any file. Only the kind reads `details`.
    """

    kind: str
    steps: tuple[Step, ...]
    working_directory: Path
    stop_signal: str = "SIGTERM"
    total_steps: int = 0
    keeps: tuple[str, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """The spec as JSON data."""
        return {
            "kind": self.kind,
            "steps": [
                {"name": step.name, "argv": list(step.argv), "environment": dict(step.environment)}
                for step in self.steps
            ],
            "working_directory": str(self.working_directory),
            "stop_signal": self.stop_signal,
            "total_steps": self.total_steps,
            "keeps": list(self.keeps),
            "details": dict(self.details),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Spec:
        """The spec that `as_dict` wrote, also in the older form without a kind and steps.

        Raises:
            KeyError: an entry is missing.
            TypeError: an entry has the wrong type.
            ValueError: an entry is not a number or a signal, contains a zero byte, or there are no steps.
        """
        if "kind" not in data:
            own = ("command", "environment", "working_directory", "stop_signal", "total_steps")
            steps = [{"name": DEFAULT_STEP, "argv": data["command"], "environment": data.get("environment", {})}]
            details = {name: value for name, value in data.items() if name not in own}
        else:
            steps, details = data["steps"], dict(data.get("details", {}))
        if not steps:
            raise ValueError("it has no steps")
        stop_signal = _text(data.get("stop_signal", "SIGTERM"))
        if stop_signal not in signal.Signals.__members__:
            raise ValueError(f"there is no signal {stop_signal!r:.40}")
        return cls(
            kind=str(data.get("kind", DEFAULT_KIND)),
            steps=tuple(_step(row) for row in steps),
            working_directory=Path(_text(data["working_directory"])),
            stop_signal=stop_signal,
            total_steps=_count(data.get("total_steps", 0)),
            keeps=tuple(map(_text, data.get("keeps", ()))),
            details=details,
        )


def _step(row: Mapping[str, Any]) -> Step:
    if isinstance(row["argv"], str) or not row["argv"]:
        raise TypeError("the command of a step is a list of texts")
    environment = {_text(name): _text(value) for name, value in dict(row["environment"]).items()}
    return Step(str(row["name"]), tuple(map(_text, row["argv"])), environment)


def _text(value: object) -> str:
    """A text that a program can be started with."""
    if not isinstance(value, str):
        raise TypeError(f"{value!r:.40} is not a text")
    if "\0" in value:
        raise ValueError(f"{value!r:.40} contains a zero byte")
    return value


def _count(value: object) -> int:
    if (found := whole(value)) is None or found < 0:
        raise ValueError(f"{value!r:.40} is not a number of steps")
    return found

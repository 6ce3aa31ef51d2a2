"""The result of a job as a reader may rely on it: anybody may have written the file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trainer_core.events import real, whole
from trainer_core.jobs.state import JobState

_WHOLE = ("exit_code", "steps", "peak_memory_bytes", "peak_gpu_memory_bytes")
_REAL = ("started", "ended", "seconds")
_TEXTS = ("phase", "part")
_NUMBERS = ("loss", "learning_rate", "seconds_per_step")


def readable(data: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The result with values of the expected types, others left out; None if it names no state."""
    if data is None or data.get("state") not in JobState.__members__.keys() - {
        "PREPARED",
        "QUEUED",
        "RUNNING",
        "STOPPING",
        "ELSEWHERE",
    }:
        return None
    found = dict(data)
    found["outputs"], found["notices"] = texts(data.get("outputs")), texts(data.get("notices"))
    for name in _WHOLE:
        found[name] = whole(data.get(name))
    for name in _REAL:
        found[name] = real(data.get(name))
    found["step"] = data["step"] if isinstance(data.get("step"), str) else ""
    for name in ("diagnosis", "acceptance"):
        if name in data and not isinstance(data[name], dict):
            found[name] = None
    found["summary"] = _summary(data.get("summary"))
    return {name: value for name, value in found.items() if name in data or name in ("outputs", "notices")}


def _summary(data: object) -> dict[str, Any] | None:
    """The figures of a summary, if each has the expected type."""
    if not isinstance(data, dict):
        return None
    found = dict(data)
    for name in ("step", "total"):
        found[name] = whole(data.get(name)) or 0
    for name in _TEXTS:
        found[name] = data[name] if isinstance(data.get(name), str) else ""
    for name in _NUMBERS:
        value = data.get(name)
        found[name] = value if isinstance(value, float) else real(value)
    found["samples"], found["checkpoints"] = texts(data.get("samples")), texts(data.get("checkpoints"))
    newest = data.get("newest_sample")
    found["newest_sample"] = newest if isinstance(newest, str) else None
    return found


def texts(value: object) -> list[str]:
    """The texts in a list; none for anything else."""
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []

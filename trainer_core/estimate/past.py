"""Measurements of finished runs, which improve estimates."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from trainer_core import events
from trainer_core.errors import RunError
from trainer_core.files import open_own
from trainer_core.hardware import Machine
from trainer_core.jobs.state import JobState
from trainer_core.plan.sections import TrainingPlan
from trainer_core.training.run import Run, list_runs

MOST = 50
"""How many of the newest runs are read at most."""
TAIL_BYTES = 64 << 10
LONGEST_STEP_S = 1e6
FEWEST_STEPS = 3
"""The speed of a run with fewer steps is not used."""


@dataclass(frozen=True)
class Past:
    """The measurements of one finished run. `name` is the name of its folder; 0 means that a value was not measured.

    `vram_bytes` is the peak VRAM in use minus that before the run, `ram_bytes` the peak memory of its processes,
    `sampling_s` the time of all its samples.
    """

    name: str
    engine: str
    plan: TrainingPlan
    machine: Machine
    step_s: float = 0.0
    vram_bytes: int = 0
    ram_bytes: int = 0
    sampling_s: float = 0.0


def past_runs(folder: Path) -> tuple[Past, ...]:
    """The finished runs in a folder, the newest first, without damaged ones and those with unknown settings."""
    found = (_past(run) for run in list_runs(folder)[:MOST])
    return tuple(past for past in found if past is not None)


def _past(run: Run) -> Past | None:
    result = run.folder.result or {}
    if result.get("state") != JobState.COMPLETED.name:
        return None
    hardware = run.folder.read("hardware.json") or {}
    try:
        plan, machine = TrainingPlan.model_validate(run.folder.plan), Machine.from_dict(hardware)
    except (RunError, ValidationError, KeyError, TypeError, ValueError):
        return None
    if not machine.accelerators:
        return None
    return Past(
        run.folder.path.name,
        str(run.folder.versions.get("engine", "")),
        plan,
        machine,
        _step_s(run, result),
        _whole(result, "peak_gpu_memory_bytes"),
        _whole(result, "peak_memory_bytes"),
        _sampling_s(result),
    )


def _sampling_s(result: Mapping[str, Any]) -> float:
    """The seconds of all samples of a run, as far as it recorded them."""
    summary = result.get("summary")
    took = summary.get("sampling_seconds") if isinstance(summary, Mapping) else None
    if not isinstance(took, int | float) or isinstance(took, bool):
        return 0.0
    return float(took) if 0 < took < LONGEST_STEP_S else 0.0


def _step_s(run: Run, result: Mapping[str, Any]) -> float:
    """The seconds per step that the engine reported last."""
    if _whole(result, "steps") < FEWEST_STEPS:
        return 0.0
    reported = [
        line.get("seconds_per_step") for line in _last_events(run.folder.events) if line.get("kind") == "progress"
    ]
    measured = next((each for each in reversed(reported) if isinstance(each, int | float)), 0.0)
    return float(measured) if 0 < measured < LONGEST_STEP_S else 0.0


def _last_events(path: Path) -> list[dict[str, Any]]:
    """The last events of a run. Only the end of the file is read, because a long run has many events."""
    try:
        with open_own(path) as file:
            file.seek(max(path.stat().st_size - TAIL_BYTES, 0))
            return events.read_lines(file.read(TAIL_BYTES))
    except OSError:
        return []


def _whole(result: Mapping[str, Any], name: str) -> int:
    value = result.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def alike(past: Iterable[Past], engine: str, plan: TrainingPlan, family: str, card: str) -> list[Past]:
    """The runs with the same engine, family, method, GPU and name of the model file."""
    return [
        one
        for one in past
        if one.engine == engine
        and (one.plan.model.family, one.plan.model.method) == (family, plan.model.method)
        and one.machine.accelerator.name == card
        and Path(one.plan.model.path).name == Path(plan.model.path).name
    ]

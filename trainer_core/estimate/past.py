"""What finished runs measured, so that an estimate can begin from them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from trainer_core import events
from trainer_core.errors import RunError
from trainer_core.hardware import Machine
from trainer_core.plan.sections import TrainingPlan
from trainer_core.runs.run import Run, list_runs
from trainer_core.runs.state import RunState

MOST = 50
"""How many of the newest runs are read."""
TAIL_BYTES = 64 << 10
LONGEST_STEP_S = 1e6
FEWEST_STEPS = 3
"""A run of fewer steps has no speed to speak of."""


@dataclass(frozen=True)
class Past:
    """What one finished run measured. `name` is its folder's; what it did not measure is 0.

    `vram_bytes` is the most the GPUs held beyond what they held before, `ram_bytes` that of its processes.
    """

    name: str
    engine: str
    plan: TrainingPlan
    machine: Machine
    step_s: float = 0.0
    vram_bytes: int = 0
    ram_bytes: int = 0


def past_runs(folder: Path) -> tuple[Past, ...]:
    """The finished runs below a folder, the newest first; damaged ones and those of unknown settings are left out."""
    found = (_past(run) for run in list_runs(folder)[:MOST])
    return tuple(past for past in found if past is not None)


def _past(run: Run) -> Past | None:
    result = run.directory.result or {}
    if result.get("state") != RunState.COMPLETED.name:
        return None
    hardware = run.directory.read("hardware.json") or {}
    try:
        plan, machine = TrainingPlan.model_validate(run.directory.plan), Machine.from_dict(hardware)
    except (RunError, ValidationError, KeyError, TypeError, ValueError):
        return None
    if not machine.accelerators:
        return None
    return Past(
        run.directory.path.name,
        str(run.directory.versions.get("engine", "")),
        plan,
        machine,
        _step_s(run, result),
        _whole(result, "peak_gpu_memory_bytes"),
        _whole(result, "peak_memory_bytes"),
    )


def _step_s(run: Run, result: Mapping[str, Any]) -> float:
    """The seconds of a step as the engine's bar said last."""
    if _whole(result, "steps") < FEWEST_STEPS:
        return 0.0
    said = [
        line.get("seconds_per_step") for line in _last_events(run.directory.events) if line.get("kind") == "progress"
    ]
    measured = next((each for each in reversed(said) if isinstance(each, int | float)), 0.0)
    return float(measured) if 0 < measured < LONGEST_STEP_S else 0.0


def _last_events(path: Path) -> list[dict[str, Any]]:
    """The last events of a run; those of a long one are many, and only the end is wanted."""
    try:
        with path.open("rb") as file:
            file.seek(max(path.stat().st_size - TAIL_BYTES, 0))
            return events.read_lines(file.read(TAIL_BYTES))
    except OSError:
        return []


def _whole(result: Mapping[str, Any], name: str) -> int:
    value = result.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def alike(past: Iterable[Past], engine: str, plan: TrainingPlan, family: str, card: str) -> list[Past]:
    """Those of the same engine, family, method and card, on the same model file where both name one."""
    return [
        one
        for one in past
        if one.engine == engine
        and (one.plan.model.family, one.plan.model.method) == (family, plan.model.method)
        and one.machine.accelerator.name == card
        and Path(one.plan.model.path).name == Path(plan.model.path).name
    ]

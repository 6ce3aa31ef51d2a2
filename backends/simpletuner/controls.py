"""How a running SimpleTuner is asked for a checkpoint or for samples."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath

from trainer_core.engines.seam import Control, Place, Request
from trainer_core.plan.sections import TrainingPlan

FILE = PurePosixPath("engine") / "requests.json"
VARIABLE = "SIMPLETUNER_ACCELERATE_SIGNAL_FILE"
"""The variable with the path of the file. Source: 4.10.1, train.py, _run_training; 3.1.6 does not read it."""
WHEN = "after this step"


def of(plan: TrainingPlan, place: Place) -> Mapping[Request, Control]:
    """What the engine can be asked for with a plan; it generates no samples on request if the plan has none."""
    if place.version.startswith("3."):
        return {}
    save = Control(FILE, "manual_checkpoint", "SimpleTuner saves a checkpoint after the current step.", WHEN)
    found: dict[Request, Control] = {"save": save}
    if plan.sampling.every_steps:
        effect = "SimpleTuner generates samples after the current step."
        found["sample"] = Control(FILE, "manual_validation", effect, WHEN)
    return found

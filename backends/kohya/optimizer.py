"""The options of sd-scripts for the optimizer, its arguments and the learning rate schedule."""

from __future__ import annotations

from typing import Any

from backends.kohya.translation import TRANSLATION
from trainer_core.engines import keyed_optimizer
from trainer_core.engines.manifest import BackendManifest
from trainer_core.plan.sections import TrainingPlan

BETAS = keyed_optimizer.BETAS


def options(plan: TrainingPlan, manifest: BackendManifest, processes: int = 1) -> dict[str, Any]:
    """The options of the optimizer and of the schedule: see `trainer_core.engines.keyed_optimizer`."""
    return keyed_optimizer.options(
        plan, manifest, TRANSLATION.optimizer_settings, TRANSLATION.warms_up_itself, processes
    )

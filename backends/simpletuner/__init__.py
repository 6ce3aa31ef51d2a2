"""The backend for SimpleTuner: turns plans into its configuration, and its output into events.

Its modules are imported when they are first needed, so that a notebook without a model opens faster.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from backends.simpletuner.cell import SimpleTunerCell
from trainer_core.engines.manifest import load_manifest
from trainer_core.engines.seam import JobSpec, Place
from trainer_core.engines.status import EngineStatus
from trainer_core.events import Event
from trainer_core.hardware import Machine
from trainer_core.problems import Problem

if TYPE_CHECKING:
    from trainer_core.engines.arguments import Argument
    from trainer_core.plan.sections import TrainingPlan


class SimpleTuner:
    """The backend for SimpleTuner."""

    manifest = load_manifest(Path(__file__).parent / "backend.toml", SimpleTunerCell)

    def problems(self, plan: TrainingPlan, machine: Machine, status: EngineStatus) -> Sequence[Problem]:
        """The Problems of the plan with SimpleTuner."""
        from backends.simpletuner import problems

        return problems.check(plan, machine, status, self.manifest)

    def render(self, plan: TrainingPlan, place: Place) -> JobSpec:
        """The files and the command for a plan without blocking problems."""
        from backends.simpletuner import render

        return render.render(plan, place, self.manifest)

    def parse(self, line: str) -> Event | None:
        """What one line of the engine's output means, or None."""
        from backends.simpletuner import progress

        return progress.parse(line)

    def arguments(self, plan: TrainingPlan, status: EngineStatus) -> Sequence[Argument]:
        """The keys inside `optimizer_config`, and whether and how a user can set them."""
        from backends.simpletuner import arguments

        return tuple(arguments.of_plan(plan, status, self.manifest))


backend = SimpleTuner()

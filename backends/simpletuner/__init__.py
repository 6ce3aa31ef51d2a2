"""SimpleTuner: translates plans into its configuration, and its output into events."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from backends.simpletuner import problems, progress, render
from trainer_core.backend import JobSpec, Place
from trainer_core.events import Event
from trainer_core.hardware import Machine
from trainer_core.plan.sections import TrainingPlan
from trainer_core.problems import Problem
from trainer_core.registry import load_manifest


class SimpleTuner:
    """The translation between Easel's words and those of SimpleTuner."""

    manifest = load_manifest(Path(__file__).parent / "backend.toml")

    def problems(self, plan: TrainingPlan, machine: Machine) -> Sequence[Problem]:
        """What SimpleTuner cannot do, or would stumble over, of the plan."""
        return problems.check(plan, machine, self.manifest)

    def render(self, plan: TrainingPlan, place: Place) -> JobSpec:
        """The files and the command for a plan without blocking problems."""
        return render.render(plan, place, self.manifest)

    def parse(self, line: str) -> Event | None:
        """What one line of the engine's output means, or None."""
        return progress.parse(line)


backend = SimpleTuner()

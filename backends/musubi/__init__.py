"""The backend for kohya-ss/musubi-tuner: turns plans into its configuration, and its output into events.

Its modules are imported when they are first needed, so that a notebook without a model opens faster.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from backends.musubi.cell import MusubiCell
from trainer_core.engines.manifest import load_manifest
from trainer_core.engines.seam import JobSpec, Place
from trainer_core.engines.status import EngineStatus
from trainer_core.events import Event
from trainer_core.hardware import Machine
from trainer_core.problems import Problem

if TYPE_CHECKING:
    from trainer_core.engines.arguments import Argument
    from trainer_core.engines.pasted import Files, Given, Reading
    from trainer_core.plan.sections import TrainingPlan


class Musubi:
    """The backend for musubi-tuner."""

    manifest = load_manifest(Path(__file__).parent / "backend.toml", MusubiCell)

    def problems(self, plan: TrainingPlan, machine: Machine, status: EngineStatus) -> Sequence[Problem]:
        """The Problems of the plan with musubi-tuner."""
        from backends.musubi import problems

        return problems.check(plan, machine, status, self.manifest)

    def render(self, plan: TrainingPlan, place: Place) -> JobSpec:
        """The files and the commands for a plan without blocking problems."""
        from backends.musubi import render

        return render.render(plan, place, self.manifest)

    def parse(self, line: str) -> Event | None:
        """What one line of the engine's output means, or None."""
        from backends.musubi import progress

        return progress.parse(line)

    def arguments(self, plan: TrainingPlan, status: EngineStatus) -> Sequence[Argument]:
        """The keys inside `network_args` and `optimizer_args`, and whether and how a user can set them."""
        from backends.musubi import arguments

        return tuple(arguments.of_plan(plan, status, self.manifest))

    def reads(self, given: Given) -> bool:
        """Whether a pasted command or configuration is one of musubi-tuner."""
        from backends.musubi import pasted

        return pasted.reads(given, self.manifest)

    def read_command(self, given: Given, family: str, files: Files) -> Reading:
        """What becomes of each option of a pasted command or configuration."""
        from backends.musubi import pasted

        return pasted.read(given, family, self.manifest, files)


backend = Musubi()

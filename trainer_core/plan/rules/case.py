"""What a rule looks at."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainer_core.plan.facts import Facts
from trainer_core.plan.sections import TrainingPlan
from trainer_core.problems import Problem

if TYPE_CHECKING:
    from trainer_core.backend import Backend, FamilyClaim


@dataclass(frozen=True)
class Case:
    """The plan, the facts it stands on, and the engine, None when none could be chosen."""

    plan: TrainingPlan
    facts: Facts
    backend: Backend | None

    @property
    def claim(self) -> FamilyClaim | None:
        """What the engine does with the plan's family; None when it does not train it."""
        return self.backend.manifest.families.get(self.plan.model.family) if self.backend else None


Rule = Callable[[Case], Iterator[Problem]]

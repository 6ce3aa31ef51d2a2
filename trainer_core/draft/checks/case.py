"""The input of a rule."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from trainer_core.draft.facts import Facts, PathFacts
from trainer_core.plan.sections import TrainingPlan
from trainer_core.problems import Problem

if TYPE_CHECKING:
    from trainer_core.engines.claim import FamilyClaim
    from trainer_core.engines.seam import Backend


@dataclass(frozen=True)
class Case:
    """The plan, the facts about files and machine, and the engine, None if none could be chosen."""

    plan: TrainingPlan
    facts: Facts
    backend: Backend | None
    below: Mapping[str, Any] = field(default_factory=dict)
    """By setting, the value that it has without the user's own: from a profile or another source; missing where it is the default."""

    def at(self, setting: str) -> PathFacts | None:
        """What was found at the path of a setting of the plan; None if it was not looked up."""
        section, _, name = setting.partition(".")
        return self.facts.at(setting, getattr(getattr(self.plan, section), name))

    @property
    def model_path(self) -> str:
        """The absolute path of the model; "" if it was not looked up."""
        seen = self.at("model.path")
        return seen.path if seen is not None else ""

    @property
    def claim(self) -> FamilyClaim | None:
        """The engine's claim for the plan's family; None if the engine does not train it."""
        return self.backend.manifest.families.get(self.plan.model.family) if self.backend else None


Rule = Callable[[Case], Iterator[Problem]]

"""The input of a rule."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from trainer_core.draft.facts import Facts, PathFacts
from trainer_core.plan.sections import TrainingPlan
from trainer_core.plan.subsets import LIST
from trainer_core.problems import Problem

if TYPE_CHECKING:
    from trainer_core.datasets.scan import Dataset
    from trainer_core.engines.claim import FamilyClaim
    from trainer_core.engines.seam import Backend
    from trainer_core.plan.subsets import ImageFolder


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

    def images_of(self, folder: ImageFolder) -> Dataset | str | None:
        """What was read of an image folder of the plan, or why it could not be read; None if it was not read with these values."""
        first = self.facts.dataset
        if first is None:
            return None
        if folder.setting != LIST:
            return first.folders.get(folder.name)
        is_this = first.asked.get(folder.name, folder.source) == folder.source
        return first.more.get(folder.name) if is_this else None

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

"""The estimate of a job on this machine, whether it fits, and the cheapest change that makes it fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainer_core.draft import checks
from trainer_core.draft.checks.choices import optimizer_works_here
from trainer_core.engines import registry
from trainer_core.estimate import Estimate, Fit, against, estimate, fallback, fit_advice
from trainer_core.problems import Fix, Problem

if TYPE_CHECKING:
    from trainer_core.draft.layers import Draft
    from trainer_core.engines.seam import Backend
    from trainer_core.estimate import GpuProcess, Past
    from trainer_core.plan.sections import TrainingPlan


SIZE = (
    "The diffusion model in this file is smaller or larger than the family's usual one, and {engine} builds only the usual one: "
    "the training probably stops when it loads the file. Choose a model of the usual size, or another engine."
)


@dataclass(frozen=True)
class Forecast:
    """An estimate, whether it fits, and the change that makes it fit; `fix` is None if no such change is known."""

    estimate: Estimate
    fit: Fit
    fix: Fix | None = None
    size: str = ""
    """The sentence that the engine cannot load a model of this size; "" if it can, or if it is not known."""
    instead: str = ""
    """What the optimizer costs that is proposed for one that does not work on this machine; "" if that is not the case."""

    def problems(self) -> list[Problem]:
        """Warnings about what does not fit: an estimate may be wrong, so it never blocks a job."""
        found = [Problem("", "warning", self.fit.sentence, self.fix)] if self.fit.fits == "no" else []
        if self.size:
            found.insert(0, Problem("model.path", "warning", self.size))
        if self.instead:
            found.append(Problem(fallback.PATH, "info", self.instead))
        return [*found, *(Problem("", "warning", sentence, self._disk_fix(sentence)) for sentence in self.fit.also)]

    def _disk_fix(self, sentence: str) -> Fix | None:
        """The change that makes the run folder fit on the disk, if it is that which does not, and states are the reason."""
        return Fix("Keep no states", {"output.keep_states": 0}) if sentence == self.fit.without_states else None


def forecast(
    draft: Draft,
    backend: Backend | None,
    past: Sequence[Past] = (),
    holders: Callable[[], Sequence[GpuProcess]] = tuple,
) -> Forecast | None:
    """The forecast of a draft with an engine; None if a value is invalid or no model is recognised.

    `past` are finished runs, with which the estimate is corrected. `holders` gives the programs that hold memory of the GPU;
    it is called only if the job may not fit, because a driver takes up to a second to answer.
    """
    if backend is None or draft.facts.detection is None or draft.value_problems():
        return None
    plan, facts, manifest = draft.sketch(), draft.facts, backend.manifest

    def problems(other: TrainingPlan) -> list[Problem]:
        said = registry.problems_of(backend, other, facts.machine, facts.engine(manifest.id))
        return [*checks.check(checks.Case(other, facts, backend)), *said]

    found = estimate(plan, facts, past, manifest)
    fit = against(found, facts.machine)
    if fit.fits != "yes" and facts.machine.accelerator.kind != "cpu":
        fit = against(found, facts.machine, holders())
    fix = fit_advice(plan, facts, problems, past=past, manifest=manifest) if fit.fits == "no" else None
    costs = manifest.estimate
    is_fixed = costs is not None and plan.model.family in costs.fixed_sizes
    size = SIZE.format(engine=manifest.title) if is_fixed and not found.is_size_usual else ""
    broken = list(optimizer_works_here(checks.Case(plan, facts, backend)))
    return Forecast(found, fit, fix, size, fallback.cost(plan, facts, broken, manifest))

"""What a job will take on this machine, whether that fits, and the cheapest change that makes it fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainer_core.estimate import Estimate, Fit, against, cheaper, estimate
from trainer_core.plan import rules
from trainer_core.problems import Fix, Problem

if TYPE_CHECKING:
    from trainer_core.backend import Backend
    from trainer_core.estimate import Past
    from trainer_core.plan.draft import Draft
    from trainer_core.plan.sections import TrainingPlan


@dataclass(frozen=True)
class Outlook:
    """An estimate, how it fits, and what to change where it does not; `fix` is None where nothing is known to help."""

    estimate: Estimate
    fit: Fit
    fix: Fix | None = None

    def problems(self) -> list[Problem]:
        """What does not fit, as warnings: an estimate may be wrong, so it never blocks."""
        found = [Problem("", "warning", self.fit.sentence, self.fix)] if self.fit.fits == "no" else []
        return [*found, *(Problem("", "warning", sentence) for sentence in self.fit.also)]


def outlook(draft: Draft, backend: Backend | None, past: Sequence[Past] = ()) -> Outlook | None:
    """What a draft will take with an engine; None while a value is invalid or no model is recognised.

    `past` are finished runs, which the estimate learns from.
    """
    if backend is None or draft.facts.detection is None or draft.value_problems():
        return None
    plan, facts, manifest = draft.sketch(), draft.facts, backend.manifest

    def problems(other: TrainingPlan) -> list[Problem]:
        return [*rules.check(rules.Case(other, facts, backend)), *backend.problems(other, facts.machine)]

    found = estimate(plan, facts, past, manifest)
    fit = against(found, facts.machine)
    fix = cheaper(plan, facts, problems, past=past, manifest=manifest) if fit.fits == "no" else None
    return Outlook(found, fit, fix)

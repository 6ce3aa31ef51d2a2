"""What it costs to train with another optimizer than the one that does not work on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from trainer_core.draft.facts import Facts
from trainer_core.estimate.fit_advice import changed
from trainer_core.estimate.job import Workload
from trainer_core.plan.sections import TrainingPlan
from trainer_core.problems import Problem
from trainer_core.text import size

if TYPE_CHECKING:
    from trainer_core.engines.manifest import BackendManifest

PATH = "optimizer.name"


def cost(plan: TrainingPlan, facts: Facts, problems: Sequence[Problem], manifest: BackendManifest | None = None) -> str:
    """A sentence with the memory that the proposed optimizer needs for its state; "" if none is proposed."""
    offered = next(
        (each.fix.changes for each in problems if each.path == PATH and each.fix and PATH in each.fix.changes), None
    )
    job = Workload.of(plan, facts, manifest)
    other = Workload.of(changed(plan, offered), facts, manifest) if offered else None
    if job is None or other is None or not job.trained_parameters:
        return ""
    before, after = (each.trained_parameters * each.optimizer_bytes for each in (job, other))
    more = "more" if after >= before else "less"
    place = "GPU" if job.has_gpu else "system"
    return (
        f"With {other.plan.optimizer.name} the state of the optimizer needs {size(abs(after - before))} {more} {place} memory "
        f"than with {plan.optimizer.name}: {size(after)} instead of {size(before)}. The difference in speed is not known."
    )

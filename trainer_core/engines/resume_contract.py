"""The part of the contract about states: what an engine must do that says it can continue a training."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import PurePosixPath

from trainer_core.engines.seam import Backend, JobSpec, Place, ResumePoint, StatePattern
from trainer_core.plan.sections import TrainingPlan


def resumed_jobs(backend: Backend, plan: TrainingPlan, where: Place) -> list[JobSpec]:
    """The jobs that continue a training of this plan, which keeps states; none if the engine says that it cannot do that.

    Raises:
        AssertionError: a sentence about what the engine does not fulfil.
    """
    said, fresh = backend.manifest.resume, backend.render(plan, where)
    pattern = fresh.artefacts.states
    if said is None:
        _require(pattern is None, "It saves states, but backend.toml does not say what it can do with them: [resume].")
        return []
    _require(said.continues, "[resume] must say what continues.")
    if pattern is None:
        raise AssertionError("[resume] says that it continues a training, but it saves no states to continue from.")
    _check_pattern(pattern, plan)
    points = [ResumePoint(where.output / pattern.named.format(step=step), step, start) for step, start in _POINTS]
    jobs = [backend.render(plan, replace(where, resume=point)) for point in points]
    for number, spec in enumerate(jobs):
        _require(spec.total_steps == plan.schedule.steps, "A job that continues has the steps of the whole training.")
        _require(spec != fresh, "A job that continues must differ from one that starts at step 0.")
        _require(number == 0 or spec != jobs[0] or points[number].schedule_from, "The job must name the state.")
    return jobs


_POINTS = ((5, 0), (6, 0), (5, 5))
"""The step of a state, and the step after which the schedule began."""


def _check_pattern(pattern: StatePattern, plan: TrainingPlan) -> None:
    _require(pattern.needs, "The pattern of states must name files that a complete state has.")
    _require(pattern.keep == plan.output.keep_states, "The pattern of states must keep as many as the plan says.")
    name = pattern.named.format(step=5)
    match = re.search(pattern.pattern, name)
    step = match.groupdict().get("step") if match else None
    _require(step and int(step) == 5, f"The pattern of states must match {name!r}, the name of a state, with its step.")
    _require(PurePosixPath(name).match(pattern.glob), f"{pattern.glob} must match {name!r}, the name of a state.")


def _require(kept: object, sentence: str) -> None:
    if not kept:
        raise AssertionError(sentence)

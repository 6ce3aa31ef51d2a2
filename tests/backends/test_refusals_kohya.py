"""Every rule for sd-scripts is one its scripts make necessary, and every mend is one they accept.

Each case is put to the real script: the plan as it is rendered in spite of its Problem, and the plan with the Problem's fix.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from backends.kohya import backend
from tests.backends import engine_plans, refused_natives, refused_plans
from tests.backends.engine_trials import Trials
from tests.backends.refused_plans import Refused
from trainer_core import catalog, environments
from trainer_core.plan import fields
from trainer_core.plan.sections import TrainingPlan
from trainer_core.problems import Problem

pytestmark = [pytest.mark.backend, pytest.mark.timeout(1800)]
CELLS = engine_plans.cells(backend)
CASES = {**refused_plans.cases(), **refused_natives.cases()}
MOST_FIXES = 3
"""A fix may bring another Problem with a fix to light."""


@dataclass(frozen=True)
class Told:
    """The names of the engine's answers to a case, and whether the value reaches it at all."""

    problems: list[Problem]
    before: str
    forced: str
    after: str
    mended: bool
    is_told: bool


def offered() -> dict[str, tuple[str, Mapping[str, Any]]]:
    """What Easel offers to choose, with every setting that belongs to it changed: the family, and the values."""
    found: dict[str, tuple[str, Mapping[str, Any]]] = {}
    for section, choice, entries in (
        ("optimizer", "name", {name: catalog.optimizers()[name] for name in backend.manifest.optimizers}),
        ("schedule", "scheduler", {name: catalog.schedulers()[name] for name in backend.manifest.schedulers}),
    ):
        for name, entry in entries.items():
            own = {f"{section}__{setting}": other(f"{section}.{setting}") for setting in entry.settings}
            found[f"{section} {name}"] = ("sd15", {f"{section}__{choice}": name, **own})
    for family, claim in backend.manifest.families.items():
        for name in claim.algorithms:
            found[f"network {name}, {family}"] = (family, {"network__algorithm": name})
    return found


def other(path: str) -> Any:
    return engine_plans.other_value(fields.all_fields()[path])


OFFERED = offered()


@pytest.fixture(scope="module")
def told(tmp_path_factory) -> tuple[Trials, Mapping[str, Told]]:
    """All cases, put to the engine in one go."""
    if environments.installed("kohya") is None:
        pytest.skip("kohya is not installed here (python installer.py backend install kohya)")
    trials = Trials(tmp_path_factory.mktemp("trials"))
    for family, method in CELLS:
        trials.put(trials.plan(family, method))
    for family, values in OFFERED.values():
        trials.put(accepted(trials, trials.plan(family, "lora", **values)))
    return trials, {name: put(trials, case) for name, case in CASES.items()}


def put(trials: Trials, case: Refused) -> Told:
    plan = trials.plan(case.family, case.method, native={"kohya": case.native}, **case.values)
    mended = mend(trials, plan, case)
    before, after = trials.put(plan), trials.put(mended or plan)
    forced = trials.put(plan, case.forced) if case.forced else before
    is_told = case.engine != "is told nothing" or before != trials.put(changed(plan, without(case)))
    return Told(trials.problems(plan), before, forced, after, mended is not None, is_told)


def accepted(trials: Trials, plan: TrainingPlan) -> TrainingPlan:
    """The plan with the fix of every blocking Problem that has one."""
    for _ in range(MOST_FIXES):
        fixes = [each.fix for each in trials.problems(plan) if each.severity == "error" and each.fix is not None]
        if not fixes:
            break
        plan = changed(plan, fixes[0].changes)
    return plan


def without(case: Refused) -> Mapping[str, Any]:
    return {case.path: fields.all_fields()[case.path].default}


def changed(plan: TrainingPlan, values: Mapping[str, Any]) -> TrainingPlan:
    """The plan with other values, by path."""
    flat = {path: getattr(getattr(plan, path.split(".")[0]), path.split(".")[1]) for path in fields.all_fields()}
    return TrainingPlan.model_validate({**fields.nest({**flat, **values}), "native": plan.native})


def of_case(trials: Trials, plan: TrainingPlan, case: Refused) -> list[Problem]:
    return [each for each in trials.problems(plan) if each.path == case.path and each.severity == case.severity]


def mend(trials: Trials, plan: TrainingPlan, case: Refused) -> TrainingPlan | None:
    """The plan with the Problem's fix, and with the fixes of what that brings to light; None when the Problem stays.

    A native setting is mended by leaving it out.
    """
    if case.native:
        return plan.model_copy(update={"native": {}})
    for _ in range(MOST_FIXES):
        problem = next(iter(of_case(trials, plan, case)), None)
        if problem is None:
            return plan
        if problem.fix is None or not problem.fix.changes:
            return None
        plan = changed(plan, problem.fix.changes)
    return None


@pytest.mark.parametrize(("family", "method"), CELLS)
def test_a_plan_without_problems_passes_the_checks_of_its_script(told, family, method):
    trials, _ = told
    plan = trials.plan(family, method)
    assert [each for each in trials.problems(plan) if each.severity == "error"] == []
    answer = trials.answers[trials.put(plan)]
    assert answer.outcome == "passed", answer.trace


@pytest.mark.parametrize("name", OFFERED)
def test_what_is_offered_passes_the_checks_when_its_fixes_are_accepted(told, name):
    trials, _ = told
    family, values = OFFERED[name]
    plan = accepted(trials, trials.plan(family, "lora", **values))
    assert [each for each in trials.problems(plan) if each.severity == "error"] == []
    answer = trials.answers[trials.put(plan)]
    assert answer.outcome == "passed", answer.trace


@pytest.mark.parametrize("name", CASES)
def test_a_problem_says_what_the_engine_would_stumble_over(told, name):
    trials, cases = told
    case, said = CASES[name], cases[name]
    assert [each for each in said.problems if each.path == case.path and each.severity == case.severity], said.problems
    if case.engine == "is told nothing":
        assert not said.is_told, "the value reaches the engine, though it is of no use there"
    answer = trials.answers[said.forced]
    stops = case.engine == "stops" or (case.says and case.forced)
    if stops:
        assert answer.outcome == "refused", answer.log[-2000:]
        assert case.says in answer.error
    else:
        assert answer.outcome == "passed", answer.trace
        assert case.says in answer.log


@pytest.mark.parametrize("name", CASES)
def test_the_fix_mends_it(told, name):
    trials, cases = told
    said = cases[name]
    if not said.mended:
        without = [each for each in said.problems if each.path == CASES[name].path and each.fix is None]
        assert without, "the fix leaves the Problem where it is"
        pytest.skip(f"only the user can mend it: {without[0].message}")
    answer = trials.answers[said.after]
    assert answer.outcome == "passed", answer.trace


BEHIND_THE_CHECKS = {
    "fp16 on a CPU": (
        {"memory__mixed_precision": "fp16"},
        "memory.mixed_precision",
        "the first step ends with: expected m1 and m2 to have the same dtype",
    ),
    "clip skip in bf16 on a CPU": (
        {"model__clip_skip": 2},
        "model.clip_skip",
        "the first step ends with: mixed dtype (CPU): expect parameter to have scalar type of Float",
    ),
    "no buckets and an odd resolution": (
        {"dataset__bucketing": False, "dataset__resolution": 100},
        "dataset.resolution",
        "the first step ends with layers of the U-Net that do not fit each other",
    ),
}
"""What the engine stumbles over in its first step only: the values, the Problem's setting, and what was seen in a run."""


@pytest.mark.parametrize("name", BEHIND_THE_CHECKS)
def test_what_stops_the_first_step_is_said_on_a_cpu(name):
    values, path, seen = BEHIND_THE_CHECKS[name]
    plan = engine_plans.plan("sd15", **values)
    said = [each for each in backend.problems(plan, engine_plans.machine()) if each.path == path]
    assert [each.severity for each in said] == ["error"]
    mended = changed(plan, said[0].fix.changes)
    assert path not in {
        each.path for each in backend.problems(mended, engine_plans.machine()) if each.severity == "error"
    }
    pytest.skip(f"not put to the engine, whose checks pass: {seen}")

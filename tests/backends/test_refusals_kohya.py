"""Every rule for sd-scripts matches the behaviour of its scripts, and the scripts accept every fix.

Each case runs the checks of the real script: with the plan that has the Problem, and with the plan after the Problem's fix.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from backends.kohya import backend
from tests.support import engine_plans, refused_natives, refused_plans
from tests.support.engine_trials import Trials
from tests.support.refused_plans import Refused
from trainer_core import catalog
from trainer_core.engines import contract
from trainer_core.engines.status import NOT_KNOWN
from trainer_core.install import environments
from trainer_core.plan import fields
from trainer_core.plan.sections import TrainingPlan
from trainer_core.problems import Problem

pytestmark = [pytest.mark.backend, pytest.mark.timeout(1800)]
CELLS = contract.cells(backend)
CASES = {**refused_plans.cases(), **refused_natives.cases()}
MOST_FIXES = 3
"""The number of fixes that are applied one after the other, because a fix may cause another Problem with a fix."""


@dataclass(frozen=True)
class Prepared:
    """The Problems of a case, the names of the engine's answers, whether it has a fix, and whether its value is rendered."""

    problems: list[Problem]
    before: str
    forced: str
    after: str
    has_fix: bool
    is_rendered: bool


def offered() -> dict[str, tuple[str, Mapping[str, Any]]]:
    """The choices that Easel offers, each with the family and with all its settings changed."""
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
    return contract.other_value(fields.all_fields()[path])


OFFERED = offered()


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> tuple[Trials, Mapping[str, Prepared]]:
    """All cases, added to one run of the engine."""
    if environments.installed("kohya") is None:
        pytest.skip("kohya is not installed here (python installer.py backend install kohya)")
    trials = Trials(tmp_path_factory.mktemp("trials"))
    for family, method in CELLS:
        trials.add(trials.plan(family, method))
    for family, values in OFFERED.values():
        trials.add(accepted(trials, trials.plan(family, "lora", **values)))
    return trials, {name: prepare(trials, case) for name, case in CASES.items()}


def prepare(trials: Trials, case: Refused) -> Prepared:
    plan = trials.plan(case.family, case.method, native={"kohya": case.native}, **case.values)
    fixed = fix(trials, plan, case)
    before, after = trials.add(plan), trials.add(fixed or plan)
    forced = trials.add(plan, case.forced) if case.forced else before
    is_rendered = case.engine != "not rendered" or before != trials.add(changed(plan, without(case)))
    return Prepared(trials.problems(plan), before, forced, after, fixed is not None, is_rendered)


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


def fix(trials: Trials, plan: TrainingPlan, case: Refused) -> TrainingPlan | None:
    """The plan with the Problem's fix, and with the fixes of Problems that follow; None if the Problem stays.

    The fix of a native setting is to remove it.
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
def test_a_plan_without_problems_passes_the_checks_of_its_script(prepared, family, method):
    trials, _ = prepared
    plan = trials.plan(family, method)
    assert [each for each in trials.problems(plan) if each.severity == "error"] == []
    answer = trials.answers[trials.add(plan)]
    assert answer.outcome == "passed", answer.trace


@pytest.mark.parametrize("name", OFFERED)
def test_every_offered_choice_passes_the_checks_after_its_fixes(prepared, name):
    trials, _ = prepared
    family, values = OFFERED[name]
    plan = accepted(trials, trials.plan(family, "lora", **values))
    assert [each for each in trials.problems(plan) if each.severity == "error"] == []
    answer = trials.answers[trials.add(plan)]
    assert answer.outcome == "passed", answer.trace


@pytest.mark.parametrize("name", CASES)
def test_each_problem_matches_the_behaviour_of_the_engine(prepared, name):
    trials, cases = prepared
    case, found = CASES[name], cases[name]
    assert [each for each in found.problems if each.path == case.path and each.severity == case.severity], (
        found.problems
    )
    if case.engine == "not rendered":
        assert not found.is_rendered, "the value is rendered, although the engine does not use it"
    answer = trials.answers[found.forced]
    stops = case.engine == "stops" or (case.message and case.forced)
    if stops:
        assert answer.outcome == "refused", answer.log[-2000:]
        assert case.message in answer.error
    else:
        assert answer.outcome == "passed", answer.trace
        assert case.message in answer.log


@pytest.mark.parametrize("name", CASES)
def test_the_engine_accepts_the_plan_after_the_fix(prepared, name):
    trials, cases = prepared
    found = cases[name]
    if not found.has_fix:
        without = [each for each in found.problems if each.path == CASES[name].path and each.fix is None]
        assert without, "the fix does not remove the Problem"
        pytest.skip(f"only the user can fix it: {without[0].message}")
    answer = trials.answers[found.after]
    assert answer.outcome == "passed", answer.trace


AFTER_THE_CHECKS = {
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
"""Plans that pass the checks and fail in the first step: the values, the setting of the Problem, and the result of a run."""


@pytest.mark.parametrize("name", AFTER_THE_CHECKS)
def test_plans_that_fail_in_the_first_step_on_a_cpu_have_a_problem(name):
    values, path, seen = AFTER_THE_CHECKS[name]
    plan = engine_plans.plan("sd15", **values)
    found = [each for each in backend.problems(plan, engine_plans.machine(), NOT_KNOWN) if each.path == path]
    assert [each.severity for each in found] == ["error"]
    fixed = changed(plan, found[0].fix.changes)
    assert path not in {
        each.path for each in backend.problems(fixed, engine_plans.machine(), NOT_KNOWN) if each.severity == "error"
    }
    pytest.skip(f"not run, because the checks of the engine pass: {seen}")

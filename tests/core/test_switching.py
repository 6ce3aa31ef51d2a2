"""Another engine for a job: what is told not to carry over is what is lost, for every pair of engines and random plans.

A value is lost if it changes what the old engine gets, and the new one neither follows it nor says anything about it.
"""

import itertools
import os
import random
from dataclasses import replace

import pytest

from tests.support import random_plans
from trainer_core.draft.layers import Draft, Source
from trainer_core.engines import contract, registry
from trainer_core.engines.option_sources import other_values
from trainer_core.engines.status import EngineStatus
from trainer_core.errors import EaselError
from trainer_core.plan import fields
from trainer_core.plan.sections import TrainingPlan
from trainer_core.prepare import switching
from trainer_core.prepare.state import State

PLANS = 12 if "EASEL_FUZZ" not in os.environ else int(os.environ["EASEL_FUZZ"])
"""How many plans of each pair are tried."""
ENGINES = registry.available(include_hidden=True)
PAIRS = [
    pytest.param(old, new, id=f"{old.manifest.id}-{new.manifest.id}")
    for old, new in itertools.permutations(ENGINES, 2)
    if {*contract.cells(old)} & {*contract.cells(new)}
]


def states(old, new, seed):
    """The same random job with both engines, for a model and a method that both train."""
    shared = {*contract.cells(old)} & {*contract.cells(new)}
    for case in random_plans.cases(old, seed):
        plan = case.plan
        if (plan.model.family, plan.model.method) in shared:
            values = {
                path: value for path, value in fields.flatten(plan.model_dump()).items() if path in fields.all_fields()
            }
            changed = {path: value for path, value in values.items() if value != fields.all_fields()[path].default}
            native = {"native": plan.native} if plan.native else {}
            statuses = {engine.manifest.id: EngineStatus(installed=True) for engine in ENGINES}
            facts = replace(case.facts, engines=statuses)
            draft = Draft(facts).with_values(Source.USER, {**changed, **native})
            yield State(draft, ENGINES, engine=old), State(draft, ENGINES, engine=new)


def written(state, change=None):
    """All that a start would write and run; None where the plan cannot be written as it is."""
    values = {**state.draft.usable_values, **(change or {})}
    try:
        plan = TrainingPlan.model_validate(fields.nest(values | {"model.family": state.draft.sketch().model.family}))
        spec = state.engine.render(plan, contract.place())
    except (EaselError, ValueError, KeyError, TypeError):
        return None
    return dict(spec.files), spec.steps


def has_effect(state, path):
    """Whether an engine gets something else if a setting has its default; None if that cannot be tried."""
    with_it = written(state)
    without = written(state, {path: fields.all_fields()[path].default})
    return None if with_it is None or without is None else with_it != without


def is_followed(state, path):
    """Whether an engine does something about a setting: another value changes what it gets, or brings a Problem.

    An engine that always does what a value asks for has the same files with and without it, and a Problem for the other value.
    """
    field = fields.all_fields()[path]
    for value in {field.default, *other_values(field)} - {state.draft.values[path]}:
        other = state.draft.with_values(Source.USER, {path: value})
        if any(problem.path == path for problem in other.problems(state.engine)):
            return True
        if written(state, {path: value}) != written(state):
            return True
    return False


@pytest.mark.parametrize(("old", "new"), PAIRS)
def test_what_is_told_is_what_is_lost(old, new):
    seed = random.Random(f"{old.manifest.id} {new.manifest.id}").randrange(10_000)
    for before, after in itertools.islice(states(old, new, seed), PLANS):
        told = {one.path: one.why for one in switching.lost(before, after)}
        assert all(told.values())
        assert not list(switching.lost(before, before))
        # The old engine says itself that these do nothing in this plan.
        idle = {problem.path for problem in before.draft.problems(old) if problem.severity == "info"}
        against = after.draft.problems(new)
        said, noted = {one.path for one in against if one.severity != "info"}, {one.path for one in against}
        for path, field in fields.all_fields().items():
            if field.about.done_by_easel or path in idle or not before.scope.is_set(path):
                continue
            if path in told:
                assert path in noted or not has_effect(after, path), f"{path} has an effect. Told: {told[path]}"
            # The rehearsal writes the whole plan, also what could have no effect.
            elif not old.manifest.hidden and before.scope.applies(path) and field.about.only_with not in told:
                is_lost = has_effect(before, path) and has_effect(after, path) is False
                assert not is_lost or (path not in said and is_followed(after, path)), f"{path} is lost without a word"
        assert {path for path in told if path.startswith("native.")} == _natives(before, old)


def _natives(state, engine):
    table = state.draft.usable_values.get("native", {})
    return {one.path for one in switching.native_of(state, engine.manifest.id)} if table else set()


def test_a_value_whose_use_is_lost_is_told_though_the_engine_only_notes_it():
    """Kept tags protect from the dropout of tags, too; an engine without that dropout only notes that tags are not shuffled."""
    old, new = registry.get("kohya"), registry.get("simpletuner")
    before, after = next(states(old, new, 0))
    values = {"dataset.keep_tokens": 2, "dataset.tag_dropout": 0.2, "dataset.shuffle_captions": False}
    before, after = (replace(one, draft=one.draft.with_values(Source.USER, values)) for one in (before, after))
    told = {one.path: one.why for one in switching.lost(before, after)}
    assert told["dataset.keep_tokens"] == "Keep tokens has no effect: tags are not shuffled."
    idle = {**values, "dataset.tag_dropout": 0.0}
    before, after = (replace(one, draft=one.draft.with_values(Source.USER, idle)) for one in (before, after))
    assert "dataset.keep_tokens" not in {one.path for one in switching.lost(before, after)}, (
        "it did nothing before either"
    )

"""Whatever Easel proposes helps: fixes, cheaper settings and memory presets bring no error that was not there before.

EASEL_FUZZ=2000 tries that many random plans of each engine; without it a hundred.
"""

from __future__ import annotations

import itertools
import os
from dataclasses import replace

import pytest

from tests.support import engine_plans, random_plans
from trainer_core.catalog import presets
from trainer_core.draft import checks, fixes
from trainer_core.draft.facts import Facts
from trainer_core.draft.relevance import Scope
from trainer_core.engines import registry
from trainer_core.engines.status import NOT_KNOWN
from trainer_core.errors import PlanError
from trainer_core.estimate import fit_advice
from trainer_core.estimate.fit_advice import changed
from trainer_core.models.detection import Detection
from trainer_core.plan import fields
from trainer_core.prepare import problems as job_problems
from trainer_core.prepare.state import begun
from trainer_core.problems import Fix, Problem, blocking

PLANS = int(os.environ.get("EASEL_FUZZ", "100"))
ENGINES = [backend for backend in registry.available() if backend.manifest.needs_installation]
pytestmark = pytest.mark.timeout(3600 if "EASEL_FUZZ" in os.environ else 300)
IDS = [backend.manifest.id for backend in ENGINES]


def errors(found: list[Problem]) -> set[tuple[str, str]]:
    return {(each.path, each.message) for each in blocking(found)}


@pytest.mark.parametrize("backend", ENGINES, ids=IDS)
def test_every_offered_fix_leaves_fewer_problems_and_brings_no_error(backend):
    tried = 0
    for case in itertools.islice(random_plans.cases(backend), PLANS):
        found = case.problems(case.plan)

        def after(changes, case=case):
            return case.problems(changed(case.plan, changes))

        for problem in fixes.sound(found, after):
            if problem.fix is None or not problem.fix.changes:
                continue
            tried += 1
            left = after(problem.fix.changes)
            assert errors(left) <= errors(found), problem
            same = [each for each in left if each.severity == problem.severity]
            assert len(same) < sum(each.severity == problem.severity for each in found), problem
    assert tried > PLANS, "random plans have few Problems"


@pytest.mark.parametrize("backend", ENGINES, ids=IDS)
def test_hardly_any_fix_of_a_rule_must_be_left_out(backend):
    """The rules themselves offer fixes that help: in random plans fewer than one in twenty had to be left out."""
    offered = left_out = 0
    for case in itertools.islice(random_plans.cases(backend, seed=1), PLANS):
        found = case.problems(case.plan)
        with_changes = [each for each in found if each.fix is not None and each.fix.changes]
        offered += len(with_changes)
        left_out += sum(
            not fixes.helps(each.severity, found, case.problems(changed(case.plan, each.fix.changes)))
            for each in with_changes
        )
    assert left_out < offered / 20


@pytest.mark.parametrize("backend", ENGINES, ids=IDS)
def test_no_cheaper_setting_brings_an_error(backend):
    proposed = 0
    for number, case in enumerate(itertools.islice(random_plans.cases(backend, seed=2), 5 * PLANS)):
        # Few random plans take more memory than there is, and have settings that would change it.
        if number >= max(20, PLANS // 5) and proposed:
            break
        fix = fit_advice(case.plan, case.facts, case.problems, manifest=backend.manifest)
        if fix is None or not fix.changes:
            continue
        proposed += 1
        assert errors(case.problems(changed(case.plan, fix.changes))) <= errors(case.problems(case.plan)), fix
    assert proposed


@pytest.mark.parametrize("backend", ENGINES, ids=IDS)
def test_no_offered_preset_brings_an_error(backend):
    offered = 0
    for case in itertools.islice(random_plans.cases(backend, seed=3), max(20, PLANS // 5)):
        state = begun(case.facts, (backend,), {}).set(
            {**fields.flatten(case.plan.model_dump(exclude={"native"})), "native": case.plan.native}
        )
        sound, refused = job_problems.offered_presets(state)
        before = errors(list(job_problems.problems(state)))
        for preset in sound:
            offered += 1
            assert errors(list(job_problems.problems(state.use_preset(preset)))) <= before
        assert {*refused} | {each.id for each in sound} == {
            each.id for each in presets.for_family(state.family, str(state.draft.values["model.method"]))
        }
    assert offered


def test_a_fix_that_brings_an_error_is_not_offered():
    one = Problem("memory.mixed_precision", "warning", "Slow.", Fix("Use fp16", {"memory.mixed_precision": "fp16"}))
    other = Problem("schedule.seed", "error", "No seed.", Fix("Use 1", {"schedule.seed": 1}))
    brings = {
        "memory.mixed_precision": [other, Problem("memory.half_weights", "error", "NaN.")],
        "schedule.seed": [one],
    }
    kept = fixes.sound([one, other], lambda changes: brings[next(iter(changes))])
    assert kept == [replace(one, fix=None), other]


def test_another_engine_is_offered_only_if_it_solves_the_problem():
    one = Problem("model.path", "error", "A does not train this.", Fix("Use B", engine="b"))
    install = Problem("", "error", "B is not installed.")
    refused = Problem("model.path", "error", "B does not train this.")
    assert fixes.sound([one], lambda _: (), lambda _: [install]) == [one], "its installation is offered afterwards"
    assert fixes.sound([one], lambda _: (), lambda _: [install, refused]) == [replace(one, fix=None)]


@pytest.mark.parametrize("algorithm", ["lora", "glora", "lokr", "dora", "loha", "full"])
def test_cheaper_settings_put_the_base_in_8_bits_only_for_networks_that_train_on_it(algorithm):
    kohya = registry.get("kohya")
    plan = engine_plans.plan(
        "flux", network__algorithm=algorithm, memory__cache_text_encoder=True, dataset__resolution=1024
    )
    free = engine_plans.machine(replace(engine_plans.CARD, free_vram_bytes=19 * random_plans.GIB))
    facts = Facts(free, Detection("flux", "diffusion_model", prediction="flow"))

    def problems(other):
        return [*checks.check(checks.Case(other, facts, kohya)), *kohya.problems(other, free, NOT_KNOWN)]

    fix = fit_advice(plan, facts, problems, manifest=kohya.manifest)
    assert ("memory.fp8_base" in (fix.changes if fix else {})) == (algorithm in ("lora", "glora"))


def test_a_preset_with_an_8_bit_base_is_not_offered_for_a_network_that_computes_with_it():
    kohya = registry.get("kohya")
    facts = Facts(engine_plans.machine(engine_plans.CARD), Detection("flux", "diffusion_model", prediction="flow"))
    state = begun(facts, (kohya,), {}).set({"model.family": "flux", "network.algorithm": "lokr"})
    sound, refused = job_problems.offered_presets(state)
    assert "flux-24" in refused
    assert "8 bits" in refused["flux-24"]
    plain, none = job_problems.offered_presets(state.set({"network.algorithm": "lora"}))
    assert "flux-24" in {each.id for each in plain}
    assert not none
    assert Scope.of(state.draft, kohya).applies("memory.fp8_base")
    assert len(sound) < len(plain)


def test_a_start_that_is_refused_offers_only_fixes_that_help():
    kohya = registry.get("kohya")
    facts = Facts(engine_plans.machine(), Detection("sdxl", "checkpoint", prediction="epsilon"))
    values = {"memory.mixed_precision": "fp16", "memory.half_weights": True, "model.method": "full"}
    state = begun(facts, (kohya,), {}).set(values)
    with pytest.raises(PlanError) as refused:
        job_problems.plan(state, kohya)
    found = [each for each in refused.value.problems if each.path == "memory.mixed_precision"]
    assert [each.fix for each in found] == [None], "without mixed precision, half weights are an error"

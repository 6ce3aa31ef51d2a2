"""The disk space of states in the estimate."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.support import engine_plans
from trainer_core.draft.facts import Facts
from trainer_core.engines import registry
from trainer_core.estimate import Estimate, against, estimate
from trainer_core.prepare.forecast import Forecast

GIB = 1024**3
KOHYA = registry.get("kohya")


def test_a_disk_that_is_too_small_only_for_states_offers_to_keep_none():
    roomy = engine_plans.machine(engine_plans.CARD)
    found = Estimate(10, 1.0, (1, 2), (5, 8), 10, 9.0, 1.0, (), states_gib=6.0)
    for free_gib, offered in ((4, True), (2, False), (10, False)):
        fit = against(found, replace(roomy, disk_bytes=free_gib * GIB), ())
        problems = Forecast(found, fit).problems()
        fixes = [each.fix.assignments for each in problems if each.fix]
        assert fixes == ([{"output.keep_states": 0}] if offered else [])
        assert bool(problems) == (free_gib < 9)


def test_a_plan_that_keeps_the_last_checkpoints_needs_less_space():
    def disk(last):
        plan = engine_plans.plan("sd15", model__method="full", output__save_every_steps=100, output__keep_last=last)
        return estimate(plan, Facts(engine_plans.machine(engine_plans.CARD)), manifest=KOHYA.manifest).disk_gib

    each = disk(2) - disk(1)
    assert each > 1
    # All of them; and one more than are kept, while it is written.
    assert disk(0) - disk(1) == pytest.approx((engine_plans.plan("sd15").schedule.steps // 100 - 2) * each)
    assert disk(1000) == pytest.approx(disk(0))


@pytest.mark.parametrize(("method", "least_gib"), [("lora", 0.005), ("full", 9), ("textual_inversion", 0.7)])
def test_kept_states_need_space_and_one_more_while_it_is_written(method, least_gib):
    def disk(keep, goes_back=False):
        more = {"guards__back_after_nan": True} if goes_back else {}
        plan = engine_plans.plan("sd15", model__method=method, output__keep_states=keep, **more)
        found = estimate(plan, Facts(engine_plans.machine(engine_plans.CARD)), manifest=KOHYA.manifest)
        # sd-scripts saves a checkpoint beside each state also if the plan asks for none, and removes it after the next.
        beside = 2 * found.lora_mib / 1024 if keep else 0
        return found.disk_gib - beside, found.states_gib

    (none, nothing), (one, states), (_, more) = disk(0), disk(1), disk(2)
    assert nothing == 0
    assert one - none == pytest.approx(states)
    assert states > 2 * least_gib
    assert more == pytest.approx(states * 3 / 2)
    assert disk(1, goes_back=True)[1] == pytest.approx(more), "a good state is kept until a newer one is good"
    assert disk(0, goes_back=True)[1] == 0

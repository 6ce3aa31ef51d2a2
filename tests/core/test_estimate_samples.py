"""What samples add to the estimate: counted by prompt, by the largest one, and told in a sentence."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.support import engine_plans
from trainer_core.draft.facts import Facts
from trainer_core.engines import registry
from trainer_core.estimate import Estimate, Past, estimate, formatting
from trainer_core.hardware import Accelerator

GIB = 1024**3
CARD = Accelerator("cuda", "NVIDIA GeForce RTX 3090", 24 * GIB, 23 * GIB, "8.6")
KOHYA = registry.get("kohya").manifest
SAMPLED = {"schedule__steps": 960, "sampling__every_steps": 240}
FOUR = tuple({"text": text} for text in "abcd")


def of(family: str = "sdxl", **values: Any) -> Estimate:
    return estimate(engine_plans.plan(family, **values), Facts(engine_plans.machine(CARD)), manifest=KOHYA)


def test_samples_are_counted_by_prompt():
    one, four = of(**SAMPLED), of(**SAMPLED, sampling__prompts=FOUR)
    assert (one.samples, four.samples) == (4, 16)
    assert four.sampling_s == pytest.approx([4 * each for each in one.sampling_s])
    assert four.seconds[0] - one.seconds[0] == pytest.approx(3 * one.sampling_s[0])
    assert four.disk_gib > one.disk_gib
    assert of(**SAMPLED, sampling__at_start=True).samples == 5
    assert of(schedule__steps=960).samples == 0


def test_the_largest_prompt_decides_the_memory_of_samples():
    small, large = ({"text": "a", "width": side, "height": side} for side in (512, 4096))
    first = of("sd15", **SAMPLED, sampling__prompts=(small,))
    assert of("sd15", **SAMPLED, sampling__prompts=(small, large)).vram_gib[1] > first.vram_gib[1]
    assert of("sd15", **SAMPLED, sampling__prompts=(small, large)).sampling_s[0] > 2 * first.sampling_s[0]


def test_samples_that_take_much_of_the_time_are_told():
    found = replace(of(**SAMPLED), seconds=(80.0, 120.0), sampling_s=(40.0, 80.0))
    assert formatting.sample_share(found) == "which take longer than all steps"
    assert formatting.sample_share(replace(found, sampling_s=(20.0, 41.0))) == "about 30 % of the time"
    assert formatting.sample_share(replace(found, sampling_s=(10.0, 20.0))) == ""
    assert formatting.sample_share(replace(found, seconds=(0.0, 0.0))) == ""
    large = ({"text": "a", "width": 1024, "height": 1024},)
    often = of("sd15", **{**SAMPLED, "sampling__every_steps": 40}, sampling__prompts=large, dataset__resolution=64)
    assert formatting.sample_share(often).endswith((" % of the time", "longer than all steps"))


def test_the_cost_of_samples_in_a_sentence():
    found = replace(of(**SAMPLED, sampling__prompts=FOUR), sampling_s=(250.0, 380.0), is_time_known=True)
    planned = engine_plans.plan("sdxl", **SAMPLED, sampling__prompts=FOUR, sampling__at_start=True)
    assert (
        formatting.samples(found, planned) == "4 prompts, every 240 steps and before the first: 16 images, 4 to 6 min."
    )
    unknown = replace(found, is_time_known=False)
    assert formatting.samples(unknown, engine_plans.plan("sdxl", **SAMPLED)) == "1 prompt, every 240 steps: 16 images."
    assert formatting.samples(found, engine_plans.plan("sdxl")) == ""


TINY = {"dataset__resolution": 256, "schedule__steps": 40, "sampling__every_steps": 10, "memory__mixed_precision": "no"}


def measured(step_s: float, sampling_s: float = 0.0) -> Past:
    return Past(
        "one", "kohya", engine_plans.plan("sdxl", **TINY), engine_plans.machine(), step_s, sampling_s=sampling_s
    )


@pytest.mark.parametrize("step_s", [0.02, 0.25, 1.0, 30.0])
@pytest.mark.parametrize("side", [256, 1024])
def test_a_measured_step_never_turns_a_range_around(step_s, side):
    """On a CPU the least calculated time of a step may be far below a measured one, the most far above."""
    planned = engine_plans.plan("sdxl", **TINY, sampling__width=side, sampling__height=side)
    found = estimate(planned, Facts(engine_plans.machine()), [measured(step_s)], KOHYA)
    assert 0 < found.sampling_s[0] <= found.sampling_s[1]
    assert 0 < found.seconds[0] <= found.seconds[1]


def test_the_time_of_samples_is_that_of_the_last_run_like_it():
    facts = Facts(engine_plans.machine())
    found = estimate(engine_plans.plan("sdxl", **TINY), facts, [measured(1.0, sampling_s=90.0)], KOHYA)
    assert found.sampling_s == pytest.approx((90 / 1.1, 90 * 1.1))
    often = estimate(
        engine_plans.plan("sdxl", **{**TINY, "sampling__every_steps": 5}), facts, [measured(1.0, 90.0)], KOHYA
    )
    assert often.sampling_s[0] < 180 < often.sampling_s[1]

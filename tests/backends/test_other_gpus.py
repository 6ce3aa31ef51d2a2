"""On the GPUs of Apple and Intel, what the engines cannot do is said before the start."""

from __future__ import annotations

import pytest

from tests.support import engine_plans
from trainer_core.engines import registry
from trainer_core.hardware import Accelerator

APPLE, INTEL = Accelerator("mps", "Apple silicon"), Accelerator("xpu", "Intel GPU")
LOFTQ = {"simpletuner": {"lora_init_type": "loftq"}}


def said(engine, family, values, *devices):
    found = engine_plans.problems(registry.get(engine), engine_plans.plan(family, **values), *devices)
    return {(problem.path, problem.severity): problem for problem in found}


@pytest.mark.parametrize(
    ("engine", "family", "values", "path", "severity", "device"),
    [
        ("simpletuner", "sdxl", {"schedule__batch_size": 17}, "schedule.batch_size", "error", APPLE),
        ("simpletuner", "sdxl", {"memory__fp8_base": True}, "memory.fp8_base", "error", APPLE),
        ("simpletuner", "sdxl", {"native": LOFTQ}, "native.simpletuner.lora_init_type", "error", APPLE),
        (
            "simpletuner",
            "flux",
            {"native": {"simpletuner": {"ramtorch": True}}},
            "native.simpletuner.ramtorch",
            "error",
            APPLE,
        ),
        ("kohya", "flux", {"memory__fp8_base": True}, "memory.fp8_base", "error", APPLE),
        ("kohya", "flux", {"memory__blocks_to_swap": 8}, "memory.blocks_to_swap", "warning", APPLE),
        ("kohya", "flux", {"memory__blocks_to_swap": 8}, "memory.blocks_to_swap", "warning", INTEL),
    ],
)
def test_what_does_not_work_on_another_gpu_is_said_there_only_and_its_fix_mends_it(
    engine, family, values, path, severity, device
):
    assert (path, severity) not in said(engine, family, values, engine_plans.CARD)
    problem = said(engine, family, values, device)[path, severity]
    if problem.fix is not None:
        changes = {key.replace(".", "__"): value for key, value in problem.fix.changes.items()}
        assert (path, severity) not in said(engine, family, {**values, **changes}, device)

"""Random plans of an engine, with random facts, for the tests of what Easel proposes."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support import engine_plans
from trainer_core.datasets.scan import Dataset, DatasetImage
from trainer_core.draft import checks
from trainer_core.draft.facts import Facts
from trainer_core.engines import contract
from trainer_core.engines.option_sources import other_values
from trainer_core.engines.seam import Backend
from trainer_core.engines.status import NOT_KNOWN
from trainer_core.hardware import Accelerator
from trainer_core.models.detection import Detection
from trainer_core.plan import fields
from trainer_core.plan.sections import TrainingPlan
from trainer_core.problems import Problem

GIB = 1024**3
CHANGED = ("dataset", "memory", "network", "optimizer", "sampling", "schedule")
"""The sections whose settings are changed."""
NATIVE: Mapping[str, tuple[Mapping[str, Any], ...]] = {
    "kohya": (
        {"network_args": ["bypass_mode=true"]},
        {"network_args": ["loraplus_lr_ratio=4"]},
        {"scale_weight_norms": 1.0},
        {"fp8_base_unet": True},
        {"blockwise_fused_optimizers": True},
        {"launch": {"num_processes": 2}},
    ),
    "simpletuner": ({"launch": {"num_processes": 2}}, {"init_lokr_norm": 0.001}, {"base_model_precision": "int8-sdnq"}),
}
"""By engine: native settings, of which some plans get one."""


@dataclass(frozen=True)
class Case:
    """A plan, the facts about it, and the Problems of any plan with these facts."""

    plan: TrainingPlan
    facts: Facts
    problems: Callable[[TrainingPlan], list[Problem]]


def cases(backend: Backend, seed: int = 0) -> Iterator[Case]:
    """Random cases without end, the same for each seed."""
    draw = random.Random(seed)
    cells = contract.cells(backend)
    while True:
        yield _case(backend, draw, *draw.choice(cells))


def _case(backend: Backend, draw: random.Random, family: str, method: str) -> Case:
    claim = backend.manifest.families[family]
    prediction = draw.choice(claim.predictions) if claim.predictions else ""
    dtype = draw.choice(("F16", "BF16", "F32"))
    detection = Detection(family, "checkpoint", prediction=prediction, dtype=dtype, is_prediction_certain=True)
    facts = Facts(engine_plans.machine(*_devices(draw)), detection, _dataset(draw))
    values = {"model.method": method, "model.prediction": prediction}
    for path, setting in fields.all_fields().items():
        if setting.section in CHANGED and draw.random() < 0.2:
            values[path] = draw.choice([*other_values(setting), *_numbers(draw, setting)])
    values["dataset.path"] = "/images"
    native = draw.choice((*NATIVE.get(backend.manifest.id, ({},)), {}, {}, {}, {}))
    given = {path.replace(".", "__"): value for path, value in values.items()}
    plan = engine_plans.plan(family, native={backend.manifest.id: dict(native)} if native else {}, **given)

    def problems(other: TrainingPlan) -> list[Problem]:
        said = backend.problems(other, facts.machine, NOT_KNOWN)
        return [*checks.check(checks.Case(other, facts, backend)), *said]

    return Case(plan, facts, problems)


def _numbers(draw: random.Random, setting: fields.SettingField) -> list[Any]:
    """A random number in the usual range of a setting that is a number."""
    if setting.choices or setting.base_type not in (int, float) or setting.minimum is None:
        return []
    most = min(setting.maximum if setting.maximum is not None else 100, 4 * (setting.default or 1) + 4)
    value = draw.uniform(setting.minimum, max(most, setting.minimum))
    value = setting.base_type(value)
    return [value] if not fields.check(setting.path, value)[1] else []


def _devices(draw: random.Random) -> tuple[Accelerator, ...]:
    """No GPU, an old one, or one or two new ones, with any amount of free memory."""
    size = draw.choice((8, 12, 16, 24, 48))
    free = int(size * GIB * draw.uniform(0.3, 0.95))
    new = Accelerator("cuda", "NVIDIA GeForce RTX 3090", size * GIB, free, "8.6")
    old = Accelerator("cuda", "Tesla T4", size * GIB, free, "7.5")
    return draw.choice(((), (old,), (new,), (new,), (new, new)))


def _dataset(draw: random.Random) -> Dataset:
    sides = (512, 640, 768, 1024, 1536)
    shapes = draw.sample([(width, height) for width in sides for height in sides], draw.randint(1, 4))
    images = [draw.choice(shapes) for _ in range(draw.randint(1, 40))]
    shown = (
        DatasetImage(f"{number}.png", *size, "blobbert", None, Path(f"/images/{number}.png"))
        for number, size in enumerate(images)
    )
    return Dataset(Path("/images"), tuple(shown), (), ())

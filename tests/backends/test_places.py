"""A job can be rendered for another machine: every file that its plan names is called there as that place says."""

from __future__ import annotations

import re
from dataclasses import fields as parts_of

import pytest

from tests.support import engine_plans
from trainer_core.engines import contract, registry
from trainer_core.engines.seam import Place
from trainer_core.install.place import at_place
from trainer_core.plan import fields

HERE, THERE = "/here/", "/there/"
CELLS = [
    pytest.param(engine, *cell, id="-".join((engine.manifest.id, *cell)))
    for engine in registry.available(include_hidden=True)
    for cell in contract.cells(engine)
]


class Elsewhere(Place):
    """A machine on which all files lie below another folder."""

    def path(self, text: str) -> str:
        return re.sub(rf"^{HERE}", THERE, text)


def elsewhere() -> Place:
    place = engine_plans.place()
    return Elsewhere(**{each.name: getattr(place, each.name) for each in parts_of(place)})


@pytest.mark.parametrize(("engine", "family", "method"), CELLS)
def test_no_path_of_this_machine_reaches_an_engine_that_runs_elsewhere(engine, family, method):
    named = {setting.path.replace(".", "__"): f"{HERE}{setting.name}.safetensors" for setting in fields.paths()}
    native = {}
    if weights := engine.manifest.options.weights:
        native = {
            engine.manifest.id: {weights[0]: f"{HERE}first.safetensors", weights[-1]: [f"{HERE}last.safetensors"]}
        }
    plan = engine_plans.plan(family, model__method=method, native=native, **named)
    place = elsewhere()
    job = engine.render(at_place(plan, engine.manifest, place), place)
    told = "\n".join(
        [*job.files.values(), *(word for step in job.steps for word in (*step.argv, *step.environment.values()))]
    )
    assert HERE not in told
    assert f"{THERE}path.safetensors" in told
    assert native == {} or f"{THERE}last.safetensors" in told


def test_at_this_machine_a_plan_stays_as_it_is():
    kohya = registry.get("kohya")
    plan = engine_plans.plan("flux", model__vae="/models/ae.safetensors", native={"kohya": {"network_weights": "/a.b"}})
    assert at_place(plan, kohya.manifest, engine_plans.place()) == plan

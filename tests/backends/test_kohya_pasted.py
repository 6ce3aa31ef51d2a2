"""Pasted commands of sd-scripts: the inverse of rendering, for random plans; and commands as people write them."""

from __future__ import annotations

import dataclasses
import itertools
import shlex

import pytest

from tests.support import engine_plans, random_plans
from trainer_core.engines import registry
from trainer_core.errors import PlanError
from trainer_core.plan import fields
from trainer_core.prepare import pasting
from trainer_core.prepare.workbench import Workbench
from trainer_core.problems import blocking

KOHYA = registry.get("kohya")
PLANS = 400


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "easel"))
    return tmp_path


def bench(machine=None, **values) -> Workbench:
    found = Workbench(machine)
    found.set({"model.family": "sdxl", **values})
    return found


def written(folder, job) -> str:
    """The command of a job whose files are in a folder."""
    for path, text in job.files.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, "utf-8")
    return shlex.join(job.steps[-1].argv)


def becomes(offer, option: str) -> list[tuple[str, str, object]]:
    return [(one.kind, one.path, one.value) for one in offer.items if one.option == option]


def test_the_command_of_a_rendered_plan_is_read_back_as_the_plan_that_renders_the_same(tmp_path):
    cases = (case for case in random_plans.cases(KOHYA, seed=11) if not blocking(case.problems(case.plan)))
    for number, case in enumerate(itertools.islice(cases, PLANS)):
        folder = tmp_path / str(number)
        place = dataclasses.replace(
            engine_plans.place(), run=folder, dataset=folder / "dataset", output=folder / "output"
        )
        job = KOHYA.render(case.plan, place)
        text = written(folder, job)
        found = bench(case.facts.machine, **{"model.family": case.plan.model.family})
        offer = pasting.look(found, text)
        pasting.take(found, offer)
        again = found.state.draft.sketch()
        # The model's file, which is not here, says the prediction.
        model = again.model.model_copy(
            update={"prediction": case.plan.model.prediction, "zero_terminal_snr": case.plan.model.zero_terminal_snr}
        )
        same = KOHYA.render(again.model_copy(update={"model": model}), place)
        assert same.files == job.files, (number, case.plan, [one for one in offer.items if one.kind == "refused"])
        assert same.steps[-1].argv == job.steps[-1].argv

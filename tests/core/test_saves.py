"""Before the start it is said what a run saves, and that is what the engine's files ask for."""

import pytest

from backends.kohya import results as kohya
from backends.simpletuner import results as simpletuner
from tests.support import engine_plans
from trainer_core.engines import registry
from trainer_core.estimate import Estimate
from trainer_core.prepare import saves
from trainer_core.prepare.preview import look_ahead

FOUND = Estimate(1000, None, (0, 0), (0, 0), 0, 0, 36.0, (), states_gib=0.5)
INTERVALS = {
    "kohya": ("save_every_n_steps", kohya.saving),
    "simpletuner": ("checkpointing_rolling_steps", simpletuner.saving),
}


def plan(**values):
    return engine_plans.plan("sdxl", **{"schedule__steps": 1005, **values})


@pytest.mark.parametrize("engine", INTERVALS)
@pytest.mark.parametrize("steps", [7, 10, 999, 1005])
def test_the_distance_of_states_that_is_said_is_that_of_the_engine(engine, steps):
    option, saving = INTERVALS[engine]
    asked = plan(schedule__steps=steps, output__save_every_steps=0, output__keep_states=2)
    assert saves.state_interval(asked, registry.get(engine).manifest) == saving(asked)[option]


def test_states_without_checkpoints_name_the_checkpoints_that_nobody_asked_for():
    manifest = registry.get("kohya").manifest
    asked = plan(output__save_every_steps=0, output__keep_states=1, guards__back_after_nan=False)
    said = saves.sentences(asked, manifest, FOUND)
    assert "only the result of the last step, about 36.0 MiB" in said[0]
    assert (
        "every 101 steps: the newest one stays, and one more while a new one is written (up to 512.0 MiB together)"
        in said[1]
    )
    assert "a checkpoint every 101 steps that you did not ask for" in said[2]
    assert saves.in_short(asked, manifest, FOUND) == "a state every 101 steps to resume from (up to 512.0 MiB together)"
    assert len(saves.sentences(asked, registry.get("simpletuner").manifest)) == 2, "its states are whole"


def test_checkpoints_that_were_asked_for_are_counted():
    manifest = registry.get("kohya").manifest
    said = saves.sentences(plan(output__save_every_steps=100, output__keep_last=3, output__keep_states=0), manifest)
    assert said == ("A checkpoint every 100 steps: 10, and the newest 3 stay.",)
    assert saves.in_short(plan(output__keep_states=0), manifest) == ""


def test_the_preview_says_it(tmp_path, monkeypatch):
    from trainer_core.draft.layers import Source
    from trainer_core.prepare.workbench import Workbench

    monkeypatch.setenv("EASEL_HOME", str(tmp_path))
    bench = Workbench(engine="kohya")
    bench.set({"model.family": "sdxl", "model.path": "/models/base.safetensors", "output.keep_states": 1})
    assert bench.state.draft.source_of("output.keep_states") is Source.USER
    seen = look_ahead(bench.state)
    assert any("that you did not ask for" in sentence for sentence in seen.saves)
    assert seen.as_dict()["saves"] == list(seen.saves)

"""The job being prepared: its facts follow its settings, and the engine follows the model."""

import shutil

import pytest

from tests.core import recorded_headers
from trainer_core import presets, registry
from trainer_core.engines import choose
from trainer_core.errors import EaselError
from trainer_core.plan.draft import Source
from trainer_core.runs.run import Run
from trainer_core.workbench import Workbench


@pytest.fixture
def bench(tmp_path, monkeypatch):
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "home"))
    return Workbench()


def test_facts_are_dropped_with_the_setting_they_stand_on(bench, pictures, tmp_path):
    model = recorded_headers.write("sd15", tmp_path)
    bench.set({"model.path": str(model), "dataset.path": str(pictures.root)})
    assert bench.facts.detection.family == "sd15"
    assert bench.facts.dataset.pictures
    bench.reset("model.path", "dataset.path")
    assert bench.facts.detection is None
    assert bench.facts.dataset is None


def test_another_model_has_the_dataset_read_again_since_another_engine_may_read_it(bench, pictures, tmp_path):
    folder = tmp_path / "mine"
    shutil.copytree(pictures.root, folder)
    bench.set({"dataset.path": str(folder)})
    before = len(bench.facts.dataset.pictures)
    shutil.copy(next(folder.glob("*.png")), folder / "another.png")
    bench.set({"model.path": str(recorded_headers.write("sd15", tmp_path))})
    assert len(bench.facts.dataset.pictures) == before + 1


def test_of_several_engines_the_lowest_rank_is_chosen_and_none_where_none_trains_the_family(bench):
    ranks = {engine.manifest.id: engine.manifest.rank for engine in registry.available()}
    assert choose("sdxl").manifest.id == min(ranks, key=lambda name: ranks[name])
    assert choose("no-such-family") is None


def test_a_preset_lies_over_the_profile_and_under_the_user(bench, tmp_path):
    bench.set({"model.path": str(recorded_headers.write("sdxl", tmp_path)), "schedule.steps": 77})
    bench.use_profile("sdxl-character")
    bench.use_preset("sdxl-16")
    assert (bench.draft.values["network.rank"], bench.draft.source_of("network.rank")) == (16, Source.PREFILL)
    assert bench.draft.values["schedule.steps"] == 77
    assert bench.draft.source_of("optimizer.weight_decay") is Source.PROFILE
    assert "memory.mixed_precision" in bench.draft.layers[Source.PREFILL], "what follows from the card stays"
    bench.use_preset("")
    assert bench.draft.source_of("network.rank") is Source.PROFILE
    with pytest.raises(EaselError):
        bench.use_preset("no-such-preset")


def test_blocks_are_swapped_only_where_the_engine_can(bench, tmp_path):
    bench.set({"model.path": str(recorded_headers.write("sdxl", tmp_path))})
    bench.use_preset("low-memory")
    assert bench.draft.values["schedule.gradient_accumulation"] == 16
    assert bench.draft.values["memory.blocks_to_swap"] == 0
    bench.set({"model.path": str(recorded_headers.write("flux-dev", tmp_path))})
    swapped = presets.get("low-memory").values_for("flux")["memory.blocks_to_swap"]
    can = bench.backend is not None and bench.backend.manifest.families["flux"].cell("lora").get("swap")
    assert bench.draft.values["memory.blocks_to_swap"] == (swapped if can else 0)
    bench.engine = "rehearsal"
    bench.read_dataset()
    assert bench.draft.values["memory.blocks_to_swap"] == 0


def test_a_preset_for_another_family_is_said(bench, tmp_path):
    bench.set({"model.path": str(recorded_headers.write("sd15", tmp_path))})
    bench.use_preset("flux-16")
    assert any("flux-16" in problem.message for problem in bench.problems)
    bench.use_preset("low-memory")
    assert not any("preset" in problem.message for problem in bench.problems)


def test_a_job_begins_again_from_its_run_with_profile_preset_and_what_was_cleared(
    bench, pictures, tmp_path, monkeypatch
):
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "home"))
    profile = tmp_path / "home" / "profiles" / "mine.toml"
    profile.parent.mkdir(parents=True)
    profile.write_text(
        'id="mine"\ntitle="Mine"\nfamily="sd15"\nmethod="lora"\nuse="style"\nexplanation="Mine."\n'
        "[settings.optimizer]\nbeta1 = 0.8\nbeta2 = 0.95\n"
    )
    bench.engine = "rehearsal"
    bench.use_profile("mine")
    bench.use_preset("low-memory")
    bench.set(
        {
            "model.path": str(recorded_headers.write("sd15", tmp_path)),
            "dataset.path": str(pictures.root),
            "dataset.trigger": "ohwx",
            "output.name": "one",
            "optimizer.beta1": None,
            "optimizer.epsilon": 1e-7,
            "native": {"kohya": {"launch": {"num_processes": 2}}},
        }
    )
    plan = bench.draft.plan(bench.backend)
    run = Run.prepare(plan, bench.backend, bench.facts.dataset, chosen={"profile": "mine", "preset": "low-memory"})
    again = Workbench(engine="rehearsal")
    again.begin_from(run)
    assert (again.profile.id, again.preset.id) == ("mine", "low-memory")
    assert again.draft.plan(again.backend) == plan
    assert again.draft.values["native"] == plan.native
    values, source = again.draft.values, again.draft.source_of
    assert (values["optimizer.beta1"], source("optimizer.beta1")) == (None, Source.USER)
    assert (values["optimizer.beta2"], source("optimizer.beta2")) == (0.95, Source.PROFILE)
    assert source("schedule.gradient_accumulation") is Source.PREFILL
    assert source("optimizer.beta3") is Source.DEFAULT, "what is empty anyway is nobody's value"

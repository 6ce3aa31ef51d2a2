"""The job being prepared: its facts follow its settings, and the engine follows the model."""

import shutil

import pytest

from tests.support import recorded_headers
from trainer_core.catalog import presets
from trainer_core.draft.layers import Source
from trainer_core.engines import registry
from trainer_core.errors import EaselError
from trainer_core.install.choice import choose
from trainer_core.prepare.workbench import Workbench
from trainer_core.training.run import Run


@pytest.fixture
def bench(tmp_path, monkeypatch):
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "home"))
    return Workbench()


def test_facts_are_removed_with_the_setting_they_depend_on(bench, images, tmp_path):
    model = recorded_headers.write("sd15", tmp_path)
    bench.set({"model.path": str(model), "dataset.path": str(images.root)})
    assert bench.state.facts.detection.family == "sd15"
    assert bench.state.facts.dataset.images
    bench.reset("model.path", "dataset.path")
    assert bench.state.facts.detection is None
    assert bench.state.facts.dataset is None


def test_the_dataset_is_read_again_for_another_model_because_its_engine_can_differ(bench, images, tmp_path):
    folder = tmp_path / "mine"
    shutil.copytree(images.root, folder)
    bench.set({"dataset.path": str(folder)})
    before = len(bench.state.facts.dataset.images)
    shutil.copy(next(folder.glob("*.png")), folder / "another.png")
    bench.set({"model.path": str(recorded_headers.write("sd15", tmp_path))})
    assert len(bench.state.facts.dataset.images) == before + 1


def test_the_engine_with_the_lowest_rank_is_chosen_and_none_if_none_trains_the_family(bench):
    engines, statuses = bench.state.engines, bench.state.facts.engines
    ranks = {engine.manifest.id: engine.manifest.rank for engine in registry.available()}
    assert choose("sdxl", engines, statuses).manifest.id == min(ranks, key=lambda name: ranks[name])
    assert choose("no-such-family", engines, statuses) is None


def test_a_preset_overrides_the_profile_and_the_user_overrides_the_preset(bench, tmp_path):
    bench.set({"model.path": str(recorded_headers.write("sdxl", tmp_path)), "schedule.steps": 77})
    bench.use_profile("sdxl-character")
    bench.use_preset("sdxl-16")
    assert (bench.state.draft.values["network.rank"], bench.state.draft.source_of("network.rank")) == (
        16,
        Source.PREFILL,
    )
    assert bench.state.draft.values["schedule.steps"] == 77
    assert bench.state.draft.source_of("optimizer.weight_decay") is Source.PROFILE
    assert "memory.mixed_precision" in bench.state.draft.layers[Source.PREFILL], "the value for the GPU stays"
    bench.use_preset("")
    assert bench.state.draft.source_of("network.rank") is Source.PROFILE
    with pytest.raises(EaselError):
        bench.use_preset("no-such-preset")


def test_blocks_are_swapped_only_if_the_engine_supports_it(bench, tmp_path):
    bench.set({"model.path": str(recorded_headers.write("sdxl", tmp_path))})
    bench.use_preset("low-memory")
    assert bench.state.draft.values["schedule.gradient_accumulation"] == 16
    assert bench.state.draft.values["memory.blocks_to_swap"] == 0
    bench.set({"model.path": str(recorded_headers.write("flux-dev", tmp_path))})
    swapped = presets.get("low-memory").values_for("flux")["memory.blocks_to_swap"]
    can = bench.state.backend is not None and bench.state.backend.manifest.families["flux"].cell("lora").swap
    assert bench.state.draft.values["memory.blocks_to_swap"] == (swapped if can else 0)
    bench.use_engine("rehearsal")
    assert bench.state.draft.values["memory.blocks_to_swap"] == 0


def test_a_preset_for_another_family_is_reported(bench, tmp_path):
    bench.set({"model.path": str(recorded_headers.write("sd15", tmp_path))})
    bench.use_preset("flux-16")
    assert any("flux-16" in problem.message for problem in bench.problems)
    bench.use_preset("low-memory")
    assert not any("preset" in problem.message for problem in bench.problems)


def test_a_job_can_start_from_a_run_with_its_profile_preset_and_cleared_values(bench, images, tmp_path, monkeypatch):
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "home"))
    profile = tmp_path / "home" / "profiles" / "mine.toml"
    profile.parent.mkdir(parents=True)
    profile.write_text(
        'id="mine"\ntitle="Mine"\nfamily="sd15"\nmethod="lora"\nuse="style"\nexplanation="Mine."\n'
        "[settings.optimizer]\nbeta1 = 0.8\nbeta2 = 0.95\n"
    )
    bench.use_engine("rehearsal")
    bench.use_profile("mine")
    bench.use_preset("low-memory")
    bench.set(
        {
            "model.path": str(recorded_headers.write("sd15", tmp_path)),
            "dataset.path": str(images.root),
            "dataset.trigger": "ohwx",
            "output.name": "one",
            "optimizer.beta1": None,
            "optimizer.epsilon": 1e-7,
            "native": {"kohya": {"launch": {"num_processes": 2}}},
        }
    )
    plan = bench.state.draft.plan(bench.state.backend)
    run = Run.prepare(
        plan, bench.state.backend, bench.state.facts.dataset, chosen={"profile": "mine", "preset": "low-memory"}
    )
    again = Workbench()
    again.begin_from(run)
    assert again.state.backend is bench.state.backend, "another engine would train something else"
    assert (again.state.profile.id, again.state.preset.id) == ("mine", "low-memory")
    assert again.state.draft.plan(again.state.backend) == plan
    assert again.state.draft.values["native"] == plan.native
    values, source = again.state.draft.values, again.state.draft.source_of
    assert (values["optimizer.beta1"], source("optimizer.beta1")) == (None, Source.USER)
    assert (values["optimizer.beta2"], source("optimizer.beta2")) == (0.95, Source.PROFILE)
    assert source("schedule.gradient_accumulation") is Source.PREFILL
    assert source("optimizer.beta3") is Source.DEFAULT, "a value that is empty by default is not the user's"

"""The job being prepared: its facts follow its settings, and the engine follows the model."""

import shutil

import pytest

from tests.core import recorded_headers
from trainer_core import registry
from trainer_core.workbench import Workbench, choose


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

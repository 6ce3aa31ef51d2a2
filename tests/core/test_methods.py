"""The training methods of a model: which are possible, why the others are not, what each takes; and which engine is chosen."""

import json

import pytest

from tests.support import engine_plans, recorded_headers
from trainer_core.catalog import methods
from trainer_core.cli import main
from trainer_core.engines import registry
from trainer_core.engines.status import EngineStatus
from trainer_core.install.choice import choose
from trainer_core.plan import fields
from trainer_core.plan.sections import MODEL_METHODS
from trainer_core.prepare.methods import offers, why_not
from trainer_core.prepare.recall import SubjectMemory
from trainer_core.prepare.workbench import Workbench


@pytest.fixture
def bench(tmp_path, monkeypatch):
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "easel"))
    return Workbench(engine_plans.machine(engine_plans.CARD))


def test_the_table_of_methods_has_each_choice_of_the_setting_with_a_source():
    assert set(methods.shipped()) == set(fields.all_fields()["model.method"].choices)
    for method in methods.shipped().values():
        assert method.makes.endswith(".")
        assert method.sources


def test_before_a_model_is_known_every_method_is_possible(bench):
    assert [(offer.why_not, offer.estimate) for offer in offers(bench.state)] == [("", None)] * 4


def test_each_possible_method_has_the_size_of_its_file_and_its_memory(bench, tmp_path):
    bench.set({"model.path": str(recorded_headers.write("sd15", tmp_path))})
    found = {offer.method.id: offer.estimate for offer in offers(bench.state)}
    assert found["textual_inversion"].lora_mib < 1 < found["lora"].lora_mib < 500
    for name in MODEL_METHODS:
        assert 1900 < found[name].lora_mib < 4500
        assert found[name].vram_gib[0] > found["lora"].vram_gib[0]


def test_a_method_that_no_engine_has_for_the_family_says_which_families_can(bench, tmp_path):
    bench.set({"model.path": str(recorded_headers.write("sdxl", tmp_path))})
    reason = why_not(bench.state, "dreambooth")
    assert reason == (
        "Easel has no DreamBooth for Stable Diffusion XL. It is possible with Stable Diffusion 1.5 and Stable Diffusion 2."
    )
    assert why_not(bench.state, "full") == why_not(bench.state, "textual_inversion") == ""
    bench.use_engine("simpletuner")
    assert why_not(bench.state, "textual_inversion") == "SimpleTuner has no Textual inversion."


def test_the_chosen_engine_has_the_method_even_if_only_another_engine_is_installed():
    engines = registry.available()
    only = {engine.manifest.id: EngineStatus(engine.manifest.id == "simpletuner") for engine in engines}
    assert choose("sdxl", engines, only).manifest.id == "simpletuner"
    assert choose("sdxl", engines, only, "full").manifest.id == "simpletuner"
    assert choose("sdxl", engines, only, "textual_inversion").manifest.id == "kohya"


def test_values_remembered_for_a_subject_are_those_of_the_same_method(bench):
    bench.set({"dataset.trigger": "mika", "optimizer.learning_rate": 2e-4})
    memory = SubjectMemory(bench)
    memory.keep()
    bench.set({"model.method": "full"})
    bench.reset("optimizer.learning_rate")
    memory.follow()
    assert memory.recalled == {}
    bench.set({"optimizer.learning_rate": 3e-6})
    memory.keep()
    for method, rate in (("lora", 2e-4), ("full", 3e-6)):
        bench.reset("optimizer.learning_rate")
        bench.set({"model.method": method})
        memory.follow()
        assert memory.recalled == {"optimizer.learning_rate": rate}
        assert memory.subject == "mika"


def test_the_command_prints_the_methods_of_a_model(bench, tmp_path, capsys):
    path = recorded_headers.write("sdxl", tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(["models", "methods", str(path), "--json"])
    assert not ended.value.code
    rows = {row["method"]: row for row in json.loads(capsys.readouterr().out)}
    assert set(rows) == set(methods.shipped())
    assert rows["dreambooth"]["why_not"]
    assert rows["full"]["estimate"]["lora_mib"] > 4000


@pytest.mark.parametrize(
    ("method", "rate"), [("lora", 1e-4), ("full", 1e-5), ("dreambooth", 1e-6), ("textual_inversion", 5e-4)]
)
def test_without_a_profile_the_recommended_learning_rate_is_that_of_the_method(bench, tmp_path, method, rate):
    bench.set({"model.path": str(recorded_headers.write("sd15", tmp_path)), "model.method": method})
    assert bench.state.draft.values["optimizer.learning_rate"] == rate
    for path, value in methods.shipped()[method].values.items():
        assert fields.check(path, value) == (value, "")
        assert methods.shipped()[method].reasons[path]
    bench.use_profile("plain")
    assert bench.state.draft.values["optimizer.learning_rate"] == 1e-4

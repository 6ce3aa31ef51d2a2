"""A draft: layered values, their sources, and contradictions between them."""

import dataclasses
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support import engine_plans
from tests.support.engine_plans import looked
from trainer_core.datasets import scan
from trainer_core.draft.facts import Facts
from trainer_core.draft.layers import Draft, Source
from trainer_core.engines import registry
from trainer_core.errors import PlanError
from trainer_core.hardware import Accelerator, Machine
from trainer_core.models.detection import Detection
from trainer_core.plan import fields
from trainer_core.problems import blocking

GIB = 1024**3
CPU = Machine((Accelerator("cpu", "CPU"),), 24 * GIB, 20 * GIB, 50 * GIB, 2, "Linux x86_64")
FOUND = Detection("sd15", "checkpoint", "", "epsilon", "F16", ("test",), {}, is_prediction_certain=True)


@pytest.fixture
def backend():
    return registry.get("kohya")


@pytest.fixture
def images(tmp_path):
    from PIL import Image

    folder = tmp_path / "images"
    folder.mkdir()
    for index in range(3):
        Image.new("RGB", (512, 512), (index * 40, 90, 120)).save(folder / f"{index}.png")
        (folder / f"{index}.txt").write_text(f"elena, image {index}")
    return folder


@pytest.fixture
def draft(tmp_path, images, backend):
    model = tmp_path / "model.safetensors"
    model.write_bytes(b"")
    facts = Facts(CPU, FOUND, scan.scan(images, backend.manifest.dataset, trigger="elena"))
    return Draft(facts).with_values(
        Source.USER,
        {
            "model.path": str(model),
            "dataset.path": str(images),
            "dataset.trigger": "elena",
            "output.name": "elena",
            "output.folder": str(tmp_path / "out"),
            "memory.mixed_precision": "no",
        },
    )


@pytest.mark.parametrize(
    ("family", "said", "chosen", "ends_at_zero"),
    [
        ("sdxl", True, None, True),
        ("sdxl", False, None, False),
        ("sdxl", None, None, True),
        ("sd2", None, None, False),
        ("sd2", True, None, True),
        ("sdxl", None, False, False),
        ("sd2", None, True, True),
    ],
)
def test_zero_terminal_snr_follows_the_file_and_reaches_both_engines(draft, family, said, chosen, ends_at_zero):
    """NoobAI's files have a ztsnr marker; a file with only a v-prediction marker gets the default of its family."""
    found = Detection(family, "checkpoint", "", "v_prediction", is_prediction_certain=True, zero_terminal_snr=said)
    plan = changed(draft.with_facts(replace(draft.facts, detection=found)), model__zero_terminal_snr=chosen).sketch()
    assert plan.model.zero_terminal_snr is ends_at_zero
    for name, words in {"kohya": "zero_terminal_snr = true", "simpletuner": '"rescale_betas_zero_snr": true'}.items():
        engine = registry.get(name)
        if family in engine.manifest.families:
            rendered = "".join(engine.render(plan, engine_plans.place()).files.values())
            assert (words in rendered) is ends_at_zero


def changed(draft, **values):
    return draft.with_values(Source.USER, {path.replace("__", "."): value for path, value in values.items()})


def test_a_good_draft_becomes_a_plan(draft, backend):
    assert blocking(looked(draft).problems(backend)) == ()
    plan = looked(draft).plan(backend)
    assert plan.model.family == "sd15", "an empty family means detected from the file"
    assert plan.output.name == "elena"


def test_a_higher_source_overrides_a_lower_one_until_it_is_removed(draft):
    layered = draft.with_layer(Source.PROFILE, {"network.rank": 32}).with_layer(Source.PREFILL, {"network.rank": 8})
    assert (layered.values["network.rank"], layered.source_of("network.rank")) == (8, Source.PREFILL)
    mine = changed(layered, network__rank=4)
    assert (mine.values["network.rank"], mine.source_of("network.rank")) == (4, Source.USER)
    assert mine.without(Source.USER, "network.rank").source_of("network.rank") is Source.PREFILL
    assert draft.source_of("network.rank") is Source.DEFAULT


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("output.name", ""),
        ("output.name", "a/b"),
        ("output.name", "x" * 300),
        ("output.prefix", "../"),
        ("output.prefix", "x" * 118),
        ("model.path", "/a" * 3000),
        ("model.vae", "~nobody-of-that-name/vae.safetensors"),
        ("output.copy_to", "/" + "a" * 300),
        ("model.path", ""),
        ("model.path", "/nowhere/m.safetensors"),
        ("model.family", "sdxl"),
        ("model.prediction", "v_prediction"),
        ("model.vae", "/nowhere/vae.safetensors"),
        ("dataset.path", ""),
        ("output.copy_to", "/nowhere/loras"),
        ("schedule.warmup_steps", 5000),
        ("network.rank", 0),
        ("optimizer.name", "AdamWW"),
    ],
)
def test_a_mistake_blocks_the_launch_with_a_sentence_at_its_setting(draft, backend, path, value):
    bad = draft.with_values(Source.USER, {path: value})
    stopping = blocking(looked(bad).problems(backend))
    assert path in {problem.path for problem in stopping}
    with pytest.raises(PlanError):
        looked(bad).plan(backend)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("output.name", "a/b"),
        ("output.name", "x" * 300),
        ("output.prefix", "..:"),
        ("output.prefix", "x" * 118),
        ("sampling.width", 500),
        ("model.family", "sdxl"),
        ("model.prediction", "v_prediction"),
        ("model.vae", "/nowhere/vae.safetensors"),
        ("output.copy_to", "/nowhere/loras"),
        ("schedule.warmup_steps", 5000),
        ("network.rank", 0),
    ],
)
def test_the_fix_makes_the_plan_valid(draft, backend, path, value):
    bad = changed(draft, sampling__every_steps=10).with_values(Source.USER, {path: value})
    problem = next(problem for problem in blocking(looked(bad).problems(backend)) if problem.path == path)
    assert problem.fix is not None
    assert blocking(looked(bad.with_values(Source.USER, problem.fix.changes)).problems(backend)) == ()


def test_the_fix_for_prodigy_with_a_low_learning_rate_is_one(draft, backend):
    bad = changed(draft, optimizer__name="Prodigy", optimizer__learning_rate=2e-4)
    problem = next(
        problem for problem in blocking(looked(bad).problems(backend)) if problem.path == "optimizer.learning_rate"
    )
    assert problem.fix.changes == {"optimizer.learning_rate": 1.0}


def test_an_unknown_setting_is_reported_and_not_dropped(draft, backend):
    assert "no setting" in looked(draft.with_values(Source.USER, {"network.rnak": 4})).problems(backend)[0].message


def test_a_generic_trigger_word_is_warned_about(draft, backend):
    found = [
        p for p in looked(changed(draft, dataset__trigger="Girl")).problems(backend) if p.path == "dataset.trigger"
    ]
    assert [problem.severity for problem in found] == ["warning"]


def test_uncaptioned_images_without_a_trigger_word_block(draft, backend, images):
    for caption in images.glob("*.txt"):
        caption.unlink()
    dataset = scan.scan(images, backend.manifest.dataset)
    bare = changed(draft, dataset__trigger="").with_facts(dataclasses.replace(draft.facts, dataset=dataset))
    assert "dataset.trigger" in {problem.path for problem in blocking(looked(bare).problems(backend))}


def test_a_model_that_is_not_recognised_blocks_with_the_reason(draft, backend):
    facts = dataclasses.replace(draft.facts, detection=None, detection_error="it is an HTML page.")
    stopping = blocking(looked(draft.with_facts(facts)).problems(backend))
    assert any("HTML page" in problem.message for problem in stopping)


def test_a_lora_is_not_a_base_model(draft, backend):
    facts = dataclasses.replace(draft.facts, detection=dataclasses.replace(FOUND, role="lora"))
    assert any("lora" in problem.message for problem in blocking(looked(draft.with_facts(facts)).problems(backend)))


def test_a_diffusion_model_alone_is_not_enough(draft, backend):
    alone = dataclasses.replace(FOUND, role="diffusion_model", evidence=("a single file", "holds no text encoders"))
    problem = blocking(looked(draft.with_facts(dataclasses.replace(draft.facts, detection=alone))).problems(backend))[0]
    assert problem.path == "model.path"
    assert "text encoders" in problem.message


def test_a_model_whose_name_no_engine_can_read_is_refused(draft, backend, tmp_path):
    model = tmp_path / "m\udcff.safetensors"
    model.write_bytes(b"")
    assert [p.path for p in blocking(looked(changed(draft, model__path=str(model))).problems(backend))] == [
        "model.path"
    ]


def test_a_missing_engine_is_reported(draft):
    assert any("engine" in problem.message for problem in blocking(looked(draft).problems(None)))


def test_an_existing_lora_is_not_overwritten_and_reported(draft, backend):
    folder = Path(draft.values["output.folder"])
    folder.mkdir()
    (folder / "elena.safetensors").write_bytes(b"mine")
    assert any(
        problem.severity == "info" and "number" in problem.message for problem in looked(draft).problems(backend)
    )


def test_every_value_has_a_source(draft):
    assert set(draft.values) == set(fields.all_fields())


def test_a_link_into_a_download_cache_is_refused_if_the_engine_would_not_recognise_the_file(draft, backend, tmp_path):
    (tmp_path / "0a1b2c").write_bytes(b"")
    (tmp_path / "linked.safetensors").symlink_to("0a1b2c")
    (tmp_path / "good.safetensors").symlink_to("model.safetensors")
    said = {
        name: [p.message for p in blocking(looked(changed(draft, model__path=str(tmp_path / name))).problems(backend))]
        for name in ("linked.safetensors", "good.safetensors")
    }
    assert "symbolic link" in said["linked.safetensors"][0]
    assert said["good.safetensors"] == []


def test_the_fix_of_an_invalid_value_is_the_value_of_the_next_lower_source(draft, backend):
    layered = draft.with_layer(Source.PROFILE, {"schedule.steps": 2500}).with_layer(Source.PREFILL, {"network.rank": 0})
    bad = changed(layered, schedule__steps=-1, network__rank="many")
    fixes = {problem.path: problem.fix for problem in blocking(looked(bad).problems(backend))}
    assert (fixes["schedule.steps"].label, fixes["schedule.steps"].changes) == ("Use 2500", {"schedule.steps": 2500})
    assert fixes["network.rank"].changes == {"network.rank": 16}, "the prefilled value is invalid, too"


def test_an_invalid_value_hides_no_other_problem(draft, backend):
    other = changed(draft, output__name="", dataset__trigger="")
    both = changed(other, schedule__steps=-1)
    hidden = {problem.path for problem in looked(other).problems(backend)} - {
        problem.path for problem in looked(both).problems(backend)
    }
    assert hidden == set()
    assert len(blocking(looked(both).problems(backend))) == len(blocking(looked(other).problems(backend))) + 1

"""Which models SimpleTuner shows control images, how it is told, and what it cannot do with them."""

import json
from pathlib import PurePosixPath

import pytest

from backends.simpletuner.problems import recorded, unknown_keys
from tests.support import engine_plans, recorded_headers
from trainer_core.engines import registry, trainable
from trainer_core.engines.status import EngineStatus
from trainer_core.models import detection, header

SIMPLETUNER = registry.get("simpletuner")


@pytest.mark.parametrize(
    ("name", "variant", "reason"),
    [
        ("folder-qwen-image", "image", ""),
        ("folder-qwen-image-edit-2509", "edit-2509", ""),
        ("folder-qwen-image-edit-2511", "edit-2511", ""),
        ("folder-qwen-image-edit", "edit", "SimpleTuner 4.10.1 stops while it encodes the captions of Qwen-Image-Edit"),
    ],
)
def test_the_editions_of_qwen_image_edit_are_told_apart(tmp_path, name, variant, reason):
    found = detection.detect(header.read(recorded_headers.write(name, tmp_path)))
    assert (found.family, found.variant) == ("qwen_image", variant)
    assert trainable.why_not(found, SIMPLETUNER.manifest).startswith(reason)
    assert bool(trainable.why_not(found, SIMPLETUNER.manifest)) == bool(reason)
    if not reason:
        allowed = SIMPLETUNER.manifest.families["qwen_image"].cell("lora").controls_of(variant)
        assert (allowed.least, allowed.most) == ((1, 1) if found.apart else (0, 0))


def test_a_folder_of_2509_without_the_newer_key_is_2509(tmp_path):
    """The published folder is older than the key."""
    folder = recorded_headers.write("folder-qwen-image-edit-2509", tmp_path)
    config = folder / "transformer" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "zero_cond_t": None}))
    assert detection.detect(header.read(folder)).variant == "edit-2509"


@pytest.mark.parametrize(
    ("family", "values", "words"),
    [
        ("qwen_image", {"model__variant": "edit-2511"}, {"model_flavour": "edit-v3"}),
        ("qwen_image", {"model__variant": "edit-2509"}, {"model_flavour": "edit-v2"}),
        ("qwen_image", {"model__variant": "image", "dataset__controls": ""}, {"model_flavour": "v1.0"}),
        ("flux2", {"model__variant": "klein-4b"}, {"model_flavour": "klein-4b"}),
    ],
)
def test_simpletuner_is_told_how_a_family_is_shown_control_images(family, values, words):
    plan = engine_plans.plan(family, **{"dataset__controls": "/before", **values})
    spec = SIMPLETUNER.render(plan, engine_plans.place())
    config = json.loads(spec.files[PurePosixPath("engine/config.json")])
    assert words.items() <= config.items()
    assert unknown_keys(spec.files, recorded("4.10.1")) == []


EDIT = {"model__variant": "edit-2511", "dataset__controls": "/before"}


@pytest.mark.parametrize(
    ("family", "values", "path", "severity", "words"),
    [
        ("qwen_image", {**EDIT, "schedule__batch_size": 2}, "schedule.batch_size", "error", "batch size of 1"),
        (
            "qwen_image",
            {**EDIT, "dataset__shuffle_captions": True},
            "dataset.shuffle_captions",
            "error",
            "in one order",
        ),
        ("qwen_image", {**EDIT, "model__qwen": "/qwen"}, "model.qwen", "info", "preprocessor_config.json"),
        (
            "flux2",
            {"dataset__controls": "/before", "sampling__every_steps": 4},
            "sampling.prompt",
            "info",
            "prompts alone",
        ),
    ],
)
def test_what_simpletuner_cannot_do_with_pairs_is_said(family, values, path, severity, words):
    said = SIMPLETUNER.problems(
        engine_plans.plan(family, **values), engine_plans.machine(), EngineStatus(True, "4.10.1")
    )
    found = [each for each in said if each.path == path and words in each.message]
    assert [each.severity for each in found] == [severity]
    # And nothing of it without control images, nor for a model whose text encoder is not shown them.
    for changed in ({**values, "dataset__controls": ""}, {**values, "model__variant": "", "sampling__every_steps": 0}):
        other = "z_image" if changed["dataset__controls"] else family
        plan = engine_plans.plan(other, **changed)
        said = SIMPLETUNER.problems(plan, engine_plans.machine(), EngineStatus(True, "4.10.1"))
        assert not [each for each in said if words in each.message]


def test_only_the_fix_of_a_folder_turns_off_its_shuffling():
    rows = ({"path": "/more", "controls": "/before", "shuffle_captions": True},)
    plan = engine_plans.plan("qwen_image", **EDIT, dataset__subsets=rows)
    said = SIMPLETUNER.problems(plan, engine_plans.machine(), EngineStatus(True, "4.10.1"))
    (problem,) = [each for each in said if "in one order" in each.message]
    assert problem.path == "dataset.subsets"
    assert problem.fix.changes["dataset.subsets"][0]["shuffle_captions"] is False


@pytest.mark.parametrize("family", ["z_image", "krea2"])
def test_a_text_encoder_of_its_own_is_not_offered_where_it_stops_the_engine(family):
    assert "qwen" not in SIMPLETUNER.manifest.families[family].parts

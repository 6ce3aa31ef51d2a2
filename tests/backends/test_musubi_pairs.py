"""musubi-tuner and models that edit images: which variant it is told, and how it gets the control images."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from dataclasses import replace

import pytest

from backends.musubi import backend, problems, render
from tests.support import engine_plans
from tests.support.musubi_plans import EDITS, VARIANTS, full_plan, place
from trainer_core.draft.checks import Case, controls
from trainer_core.draft.facts import Facts
from trainer_core.draft.layers import Draft, Source
from trainer_core.engines import trainable
from trainer_core.engines.status import NOT_KNOWN
from trainer_core.models import variants
from trainer_core.models.detection import Detection
from trainer_core.models.detection.guess import guessed
from trainer_core.models.header import Header
from trainer_core.problems import blocking

FLUX = Detection("flux", "diffusion_model", "dev", "flow", layout="original")
QWEN = Detection("qwen_image", "diffusion_model", "image", "flow", layout="diffusers")


def job(family, **values):
    return backend.render(full_plan(family, **values), place())


def configuration(family, **values) -> dict:
    tables = tomllib.loads(job(family, **values).files[render.CONFIG])
    return {name: value for table in tables.values() for name, value in table.items()}


def described(family, **values) -> dict:
    (found,) = tomllib.loads(job(family, **values).files[render.DATASET])["datasets"]
    return found


def named(detection: Detection, name: str, tmp_path) -> Detection:
    return guessed(detection, Header(tmp_path / name, {}, {}, "safetensors"))


@pytest.mark.parametrize("family", EDITS)
def test_every_key_of_a_plan_with_pairs_is_known_and_nothing_blocks_it(family):
    plan = full_plan(family, **EDITS[family])
    known = problems.program_options(plan, backend.manifest)
    assert problems.unknown_keys(backend.render(plan, place()).files, known) == []
    assert not blocking(backend.problems(plan, engine_plans.machine(engine_plans.CARD), NOT_KNOWN))


@pytest.mark.parametrize(
    ("family", "variant", "told"),
    [
        ("qwen_image", "", "original"),
        ("qwen_image", "edit", "edit"),
        ("qwen_image", "edit-2509", "edit-2509"),
        ("qwen_image", "edit-2511", "edit-2511"),
        ("flux2", "klein-4b", "klein-base-4b"),
        ("flux2", "klein-9b", "klein-base-9b"),
    ],
)
def test_each_of_the_three_programs_is_told_the_variant(family, variant, told):
    found = job(family, model__variant=variant)
    assert configuration(family, model__variant=variant)["model_version"] == told
    for step in found.steps[:2]:
        assert step.argv[step.argv.index("--model_version") + 1] == told


def test_kontext_has_two_text_encoders_and_is_told_nothing():
    found = job("flux")
    assert found.steps[1].argv[4:] == (
        "--skip_existing", "--text_encoder1", "/models/t5xxl.safetensors", "--text_encoder2", "/models/clip_l.safetensors", "--batch_size", "1",
    )  # fmt: skip
    assert "model_version" not in configuration("flux")
    assert configuration("flux")["text_encoder2"] == "/models/clip_l.safetensors"


def test_one_control_image_is_found_by_the_name_of_its_image():
    table = described("flux")
    (shown,) = place().controls(full_plan("flux").folders[0])
    assert (table["control_directory"], table["control_resolution"]) == (str(shown), table["resolution"])
    assert "control_resolution" not in described("flux", dataset__bucketing=False), "both are cut to the same square"
    assert "control_resolution" not in described("flux", dataset__resolution=192), "the engine could divide by 0"


def test_several_control_images_are_listed_before_the_images_are_encoded(tmp_path):
    found = job("qwen_image", **EDITS["qwen_image"])
    table = described("qwen_image", **EDITS["qwen_image"])
    assert not {"image_directory", "control_directory"} & set(table)
    assert found.steps[0].name == "list pairs 1"
    assert [step.name for step in found.steps[1:]] == ["encode images", "encode captions", "train"]
    assert found.steps[0].argv[2] == table["image_jsonl_file"]
    # The command itself, over real files.
    for name in ("images", "before", "style"):
        (tmp_path / name).mkdir()
        for image in ("1-a.png", "2-b.png"):
            (tmp_path / name / image).touch()
    (tmp_path / "images" / "1-a.txt").write_text('make it "red"\n')
    (tmp_path / "images" / "2-b.txt").write_text("größer, 红\n", "utf-8")
    (tmp_path / "images" / "3-c.png").touch()
    folders = [str(tmp_path / name) for name in ("images", "before", "style")]
    command = [sys.executable, found.steps[0].argv[1], str(tmp_path / "pairs.jsonl"), ".txt", *folders]
    said = subprocess.run(command, capture_output=True, text=True, check=True)
    assert said.stdout == "2 images with 2 control images each\n"
    first, second = (json.loads(line) for line in (tmp_path / "pairs.jsonl").read_text("utf-8").splitlines())
    assert first["caption"] == 'make it "red"'
    assert second == {
        "image_path": str(tmp_path / "images" / "2-b.png"),
        "caption": "größer, 红",
        "control_path_0": str(tmp_path / "before" / "2-b.png"),
        "control_path_1": str(tmp_path / "style" / "2-b.png"),
    }


def test_samples_without_a_control_image_are_told():
    plan = full_plan("flux", **VARIANTS["sampled"])
    said = {each.path: each for each in backend.problems(plan, engine_plans.machine(engine_plans.CARD), NOT_KNOWN)}
    assert "no control image" in said["sampling.prompt"].message
    (prompt,) = json.loads(backend.render(plan, place()).files[render.PROMPTS])
    # Source: flux_kontext_train_network.py, do_inference: without the 0 the shift would be 14.5.
    assert (prompt["guidance_scale"], prompt["discrete_flow_shift"]) == (7.0, 0.0)
    assert "cfg_scale" not in prompt


@pytest.mark.parametrize(
    ("detection", "name", "variant"),
    [
        (FLUX, "flux1-dev.safetensors", "dev"),
        (FLUX, "mine.safetensors", "dev"),
        (FLUX, "flux1-dev-kontext_fp8.safetensors", "kontext"),
        (QWEN, "qwen_image_bf16.safetensors", "image"),
        (QWEN, "qwen_image_edit_bf16.safetensors", "edit"),
        (QWEN, "qwen_image_edit_2509_bf16.safetensors", "edit-2509"),
        (QWEN, "Qwen-Image-Edit-2511.safetensors", "edit-2511"),
        (replace(QWEN, variant="edit-2511"), "qwen_image_edit.safetensors", "edit-2511"),
    ],
)
def test_a_model_that_edits_is_told_by_its_name_and_no_other_is_taken_for_one(detection, name, variant, tmp_path):
    assert variants.likely(detection.family, named(detection, name, tmp_path)) == variant


def test_only_kontext_is_trained_of_flux_and_the_user_can_say_that_it_is(tmp_path):
    assert "set model.variant to kontext" in trainable.why_not(FLUX, backend.manifest)
    assert not trainable.why_not(named(FLUX, "flux1-kontext-dev.safetensors", tmp_path), backend.manifest)
    assert not trainable.why_not(FLUX, backend.manifest, "kontext")
    assert "30 of its 40 layers" in trainable.why_not(Detection("flux2", "diffusion_model", "dev"), backend.manifest)


def told_of_controls(detection, **values):
    changed = {name.replace("__", "."): value for name, value in {"dataset__path": "/images", **values}.items()}
    made = Draft(Facts(engine_plans.machine(engine_plans.CARD), detection)).with_values(Source.USER, changed)
    return list(controls.controls_suit_the_model(Case(made.sketch(), made.facts, backend)))


def test_how_many_control_images_follows_from_the_variant_that_the_user_says():
    (problem,) = told_of_controls(QWEN, dataset__controls="/before")
    assert "edit, edit-2509, edit-2511" in problem.message
    assert "set model.variant" in problem.message
    assert not told_of_controls(QWEN, dataset__controls="/before", model__variant="edit")
    assert told_of_controls(QWEN, dataset__controls="/before", dataset__controls_2="/b", model__variant="edit")
    assert "needs a control image" in told_of_controls(QWEN, model__variant="edit-2509")[0].message
    klein = Detection("flux2", "diffusion_model", "klein-4b", "flow", layout="original")
    assert not told_of_controls(klein)
    assert not told_of_controls(klein, dataset__controls="/a", dataset__controls_2="/b", dataset__controls_3="/c")


def test_the_files_of_the_hub_are_those_of_the_variant():
    claims = backend.manifest.families
    assert claims["qwen_image"].hub_of("image") == ("Qwen/Qwen-Image",)
    assert claims["qwen_image"].hub_of("edit") == ("Qwen/Qwen-Image", "Qwen/Qwen-Image-Edit")
    assert claims["flux2"].hub_of("klein-9b") == ("Qwen/Qwen3-8B",)
    assert set(claims["flux2"].hub_of("")) == {"Qwen/Qwen3-4B", "Qwen/Qwen3-8B"}

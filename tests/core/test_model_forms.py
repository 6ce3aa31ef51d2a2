"""Files of the right kind in a form that the engine cannot read: `detect`, `models` and a plan must agree about them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.support import model_forms, recorded_headers
from trainer_core.cli import easel
from trainer_core.prepare.workbench import Workbench
from trainer_core.problems import Problem


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "easel"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("HF_HOME", raising=False)
    return tmp_path / "easel"


@pytest.fixture
def models(home: Path) -> Path:
    folder = home / "models"
    folder.mkdir(parents=True)
    return folder


def job(**values: str) -> Workbench:
    bench = Workbench(engine="kohya")
    bench.set({f"model.{name}": value for name, value in values.items()})
    return bench


def problem(bench: Workbench, path: str) -> Problem | None:
    return next((each for each in bench.problems if each.path == path), None)


def told(*words: str) -> str:
    result = CliRunner().invoke(easel, words)
    assert result.exit_code in (0, 1), result.output
    return result.output


def test_a_companion_file_that_the_engine_reads_is_chosen_before_one_that_it_does_not(models: Path) -> None:
    readable = model_forms.write("vae-ldm", models)
    newer = model_forms.write("vae-diffusers", models)
    assert newer.stat().st_mtime_ns >= readable.stat().st_mtime_ns
    bench = job(path=str(model_forms.write("flux", models)))
    assert bench.state.draft.text("model.vae") == str(readable)
    assert "layout diffusers" in " ".join(each.why for each in bench.state.facts.companions.passed_over)


def test_a_companion_file_in_another_form_is_renamed_by_a_fix(models: Path) -> None:
    path = model_forms.write("vae-diffusers", models)
    flux = model_forms.write("flux", models)
    said = problem(job(path=str(flux)), "model.vae")
    assert "layout diffusers" in json.loads(told("models", "parts", str(flux), "--json"))["odd"]["vae"]
    assert "the engine cannot read this file" in told("models", "parts", str(flux))
    assert said is not None
    assert said.severity == "error"
    assert "right kind of file" in said.message
    assert said.fix is not None
    assert said.fix.task is not None
    assert said.fix.task.arguments == {"file": str(path), "kind": "vae_16ch", "layout": "ldm"}
    assert said.fix.task.setting == "model.vae"
    assert said.as_dict()["fix"]["command"] == said.fix.task.command


def test_a_model_saved_by_comfyui_is_renamed_by_a_fix(models: Path) -> None:
    path = model_forms.write("flux-of-comfyui", models)
    said = problem(job(path=str(path)), "model.path")
    assert said is not None
    assert said.fix is not None
    assert said.fix.task is not None
    assert said.fix.task.arguments == {"file": str(path), "kind": "flux", "layout": "original"}


def test_a_part_inside_a_model_is_copied_out_by_a_fix_where_the_engine_needs_a_file_of_its_own(models: Path) -> None:
    path = model_forms.write("flux-all-in-one", models)
    bench = job(path=str(path))
    said = problem(bench, "model.vae")
    assert said is not None
    assert "contains" in said.message
    assert said.fix is not None
    assert said.fix.task is not None
    assert said.fix.task.arguments == {"file": str(path), "kind": "vae_16ch", "layout": "ldm"}
    missing = {part.setting for part in bench.state.facts.companions.missing}
    needed = {path.removeprefix("model.") for path in bench.state.scope.needed_parts()}
    assert missing == needed == {"vae", "clip_l", "t5xxl"}


def test_parts_that_the_engine_reads_from_the_model_are_the_model_itself(models: Path) -> None:
    path = str(model_forms.write("neta", models))
    bench = job(path=path)
    assert bench.state.draft.text("model.vae") == bench.state.draft.text("model.gemma2") == path
    assert problem(bench, "model.vae") is None
    assert problem(bench, "model.gemma2") is None


@pytest.mark.parametrize("name", ["flux-all-in-one", "neta", "neta-without-scale", "flux"])
def test_detect_models_and_a_plan_agree_about_what_a_model_needs(models: Path, name: str) -> None:
    path = model_forms.write(name, models)
    bench = job(path=str(path))
    of_plan = {each.removeprefix("model.") for each in bench.state.scope.needed_parts()}
    inside = {part for part in of_plan if bench.state.draft.text(f"model.{part}") == str(path)}
    (row,) = json.loads(told("detect", str(path), "--json"))
    of_parts = json.loads(told("models", "parts", str(path), "--json"))
    assert set(row["missing_parts"]) == of_plan - inside
    assert {part["setting"] for part in of_parts["missing"]} | of_parts["found"].keys() == of_plan - inside
    assert set(of_parts["inside"]) == inside


@pytest.mark.parametrize(("name", "refused"), [("sd15", True), ("sdxl", True), ("flux-dev", False), ("lumina2", False)])
def test_a_link_into_a_download_cache_is_refused_only_where_the_loader_looks_at_its_target(
    models: Path, tmp_path: Path, name: str, refused: bool
) -> None:
    blob = recorded_headers.write(name, tmp_path).rename(tmp_path / "0123abcd")
    link = models / "model.safetensors"
    link.symlink_to(blob)
    found = [each for each in job(path=str(link)).problems if "symbolic link" in each.message]
    assert bool(found) == refused


@pytest.mark.parametrize(("name", "refused"), [("sd15", False), ("sdxl", True), ("flux-dev", False)])
def test_a_link_with_a_relative_target_is_refused_only_where_the_loader_takes_it_as_it_is(
    models: Path, name: str, refused: bool
) -> None:
    target = recorded_headers.write(name, models)
    link = models / "link.safetensors"
    link.symlink_to(target.name)
    bench = job(path=str(link))
    found = [each for each in bench.problems if "relative target" in each.message]
    assert bool(found) == refused
    if refused:
        bench.set(found[0].fix.changes)
        assert bench.state.draft.text("model.path") == str(target)
        assert not [each for each in bench.problems if "relative target" in each.message]


@pytest.mark.parametrize(("name", "refused"), [("sd15", True), ("flux-dev", False), ("sd3-medium", False)])
def test_another_ending_is_refused_only_where_the_loader_reads_it_as_a_pickle(
    models: Path, name: str, refused: bool
) -> None:
    path = recorded_headers.write(name, models).rename(models / "flux1-dev.sft")
    found = [each for each in job(path=str(path)).problems if "is not a .safetensors file" in each.message]
    assert bool(found) == refused


@pytest.mark.parametrize(
    ("name", "precision", "refused"),
    [("folder-sd15", "fp16", True), ("folder-sdxl", "bf16", True), ("folder-sdxl", "fp16", False)],
)
def test_a_folder_with_only_a_variant_is_refused_where_the_engine_does_not_ask_for_it(
    models: Path, name: str, precision: str, refused: bool
) -> None:
    folder = recorded_headers.write(name, models)
    for file in folder.glob("*/*.safetensors"):
        file.rename(file.with_name(f"{file.stem}.fp16.safetensors"))
    bench = job(path=str(folder))
    bench.set({"memory.mixed_precision": precision})
    assert bench.state.facts.detection is not None
    assert bench.state.facts.detection.weight_variant == "fp16"
    found = [each for each in bench.problems if "only the variant fp16" in each.message]
    assert bool(found) == refused


def test_weights_in_e5m2_are_refused_only_when_they_are_kept_in_8_bits(models: Path) -> None:
    tensors = {key: ("F8_E5M2", shape) for key, (_, shape) in model_forms.forms()["flux"].items()}
    bench = job(path=str(recorded_headers.write_file(models / "e5m2.safetensors", tensors)))
    assert problem(bench, "memory.fp8_base") is None
    bench.set({"memory.fp8_base": True})
    said = problem(bench, "memory.fp8_base")
    assert said is not None
    assert "F8_E5M2" in said.message
    assert said.fix is not None
    assert said.fix.changes == {"memory.fp8_base": False}
    bench.set({"memory.fp8_base": False, "native": {"kohya": {"fp8_base_unet": True}}})
    assert problem(bench, "memory.fp8_base") is None
    assert problem(bench, "native.kohya.fp8_base_unet") is not None


def test_a_plan_prints_the_command_that_renames(models: Path) -> None:
    vae = model_forms.write("vae-diffusers", models)
    flux = model_forms.write("flux", models)
    words = ["plan", "--engine", "kohya", "--set", f"model.path={flux}", "--set", f"model.vae={vae}"]
    output = CliRunner().invoke(easel, words).output
    assert f"easel tools rename {vae} --kind vae_16ch --layout ldm" in output.replace("\n", "")

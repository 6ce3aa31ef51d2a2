"""The merge as a tool: what it says before, which tensors it takes, its job, its recipe, and what it refuses."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from tests.support import recorded_headers, small_models
from tests.support.checkout import ROOT
from tests.support.small_models import Arrays
from trainer_core.cli import easel
from trainer_core.errors import EaselError, WeightsError
from trainer_core.jobs.state import JobState
from trainer_core.models import header
from trainer_core.tools import merge, recipe
from trainer_core.tools.merge import Settings
from trainer_core.weights.merging import blocks

DENOISER, TEXT, VAE = "model.diffusion_model.", "cond_stage_model.", "first_stage_model."
KOHYA = ROOT / "workspace/engines/kohya"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "easel"))
    return tmp_path / "easel"


def pair(name: str = "sd15") -> tuple[Arrays, Arrays]:
    first = small_models.arrays(name, 1)
    return first, small_models.near(first, 2)


def files(folder: Path, *models: Arrays, **metadata: dict[str, str]) -> tuple[str, ...]:
    return tuple(
        str(small_models.write(folder / f"{letter}.safetensors", model, metadata.get(letter)))
        for letter, model in zip("abc", models, strict=False)
    )


def settings(folder: Path, *models: Arrays, metadata: dict | None = None, **more: object) -> Settings:
    return Settings(models=files(folder, *models, **(metadata or {})), target=str(folder / "made.safetensors"), **more)


def made(chosen: Settings) -> Arrays:
    return small_models.read(merge.run(chosen, lambda _: None))


def same(one: Arrays, two: Arrays, start: str) -> bool:
    names = [name for name in one if name.startswith(start)]
    assert names
    return all(one[name].tobytes() == two[name].tobytes() for name in names)


def refused(chosen: Settings) -> str:
    with pytest.raises(EaselError) as found:
        merge.outlook(chosen)
    return f"{found.value.message} {found.value.hint}"


def test_the_job_makes_what_was_foretold(tmp_path):
    chosen = settings(tmp_path, *pair())
    foretold = merge.outlook(chosen)
    job = merge.start(chosen)
    assert job.wait(120) is JobState.COMPLETED, job.result
    path = tmp_path / "made.safetensors"
    assert job.result["outputs"] == [str(path)]
    found = header.read(path)
    assert len(found.tensors) == foretold.tensors == foretold.changed
    assert sum(info.size_bytes for info in found.tensors.values()) == foretold.size_bytes
    assert job.summary.total
    next_s = merge.outlook(Settings(models=chosen.models, target=str(tmp_path / "next"))).seconds
    assert next_s is not None
    assert next_s > 0
    assert foretold.seconds is None


def test_a_part_is_taken_from_the_model_that_was_chosen(tmp_path):
    a, b = pair()
    found = made(settings(tmp_path, a, b, parts={"vae": "b", "text_encoders": "a"}))
    assert same(found, b, VAE)
    assert same(found, a, TEXT)
    assert not same(found, a, DENOISER)


def test_block_weights_replace_the_weight_of_their_blocks(tmp_path):
    a, b = pair()
    found = made(settings(tmp_path, a, b, blocks={"*": 0.0, "IN0*": 1.0, "M00": 1.0}))
    for start in ("input_blocks.3.", "middle_block."):
        assert same(found, b, DENOISER + start)
    for start in ("input_blocks.11.", "output_blocks.", "time_embed.", "out."):
        assert same(found, a, DENOISER + start)
    assert same(found, a, TEXT)


def test_a_preset_and_the_same_list_of_the_field_give_the_same(tmp_path):
    models = files(tmp_path, *pair())
    listed = (0.0, *(abs(place - 12) / 12 for place in range(25)))
    one = Settings(models=models, target=str(tmp_path / "one"), preset="GRAD_V")
    two = Settings(models=models, target=str(tmp_path / "two"), block_weights=listed)
    first, second = made(one), made(two)
    assert all(first[name].tobytes() == second[name].tobytes() for name in first)


@pytest.mark.parametrize(
    "name", ["sd15", "sdxl", "sd3-medium", "flux-dev", "lumina2", "auraflow", "unet-sdxl-diffusers"]
)
def test_every_preset_is_possible_for_every_family(name):
    tensors = recorded_headers.recorded(name).tensors
    family, layout = (
        recorded_headers.load(name)["family"],
        "ldm" if name.startswith("sd1") or name == "sdxl" else "original",
    )
    layout = "diffusers" if "diffusers" in name else layout
    own = [key.removeprefix(DENOISER) for key in tensors if not key.startswith((TEXT, VAE, "conditioner."))]
    known = blocks.in_order(blocks.labels(family, layout, own).values())
    assert len(known) >= 6
    for preset in blocks.presets():
        found = blocks.weights(known, preset, {}, 0.5)
        assert list(found) == ["BASE", *known]
        assert all(0 <= weight <= 1 for weight in found.values())


def test_the_other_channels_of_an_inpainting_model_stay(tmp_path):
    a, b = pair()
    conv = DENOISER + "input_blocks.0.0.weight"
    more = np.random.default_rng(5).standard_normal((320, 5, 3, 3)).astype(np.float16)
    wide = {**a, conv: np.concatenate([a[conv], more], axis=1)}
    chosen = settings(tmp_path, wide, b)
    assert any("9 input channels" in note for note in merge.outlook(chosen).notes)
    found = made(chosen)[conv]
    assert found[:, 4:].tobytes() == more.tobytes()
    assert np.array_equal(
        found[:, :4], ((a[conv].astype(np.float32) + b[conv].astype(np.float32)) / 2).astype(np.float16)
    )
    turned = Settings(models=chosen.models[::-1])
    assert "Give that model as A" in refused(turned)


def test_tensors_that_only_one_model_has_are_said_and_those_of_a_stay(tmp_path):
    a, b = pair()
    name = TEXT + "transformer.text_model.encoder.layers.11.mlp.fc2.weight"
    extra = VAE + "more.weight"
    chosen = settings(tmp_path, a, {**{key: value for key, value in b.items() if key != name}, extra: a[name]})
    notes = " ".join(merge.outlook(chosen).notes)
    assert name in notes
    assert extra in notes
    found = made(chosen)
    assert found[name].tobytes() == a[name].tobytes()
    assert extra not in found


def test_counts_are_copied_and_averages_of_the_training_left_out(tmp_path):
    a, b = pair()
    ids = TEXT + "transformer.text_model.embeddings.position_ids"
    more = {ids: np.arange(77, dtype=np.int64), "model_ema.decay": np.ones(1, np.float32)}
    chosen = settings(tmp_path, {**a, **more}, {**b, ids: more[ids] + 1})
    assert any("EMA" in note for note in merge.outlook(chosen).notes)
    found = made(chosen)
    assert found[ids].tobytes() == more[ids].tobytes()
    assert "model_ema.decay" not in found


def test_a_model_in_other_names_is_merged_all_the_same(tmp_path):
    """The text encoder as it was named in 2022, and a UNet alone."""
    a, b = pair()
    old = {name.replace("transformer.text_model.", "transformer."): value for name, value in b.items()}
    bare = {name.removeprefix(DENOISER): value for name, value in b.items() if name.startswith(DENOISER)}
    want = made(settings(tmp_path, a, b))
    for number, other in enumerate((old, bare)):
        folder = tmp_path / str(number)
        folder.mkdir()
        found = made(settings(folder, a, other))
        assert same(found, want, DENOISER)
        if other is bare:
            assert same(found, a, VAE)


def markers(model: Arrays, *names: str) -> Arrays:
    return {**model, **{name: np.zeros(0, np.float16) for name in names}}


def test_models_with_other_prediction_types_are_refused_with_the_reason(tmp_path):
    a, b = pair("sdxl")
    said = refused(settings(tmp_path, markers(a, "v_pred", "ztsnr"), b))
    assert "predicts v" in said
    assert "predicts epsilon" in said
    assert "--prediction" in said


def test_a_stated_prediction_type_counts_where_a_file_says_nothing(tmp_path):
    a, b = pair("sdxl")
    found = made(settings(tmp_path, a, markers(b, "v_pred", "ztsnr"), prediction="v_prediction"))
    assert "v_pred" in found


def test_a_difference_of_models_that_predict_the_same_fits_to_any_model(tmp_path):
    a, b = pair("sdxl")
    c = small_models.near(a, 3)
    found = made(settings(tmp_path, markers(a, "v_pred", "ztsnr"), b, c, method="add_difference"))
    assert {"v_pred", "ztsnr"} <= found.keys()


def test_a_whole_difference_brings_its_prediction_type_with_it(tmp_path):
    a, b = pair("sdxl")
    c = small_models.near(a, 3)
    models = (a, markers(b, "v_pred", "ztsnr"), c)
    found = made(settings(tmp_path, *models, method="add_difference"))
    assert {"v_pred", "ztsnr"} <= found.keys()
    half = Settings(models=files(tmp_path, *models), method="add_difference", parameters={"weight": 0.5})
    assert "nothing is right" in refused(half)


def test_a_vae_replaces_that_of_the_models(tmp_path):
    a, b = pair()
    vae = {
        name.removeprefix(VAE): value for name, value in small_models.arrays("sd15", 9).items() if name.startswith(VAE)
    }
    path = small_models.write(tmp_path / "vae.safetensors", vae)
    found = made(settings(tmp_path, a, b, vae=str(path)))
    assert same({VAE + name: value for name, value in vae.items()}, found, VAE)
    assert len(found) == len(a)


def test_metadata_is_kept_as_far_as_it_is_true(tmp_path):
    own = {"modelspec.author": "someone", "sshs_model_hash": "1" * 64, "modelspec.hash_sha256": "0x1", "note": "kept"}
    chosen = settings(tmp_path, *pair(), metadata={"a": own})
    found = header.read(merge.run(chosen, lambda _: None)).metadata
    assert found["modelspec.author"] == "someone"
    assert found["note"] == "kept"
    assert found["modelspec.merged_from"] == "a, b"
    assert found["modelspec.title"] == "made"
    assert not {"sshs_model_hash", "modelspec.hash_sha256"} & found.keys()
    assert str(tmp_path) not in json.dumps(found)
    told = json.loads(found[recipe.KEY])
    assert [each["name"] for each in told["inputs"]] == ["a.safetensors", "b.safetensors"]


@pytest.mark.parametrize("way", ["file", "json"])
def test_a_recipe_makes_the_same_bytes_again(tmp_path, way):
    a, b = pair()
    chosen = settings(tmp_path, a, b, small_models.near(a, 3), method="dare", seed=11, blocks={"OUT*": 0.9})
    first = merge.run(chosen, lambda _: None)
    text = header.read(first).metadata[recipe.KEY]
    (tmp_path / "recipe.json").write_text(text)
    (tmp_path / "other").mkdir()
    source = first if way == "file" else tmp_path / "recipe.json"
    out = tmp_path / "other" / "again.safetensors"
    done = CliRunner().invoke(
        easel, ["merge", "--recipe", str(source), "--search", str(tmp_path), "--out", str(out), "--json"]
    )
    assert done.exit_code == 0, done.output
    assert out.read_bytes() == first.read_bytes()


def test_a_recipe_refuses_another_file_of_the_same_name_and_size(tmp_path):
    a, b = pair()
    first = merge.run(settings(tmp_path, a, b), lambda _: None)
    text = header.read(first).metadata[recipe.KEY]
    small_models.write(tmp_path / "b.safetensors", small_models.near(a, 77))
    again = merge.again(text, [tmp_path], str(tmp_path / "again.safetensors"))
    with pytest.raises(WeightsError, match="not the file of the recipe"):
        merge.run(again, lambda _: None)
    assert not list(tmp_path.glob("*again*"))


@pytest.mark.parametrize("name", ["../b.safetensors", "/etc/passwd", "", ".."])
def test_a_recipe_leads_to_no_file_outside_the_folders(tmp_path, name):
    text = json.dumps(
        {"tool": "merge", "version": "1", "settings": {}, "inputs": [{"name": name, "size": 1, "sha256": ""}]}
    )
    with pytest.raises(WeightsError, match="not the name of a file"):
        merge.again(text, [tmp_path], "x")


@given(
    st.text()
    | st.builds(
        json.dumps,
        st.recursive(st.none() | st.integers() | st.text(), lambda of: st.lists(of) | st.dictionaries(st.text(), of)),
    )
)
def test_what_is_no_recipe_is_refused_with_a_sentence(text):
    with pytest.raises(WeightsError):
        merge.again(text, [], "x")


def test_a_file_is_never_replaced_and_never_an_input(tmp_path):
    chosen = settings(tmp_path, *pair())
    (tmp_path / "made.safetensors").write_bytes(b"mine")
    assert "made-2.safetensors is free" in refused(chosen)
    assert (tmp_path / "made.safetensors").read_bytes() == b"mine"
    assert "is one of the files" in refused(Settings(models=chosen.models, target=chosen.models[1]))


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"method": "add_difference"}, "takes 3 models"),
        ({"method": "nothing"}, "no method"),
        ({"parameters": {"weight": 1.5}}, "from 0 to 1"),
        ({"parameters": {"weight": float("nan")}}, "from 0 to 1"),
        ({"parameters": {"keep": 0.5}}, "no parameter"),
        ({"preset": "NOTHING"}, "no preset"),
        ({"blocks": {"IN12": 0.5}}, "No block"),
        ({"blocks": {"IN01": 7.0}}, "from 0 to 1"),
        ({"block_weights": (0.5,) * 25}, "needs 26"),
        ({"parts": {"vae": "c"}}, "merge, a, b"),
        ({"parts": {"nose": "a"}}, "denoiser, text_encoders, vae"),
        ({"dtype": "int4"}, "no dtype"),
        ({"seed": -1}, "seed"),
    ],
)
def test_a_wrong_setting_is_refused_with_what_is_possible(tmp_path, more, said):
    assert said in refused(settings(tmp_path, *pair(), **more))


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"preset": "GRAD_V", "parameters": {"weight": 0.3}}, "The weight 0.3 has no effect"),
        ({"seed": 5}, "The seed has no effect"),
        ({"blocks": {"IN*": 0.5}, "parts": {"denoiser": "b"}}, "no effect on the denoiser"),
        ({"preset": "WRAP08"}, "IN03 1, IN04 0,"),
    ],
)
def test_a_setting_without_an_effect_and_the_weights_of_blocks_are_said(tmp_path, more, said):
    assert said in " ".join(merge.outlook(settings(tmp_path, *pair(), **more)).notes)


def test_models_that_do_not_fit_are_refused_with_what_they_are(tmp_path):
    a, _ = pair()
    sdxl = small_models.arrays("sdxl", 1)
    assert "Stable Diffusion XL" in refused(settings(tmp_path, a, sdxl))
    lora = recorded_headers.write("lora-kohya-sd15", tmp_path)
    assert "easel lora" in refused(Settings(models=(str(tmp_path / "a.safetensors"), str(lora))))
    shape = {**a, DENOISER + "out.2.bias": np.zeros(9, np.float16)}
    assert "[9]" in refused(settings(tmp_path, a, shape))
    folder = recorded_headers.write("folder-sd15", tmp_path)
    assert "easel convert" in refused(Settings(models=(str(folder), str(folder))))


def test_the_command_shows_before_what_it_would_make(tmp_path):
    models = files(tmp_path, *pair())
    words = ["merge", *models, "--set", "weight=0.25", "--preset", "WRAP08", "--dry-run"]
    done = CliRunner().invoke(easel, [*words, "--json"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.output)
    assert told["tensors"] == 1130
    assert 0 < told["changed"] + told["tensors"] <= 2260
    assert CliRunner().invoke(easel, words).exit_code == 0
    assert not Path(told["target"]).exists()


def test_sd_scripts_makes_the_same_bits(tmp_path):
    """Its own program, in its own environment, with real weights of a small model."""
    python = KOHYA / "venv/bin/python"
    script = KOHYA / "source"
    if not (script / "tools/merge_models.py").is_file() or not python.exists():
        pytest.skip("sd-scripts is not installed")
    a, b = pair()
    models = files(tmp_path, a, b)
    out = tmp_path / "theirs.safetensors"
    words = ("--models", *models, "--ratios", "0.7", "0.3", "--saving_precision", "fp16", "--output", str(out))
    subprocess.run((str(python), str(script / "tools/merge_models.py"), *words), check=True, cwd=script, env={**os.environ, "PYTHONPATH": str(script), "CUDA_VISIBLE_DEVICES": ""}, capture_output=True)  # fmt: skip
    theirs = small_models.read(out)
    found = made(Settings(models=models, target=str(tmp_path / "mine"), parameters={"weight": 0.3}))
    assert found.keys() == theirs.keys()
    assert all(found[name].tobytes() == theirs[name].tobytes() for name in found)

"""Folders in the diffusers layout that a conversion plans, and the metadata of what it makes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.support import recorded_headers
from tests.support import weight_files as files
from trainer_core.errors import EaselError, WeightsError
from trainer_core.models.header import TensorInfo
from trainer_core.tools import convert, recipe
from trainer_core.tools.convert import Settings
from trainer_core.weights.conversion import pipelines


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "easel"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))


def made(source: Path, **wanted) -> Path:
    target = str(source.parent / "new.safetensors")
    return convert.run(Settings(files=(str(source),), target=target, **wanted), lambda _: None)


class TestMetadata:
    def test_it_is_carried_over_with_a_recipe_and_without_what_is_false_now(self, tmp_path: Path) -> None:
        path = files.safetensors(
            tmp_path / "old.safetensors", {"w": np.ones((2, 2), np.float16)},
            {"author": "me", "modelspec.hash_sha256": "0x1", "sshs_model_hash": "2"},
        )  # fmt: skip
        found = files.metadata(made(path, dtype="bf16"))
        assert found["author"] == "me"
        assert not {"modelspec.hash_sha256", "sshs_model_hash"} & found.keys()
        told = recipe.read(found[recipe.KEY], "convert")
        assert told.settings == {"dtype": "bf16", "files": ["old.safetensors"]}
        assert told.inputs[0].name == "old.safetensors"
        assert str(tmp_path) not in json.dumps(found)

    def test_marks_are_copied_byte_for_byte(self, tmp_path: Path) -> None:
        marks = {
            "v_pred": np.zeros(0, np.float16),
            "edm_mean": np.array([1.5, 2], np.float32),
            "ztsnr": np.zeros(0, np.float16),
        }
        path = files.safetensors(tmp_path / "old.safetensors", {"w": np.ones((2, 2), np.float16)} | marks)
        found = files.read(made(path, dtype="fp32", family="sd15"))
        assert all(found[name].tobytes() == mark.tobytes() for name, mark in marks.items())
        assert found["v_pred"].shape == (0,)


class TestFolders:
    def test_a_folder_of_another_family_is_refused_with_the_reason(self, tmp_path: Path) -> None:
        path = recorded_headers.write("lumina2", tmp_path)
        with pytest.raises(WeightsError, match="This model is none of these"):
            convert.outlook(Settings(files=(str(path),), form="diffusers"))

    def test_a_model_that_is_not_the_usual_one_is_refused_with_the_reason(self, tmp_path: Path) -> None:
        rows = dict(recorded_headers.load("sdxl")["tensors"])
        rows["model.diffusion_model.input_blocks.0.0.weight"] = ("F16", (320, 9, 3, 3))
        path = recorded_headers.write_file(tmp_path / "inpainting.safetensors", rows)
        with pytest.raises(WeightsError, match="inpainting model"):
            convert.outlook(Settings(files=(str(path),), form="diffusers"))

    @pytest.mark.parametrize(("name", "family"), [("sd15", "sd15"), ("sd2", "sd2"), ("sdxl", "sdxl")])
    def test_the_configs_of_a_full_size_file_are_those_that_are_published(
        self, tmp_path: Path, name: str, family: str
    ) -> None:
        path = recorded_headers.write(name, tmp_path)
        plan = convert.planned(Settings(files=(str(path),), form="diffusers"))
        recorded = recorded_headers.load({"sd15": "folder-sd15", "sd2": "folder-sd21", "sdxl": "folder-sdxl"}[name])
        config, wanted = json.loads(plan.texts["unet/config.json"]), recorded["configs"]["unet"]
        told = {key: wanted[key] for key in config if key in wanted and not key.startswith("_")}
        # The published config of Stable Diffusion 1 has one number of heads for all blocks, and that of 2 one list.
        assert {key: config[key] for key in told} == told
        assert plan.size_bytes <= sum(
            TensorInfo(*row).size_bytes for row in recorded_headers.load(name)["tensors"].values()
        )
        index = json.loads(plan.texts["model_index.json"])
        assert index["_class_name"] == pipelines.of(family).pipeline

    def test_what_a_file_predicts_is_in_the_config_of_the_scheduler(self, tmp_path: Path) -> None:
        rows = {**recorded_headers.load("sdxl")["tensors"], "v_pred": ("F32", (0,)), "ztsnr": ("F32", (0,))}
        path = recorded_headers.write_file(tmp_path / "v.safetensors", rows)
        plan = convert.planned(Settings(files=(str(path),), form="diffusers"))
        told = json.loads(plan.texts["scheduler/scheduler_config.json"])
        assert (told["prediction_type"], told["rescale_betas_zero_snr"]) == ("v_prediction", True)

    def test_a_missing_tokenizer_is_said_and_one_in_a_folder_is_copied(self, tmp_path: Path) -> None:
        path = recorded_headers.write("sd15", tmp_path)
        wanted = Settings(files=(str(path),), form="diffusers")
        assert any("tokenizer of CLIP is not on this machine" in note for note in convert.outlook(wanted).notes)
        assert json.loads(convert.planned(wanted).texts["model_index.json"])["tokenizer"] == [None, None]
        tokenizer = tmp_path / "hub" / "models--openai--clip-vit-large-patch14" / "snapshots" / "1"
        tokenizer.mkdir(parents=True)
        for name in ("vocab.json", "merges.txt"):
            (tokenizer / name).write_text("{}")
        plan = convert.planned(wanted)
        assert plan.copies == {f"tokenizer/{name}": tokenizer / name for name in ("vocab.json", "merges.txt")}
        assert json.loads(plan.texts["model_index.json"])["tokenizer"] == ["transformers", "CLIPTokenizer"]
        with pytest.raises(WeightsError, match="has no tokenizer"):
            convert.outlook(Settings(files=(str(path),), form="diffusers", tokenizers=str(tmp_path)))

    def test_scaled_weights_become_a_folder_only_with_a_dtype(self, tmp_path: Path) -> None:
        name = "model.diffusion_model.double_blocks.0.img_attn.proj"
        rows = {
            f"model.diffusion_model.{key}": row for key, row in recorded_headers.load("flux-dev")["tensors"].items()
        }
        rows |= {f"{name}.weight": ("F8_E4M3", (3072, 3072)), f"{name}.scale_weight": ("F32", ())}
        path = recorded_headers.write_file(tmp_path / "scaled.safetensors", rows)
        with pytest.raises(EaselError, match="stored in fp8 with scales"):
            convert.outlook(Settings(files=(str(path),), form="diffusers"))
        assert convert.outlook(Settings(files=(str(path),), form="diffusers", dtype="bf16")).changed > 0

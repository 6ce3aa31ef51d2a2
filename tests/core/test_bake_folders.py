"""Baking into a folder in the diffusers layout and into shards, and extracting from both: against sums in float64."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from tests.support import recorded_headers, small_loras, small_models
from tests.support.small_models import Arrays
from trainer_core.errors import WeightsError
from trainer_core.models import header
from trainer_core.tools import bake, extract, recipe

QUIET = lambda line: None  # noqa: E731
UNET = "unet/down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q.weight"
TEXT = "text_encoder/text_model.encoder.layers.0.mlp.fc1.weight"
LORA = {"lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q": UNET, "lora_te_text_model_encoder_layers_0_mlp_fc1": TEXT}  # fmt: skip


def shards(folder: Path, stem: str, tensors: Arrays) -> Path:
    """A model in two files, with the index of them."""
    folder.mkdir(exist_ok=True)
    names, places = list(tensors), {}
    for number, part in enumerate((names[::2], names[1::2]), start=1):
        file = f"{stem}-0000{number}-of-00002.safetensors"
        small_models.write(folder / file, {name: tensors[name] for name in part}, {"format": "pt"})
        places |= dict.fromkeys(part, file)
    index = folder / f"{stem}.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": places}))
    return index


def folder(path: Path, tensors: Arrays) -> Path:
    """A pipeline of these tensors whose UNet lies in two files, with the files that it has beside them."""
    configs = recorded_headers.load("folder-sd15")["configs"]
    path.mkdir()
    (path / "model_index.json").write_text(json.dumps({**configs[""], "vae": ["diffusers", "AutoencoderKL"]}))
    for component, config in configs.items():
        if component:
            (path / component).mkdir()
            name = "scheduler_config.json" if component == "scheduler" else "config.json"
            (path / component / name).write_text(json.dumps(config))
    for component in sorted({name.partition("/")[0] for name in tensors}):
        (path / component).mkdir(exist_ok=True)
        own = {name.partition("/")[2]: value for name, value in tensors.items() if name.startswith(f"{component}/")}
        if component == "unet":
            shards(path / component, "diffusion_pytorch_model", own)
        else:
            stem = "model" if component.startswith("text_encoder") else "diffusion_pytorch_model"
            small_models.write(path / component / f"{stem}.safetensors", own, {"format": "pt"})
    (path / "tokenizer").mkdir(exist_ok=True)
    (path / "tokenizer" / "vocab.json").write_text("{}")
    (path / "unet" / "diffusion_pytorch_model.fp16.safetensors").write_bytes(b"another variant")
    return path


@pytest.fixture
def tensors() -> Arrays:
    return small_models.arrays("folder-sd15", 1) | {"vae/decoder.conv_in.bias": np.arange(8, dtype=np.float16)}


@pytest.fixture
def lora(tmp_path: Path, tensors: Arrays) -> tuple[str, Mapping[str, np.ndarray]]:
    """A LoRA for a layer of the UNet and one of the text encoder, and the change of each."""
    shapes = {name: tensors[name].shape for name in LORA.values()}
    made = small_loras.lora({key: shapes[name] for key, name in LORA.items()}, "", rank=2)
    path = small_loras.write(tmp_path / "lora.safetensors", made)
    return str(path), {LORA[key]: change for key, change in small_loras.changes(path).items()}


def read(path: Path) -> Arrays:
    """All tensors of a folder."""
    found = {}
    for file in header.read(path).files:
        found |= {f"{file.parent.name}/{name}": value for name, value in small_models.read(file).items()}
    return found


def test_a_folder_becomes_a_folder_in_which_only_the_changed_layers_differ(
    tmp_path: Path, tensors: Arrays, lora: tuple[str, Mapping[str, np.ndarray]]
) -> None:
    given, (path, changes) = folder(tmp_path / "given", tensors), lora
    settings = bake.Settings(model=str(given), networks=(path,), strengths=(0.5,), text_strengths=(2.0,), family="sd15")
    planned, lines = bake.outlook(settings), []
    made = bake.run(settings, lines.append)
    assert made == planned.target == tmp_path / "given-with-lora"
    found = read(made)
    assert found.keys() == tensors.keys()
    for name, value in tensors.items():
        if name in changes:
            wanted = value.astype(np.float64) + (2.0 if name == TEXT else 0.5) * changes[name]
            assert np.abs(found[name] - wanted).max() <= np.spacing(np.abs(wanted).max().astype(np.float16))
            assert not np.array_equal(found[name], value)
        else:
            assert found[name].tobytes() == value.tobytes()
    names = {str(each.relative_to(given)) for each in given.rglob("*") if each.is_file()}
    assert {str(each.relative_to(made)) for each in made.rglob("*") if each.is_file()} == names - {
        "unet/diffusion_pytorch_model.fp16.safetensors"
    }
    assert lines[-1].endswith(f", {len(tensors)} of {len(tensors)} tensors")
    assert planned.size_bytes == pytest.approx(sum(each.stat().st_size for each in made.rglob("*") if each.is_file()), rel=0.01)  # fmt: skip
    metadata = header.read_file(made / "text_encoder" / "model.safetensors").metadata
    assert metadata["format"] == "pt"
    assert recipe.read(metadata[recipe.KEY], "bake").settings["strengths"] == [0.5]
    assert recipe.KEY not in header.read_file(made / "vae" / "diffusion_pytorch_model.safetensors").metadata
    with pytest.raises(WeightsError, match="already exists"):
        bake.run(bake.Settings(model=str(given), networks=(path,), target=str(made), family="sd15"), QUIET)


def test_what_was_baked_into_a_folder_is_extracted_from_the_two_folders(
    tmp_path: Path, tensors: Arrays, lora: tuple[str, Mapping[str, np.ndarray]]
) -> None:
    wide = {name: value.astype(np.float32) for name, value in tensors.items()}
    given, (path, changes) = folder(tmp_path / "given", wide), lora
    made = bake.run(bake.Settings(model=str(given), networks=(path,), family="sd15"), QUIET)
    settings = extract.Settings(tuned=str(made), base=str(given), rank=2, dtype="fp32", family="sd15")
    found = small_loras.changes(extract.run(settings, QUIET))
    assert found.keys() == LORA.keys()
    for key, change in found.items():
        assert small_loras.error(change, changes[LORA[key]]) < 1e-4


def test_shards_are_read_as_one_model(tmp_path: Path, tensors: Arrays, lora: tuple[str, Mapping[str, np.ndarray]]) -> None:  # fmt: skip
    whole = {name.partition("/")[2]: value for name, value in tensors.items() if name.startswith("unet/")}
    index = shards(tmp_path / "unet", "diffusion_pytorch_model", whole)
    settings = bake.Settings(
        model=str(index), networks=(lora[0],), family="sd15", target=str(tmp_path / "made"), skip=True
    )
    found = small_models.read(bake.run(settings, QUIET))
    name = UNET.partition("/")[2]
    assert {each for each in whole if found[each].tobytes() != whole[each].tobytes()} == {name}
    assert np.abs(found[name] - (whole[name].astype(np.float64) + lora[1][UNET])).max() < 1e-3
    again = dataclasses.replace(settings, model=str(index.parent), target=str(tmp_path / "again"))
    assert bake.run(again, QUIET).stat().st_size
    assert small_models.read(tmp_path / "again.safetensors").keys() == found.keys()
    back = extract.Settings(tuned=str(tmp_path / "made.safetensors"), base=str(index.parent), rank=2, family="sd15")
    (change,) = small_loras.changes(extract.run(back, QUIET)).values()
    assert small_loras.error(change, lora[1][UNET]) < 0.01


def test_another_dtype_is_refused_and_a_changed_file_leaves_no_folder(
    tmp_path: Path, tensors: Arrays, lora: tuple[str, Mapping[str, np.ndarray]]
) -> None:
    given = folder(tmp_path / "given", tensors)
    settings = {"model": str(given), "networks": (lora[0],), "family": "sd15", "target": str(tmp_path / "made")}
    with pytest.raises(WeightsError, match="keep their dtypes"):
        bake.outlook(bake.Settings(**settings, dtype="bf16"))

    def touch(line: str) -> None:
        if line.startswith("Wrote"):
            (given / "vae" / "diffusion_pytorch_model.safetensors").touch()

    with pytest.raises(WeightsError, match="changed"):
        bake.run(bake.Settings(**settings), touch)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["given", "lora.safetensors"]

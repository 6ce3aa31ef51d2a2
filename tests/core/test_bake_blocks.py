"""Strengths by block in baking: with the names of merging, and with the beginnings of the names of layers."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from tests.support import network_files, small_models
from tests.support.baking import QUIET, Arrays, loras, made, write_pair
from trainer_core.errors import WeightsError
from trainer_core.models import header
from trainer_core.tools import bake
from trainer_core.weights.networks.places import Index


def small_header(folder: Path, tensors: Arrays) -> header.Header:
    return header.read(small_models.write(folder / "index.safetensors", tensors))


def test_the_longest_name_of_a_block_decides_about_its_strength(tmp_path: Path) -> None:
    tensors = small_models.arrays("flux-schnell", 1, np.float32)
    model = small_models.write(tmp_path / "model.safetensors", tensors)
    names = [f"double_blocks.{number}.img_attn.proj" for number in (1, 2, 10)]
    modules, changes = loras({name: tensors[f"{name}.weight"].shape for name in names})
    lora = network_files.write(
        tmp_path / "lora.safetensors", {f"diffusion_model.{name}": modules[name] for name in names}
    )
    blocks = {"double_blocks": 0.5, "double_blocks.1": 0.0}
    found = made(tmp_path, model, lora, family="flux", blocks=blocks)
    for name, factor in zip(names, (0.0, 0.5, 0.5), strict=True):
        wanted = tensors[f"{name}.weight"] + factor * changes[name]
        assert np.abs(found[f"{name}.weight"] - wanted).max() < 1e-6


def test_blocks_have_the_names_that_merging_has_and_an_unknown_one_is_refused_with_the_list(tmp_path: Path) -> None:
    tensors = small_models.arrays("sd15", 1, np.float32)
    stems = {"IN01": "input_blocks_1_1", "M00": "middle_block_1", "OUT03": "output_blocks_3_1"}
    layers = {f"lora_unet_{stem}_transformer_blocks_0_attn1_to_q": label for label, stem in stems.items()}
    index = Index(small_header(tmp_path, tensors), "sd15")
    found = {key: index.layer(key) for key in layers}
    modules, changes = loras({key: each.shape for key, each in found.items() if each})
    settings = write_pair(tmp_path, modules, **{name.replace(".", "__"): each for name, each in tensors.items()})
    settings = dataclasses.replace(settings, family="sd15", blocks={"OUT*": 0.0, "IN01": 0.5, "model.x": 1.0})
    with pytest.raises(WeightsError, match=r"no block called model\.x") as error:
        bake.outlook(settings)
    assert error.value.hint == "Their blocks: IN01, M00, OUT03."
    made = small_models.read(bake.run(dataclasses.replace(settings, blocks={"OUT*": 0.0, "IN01": 0.5}), QUIET))
    for (key, label), factor in zip(layers.items(), (0.5, 1.0, 0.0), strict=True):
        name = found[key].targets[0].tensor  # pyright: ignore[reportOptionalMemberAccess]
        assert np.abs(made[name] - (tensors[name] + factor * changes[key])).max() < 1e-6, label

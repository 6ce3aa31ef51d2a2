"""A LoRA with another rank, strength, naming, dtype or kind: its effect against float64, and what stays bit by bit."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.numpy import load_file

from tests.support import recorded_networks, small_loras
from tests.support.small_loras import best_error, changes, error, lora, write
from trainer_core.cli import easel
from trainer_core.errors import WeightsError
from trainer_core.models import header, loaders
from trainer_core.tools import lora_convert, lora_resize, lora_scale
from trainer_core.weights.lora import algebra, ranks

SHAPES = {
    "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q": (20, 20),
    "down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k": (40, 48),
    "mid_block.attentions.0.proj_in": (24, 24, 1, 1),
    "up_blocks.1.resnets.0.conv1": (24, 16, 3, 3),
}
FAMILIES = [
    ("sd15", "sd15", "sd-scripts"), ("sd2", "sd2", "sd-scripts"), ("sdxl", "sdxl", "sd-scripts"), ("sd3", "sd35-large", "comfyui"), ("flux", "flux-dev", "sd-scripts"),
    ("chroma", "chroma", "sd-scripts"), ("lumina2", "lumina2", "comfyui"), ("anima", "anima", "comfyui"),
]  # fmt: skip
HALF = 2e-3


def quiet(_: str) -> None:
    pass


def file(folder: Path, **changed: object) -> Path:
    return write(folder / "a.safetensors", lora(SHAPES, **({"kind": np.float32, "rank": 8} | changed)))


def resized(path: Path, **chosen: object) -> lora_resize.Made:
    return lora_resize.made(lora_resize.Settings(file=str(path), family="sd15", **chosen), quiet)


def scaled(path: Path, **chosen: object) -> Path:
    return lora_scale.run(lora_scale.Settings(file=str(path), **({"family": "sd15"} | chosen)), quiet)


def converted(path: Path, **chosen: object) -> Path:
    return lora_convert.run(lora_convert.Settings(file=str(path), **({"family": "sd15"} | chosen)), quiet)


@pytest.mark.parametrize("rank", [1, 3, 7])
def test_a_resized_lora_is_the_nearest_one_of_its_rank_with_the_same_scale(tmp_path: Path, rank: int) -> None:
    path = file(tmp_path, alpha=2.0)
    made = resized(path, rank=rank)
    old, new = changes(path), changes(made.path)
    for row in made.layers:
        least = best_error(old[row["layer"]], rank)
        assert error(new[row["layer"]], old[row["layer"]]) <= least * 1.001
        assert row["error"] == pytest.approx(least, rel=1e-3)
    tensors = load_file(made.path)
    assert {float(each) for key, each in tensors.items() if key.endswith(".alpha")} == {2.0 * rank / 8}
    with safe_open(made.path, "np") as found:
        assert found.metadata()["ss_network_dim"] == str(rank)


def test_layers_whose_rank_is_small_enough_stay_bit_by_bit(tmp_path: Path) -> None:
    path = file(tmp_path, kind=np.float16)
    made = resized(path, rank=8, conv_rank=2)
    old, new = load_file(path), load_file(made.path)
    assert [row["layer"] for row in made.layers if not row["copied"]] == ["lora_unet_up_blocks_1_resnets_0_conv1"]
    assert all(np.array_equal(old[key], new[key]) for key in old if "conv1" not in key and not key.endswith("alpha"))
    assert "3 of 4 layers" in " ".join(made.notes)


def test_a_rank_that_changes_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="No layer of this file has a rank above 8"):
        resized(file(tmp_path), rank=8)


def test_tensors_of_no_layer_stay(tmp_path: Path) -> None:
    tensors = lora(SHAPES) | {"bundle_emb.blob.string_to_param.*": np.ones((2, 768), np.float16)}
    path = resized(write(tmp_path / "a.safetensors", tensors), rank=2).path
    assert np.array_equal(load_file(path)["bundle_emb.blob.string_to_param.*"], np.ones((2, 768)))


@given(
    st.integers(2, 24), st.integers(2, 24), st.integers(1, 30), st.integers(0, 2**32 - 1),
    st.sampled_from([1e-20, 1e-6, 1.0, 1e6]), st.booleans(),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_a_truncated_product_has_the_least_error(
    out: int, inputs: int, rank: int, seed: int, size: float, is_deficient: bool
) -> None:
    random = np.random.default_rng(seed)
    up, down = random.standard_normal((out, rank)).astype(np.float32), random.standard_normal((rank, inputs))
    down = (down * size).astype(np.float32)
    if is_deficient and rank > 1:
        up[:, 1], down[0] = up[:, 0], 0
    whole = up.astype(np.float64) @ down.astype(np.float64)
    found = algebra.decomposed(up, down)
    values = np.linalg.svd(whole, compute_uv=False)
    assert np.allclose(found.values, values[: len(found.values)], rtol=1e-3, atol=values[0] * 1e-5)
    assert np.allclose(algebra.values(up, down), found.values, rtol=1e-3, atol=values[0] * 1e-5)
    for kept in range(1, len(found.values) + 1):
        left, right = found.factors(kept)
        assert np.isfinite(left).all()
        assert np.isfinite(right).all()
        least = math.sqrt(np.sum(values[kept:] ** 2))
        assert np.linalg.norm(whole - left.astype(np.float64) @ right) <= least * 1.001 + values[0] * 1e-5


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=40), st.floats(0.01, 1.0))
def test_a_rank_by_share_is_the_smallest_that_keeps_it(values: list[float], share: float) -> None:
    values.sort(reverse=True)
    for method, power in (("sv_fro", 2), ("sv_cumulative", 1)):
        rank = ranks.smallest(values, method, share)
        target = (share**power) * sum(value**power for value in values)
        assert sum(value**power for value in values[:rank]) >= target * (1 - 1e-6)
        assert rank == 1 or sum(value**power for value in values[: rank - 1]) <= target * (1 + 1e-6)


def test_a_ratio_keeps_the_directions_that_are_not_much_weaker_than_the_strongest(tmp_path: Path) -> None:
    assert ranks.smallest([8.0, 4.0, 2.0, 1.0], "sv_ratio", 4.0) == 3
    path = file(tmp_path)
    for row in resized(path, method="sv_ratio", value=1.5).layers:
        values = np.linalg.svd(changes(path)[row["layer"]], compute_uv=False)
        assert row["rank"] == np.count_nonzero(values * 1.5 >= values[0])


@pytest.mark.parametrize("strength", [0.5, 1.7, -1.0, -0.3])
def test_a_scaled_lora_has_that_multiple_of_the_effect_and_the_same_matrices(tmp_path: Path, strength: float) -> None:
    path = file(tmp_path, kind=np.float16)
    new = scaled(path, strength=strength)
    for name, change in changes(path).items():
        assert error(changes(new)[name], strength * change) < 1e-6
    old, tensors = load_file(path), load_file(new)
    assert all(np.array_equal(np.abs(old[key]), np.abs(tensors[key])) for key in old if not key.endswith(".alpha"))
    assert all(float(each) > 0 for key, each in tensors.items() if key.endswith(".alpha"))


def test_a_scaled_lora_without_alpha_has_scaled_matrices(tmp_path: Path) -> None:
    tensors = lora(SHAPES, "unet.", alpha=None, ends=small_loras.B_A)
    stated = {loaders.PEFT: json.dumps({"unet.r": 4, "unet.lora_alpha": 4})}
    path = write(tmp_path / "a.safetensors", tensors, stated)
    new = scaled(path, strength=0.3)
    for name, change in changes(path).items():
        assert error(changes(new)[name], 0.3 * change) < HALF
    with safe_open(new, "np") as found:
        assert found.metadata()[loaders.PEFT] == stated[loaders.PEFT]


def test_weights_of_blocks_scale_their_layers_and_zero_leaves_them_out(tmp_path: Path) -> None:
    path = file(tmp_path)
    new = changes(scaled(path, blocks={"IN*": 0.5, "M00": 0.0, "IN04": 2.0}))
    old = changes(path)
    assert "lora_unet_mid_block_attentions_0_proj_in" in old
    assert "lora_unet_mid_block_attentions_0_proj_in" not in new
    first, second, conv = (name for name in old if "mid_block" not in name)
    for name, factor in {first: 0.5, second: 2.0, conv: 1.0}.items():
        assert error(new[name], factor * old[name]) < 1e-6


@pytest.mark.parametrize(
    "name", ["lycoris-loha", "lycoris-lokr", "lycoris-lokr-full", "lycoris-full", "lycoris-ia3", "lycoris-locon-norms"]
)
def test_other_kinds_are_scaled_too(tmp_path: Path, name: str) -> None:
    from trainer_core.weights.networks import modules
    from trainer_core.weights.reading import Weights

    path = recorded_networks.write(name, tmp_path)
    new = scaled(path, strength=0.25, family="sd15")
    with Weights(path) as one, Weights(new) as other:
        after = {module.key: module for module in modules.read(other).modules}
        for module in modules.read(one).modules:
            side = math.prod(module.shapes["weight"]) if module.needs_base else 0
            base = np.ones((side, side), np.float32) if side else None
            assert np.allclose(after[module.key].delta(base), 0.25 * module.delta(base), rtol=HALF, atol=1e-6)


@pytest.mark.parametrize("name", ["lycoris-dora", "lycoris-oft", "lycoris-boft", "lycoris-glora"])
def test_kinds_that_cannot_be_scaled_or_resized_are_refused_with_the_reason(tmp_path: Path, name: str) -> None:
    path = recorded_networks.write(name, tmp_path)
    with pytest.raises(WeightsError, match="cannot be changed in the file"):
        scaled(path, strength=0.5)
    with pytest.raises(WeightsError, match="depends on the weights of the model"):
        resized(path, rank=1)


@pytest.mark.parametrize(("family", "recorded", "other"), FAMILIES)
def test_a_naming_and_back_is_the_same_effect_for_every_layer(
    tmp_path: Path, family: str, recorded: str, other: str
) -> None:
    """Through diffusers' names, in which joined layers are cut, and back."""
    known = {
        layer: shape
        for layer, shape in small_loras.layers(recorded, every=3).items()
        if _is_in_diffusers(layer, family)
    }
    assert len(known) > 30
    path = write(tmp_path / "a.safetensors", lora(known, "diffusion_model.", kind=np.float32, ends=small_loras.B_A))
    there = converted(path, naming="diffusers", family=family)
    answers = {each.program: each for each in loaders.judge(header.read(there), family)}
    assert answers["diffusers"].loads == "yes", answers["diffusers"].reason
    back = converted(there, naming="comfyui", family=family, target=str(tmp_path / "back.safetensors"))
    old, new = changes(path), changes(back)
    assert old.keys() == new.keys()
    assert max(error(new[name], old[name]) for name in old) < 1e-6
    tensors, whole = load_file(path), load_file(back)
    assert all(whole[key].shape == each.shape for key, each in tensors.items() if not key.endswith(".alpha"))


def _is_in_diffusers(layer: str, family: str) -> bool:
    from trainer_core.models.loaders import table
    from trainer_core.weights.lora import naming, sides

    place = table.places(family).get(f"diffusion_model.{layer}")
    found = sides.pieces(place, family, "diffusers") if place else []
    return bool(found) and all(naming.name("diffusers", family, each.layer) for each in found)


def test_text_encoders_get_the_names_of_each_naming(tmp_path: Path) -> None:
    layers = {
        "lora_te1_": {"text_model.encoder.layers.0.self_attn.q_proj": (32, 32)},
        "lora_te2_": {"text_model.encoder.layers.3.mlp.fc1": (64, 32)},
        "lora_unet_": {"input_blocks.4.1.proj_in": (32, 32)},
    }
    tensors = {
        key: each for prefix, shapes in layers.items() for key, each in lora(shapes, prefix, kind=np.float32).items()
    }
    path = write(tmp_path / "a.safetensors", tensors)
    there = converted(path, naming="diffusers", family="sdxl")
    assert sorted(changes(there)) == [
        "text_encoder.text_model.encoder.layers.0.self_attn.q_proj", "text_encoder_2.text_model.encoder.layers.3.mlp.fc1",
        "unet.down_blocks.1.attentions.0.proj_in",
    ]  # fmt: skip
    back = converted(there, naming="sd-scripts", family="sdxl", target=str(tmp_path / "back.safetensors"))
    assert sorted(changes(back)) == sorted(changes(path))
    assert all(error(changes(back)[name], change) < 1e-6 for name, change in changes(path).items())


@pytest.mark.parametrize(
    ("name", "bound"),
    [
        ("lycoris-loha", 2e-3),
        ("lycoris-lokr", 2e-3),
        ("lycoris-lokr-full", 2e-3),
        ("lycoris-lokr-both", 2e-3),
        ("lycoris-loha-tucker", 2e-3),
        ("lycoris-lokr-tucker", 2e-3),
        ("lycoris-full", 2e-3),
        ("lycoris-locon-tucker", 2e-3),
    ],
)
def test_a_plain_lora_of_another_kind_has_the_same_effect(tmp_path: Path, name: str, bound: float) -> None:
    from trainer_core.weights.networks import modules
    from trainer_core.weights.reading import Weights

    random = np.random.default_rng(0)
    tensors = {
        key: (random.standard_normal(each.shape) * 0.3).astype(each.dtype) if each.ndim else each
        for key, each in recorded_networks.load(name).items()
    }
    path = write(tmp_path / "a.safetensors", tensors)
    new = changes(converted(path, plain=True, dtype="fp32"))
    with Weights(path) as weights:
        for module in modules.read(weights).modules:
            if module.layout != "norm" and len(module.shape or ()) > 1 and module.key in new:
                change = module.delta().astype(np.float64)
                assert error(new[module.key], change.reshape(len(change), -1)) < bound
    assert len(new) > 0


def test_another_kind_gets_other_names_only_as_a_plain_lora(tmp_path: Path) -> None:
    path = recorded_networks.write("lycoris-loha", tmp_path)
    with pytest.raises(WeightsError, match="layers of the kind loha"):
        converted(path, naming="diffusers")


@pytest.mark.parametrize(("dtype", "stored"), [("fp16", "F16"), ("bf16", "BF16"), ("fp32", "F32")])
def test_a_dtype_changes_every_kind_of_network_and_keeps_alpha(tmp_path: Path, dtype: str, stored: str) -> None:
    path = recorded_networks.write("lycoris-oft", tmp_path)
    tensors = header.read(path).tensors
    if all(info.dtype == stored for key, info in tensors.items() if not key.endswith(".alpha")):
        with pytest.raises(WeightsError, match="already"):
            converted(path, dtype=dtype)
        return
    new = header.read(converted(path, dtype=dtype)).tensors
    assert {info.dtype for key, info in new.items() if not key.endswith(".alpha")} == {stored}
    assert {key: info.shape for key, info in new.items()} == {key: info.shape for key, info in tensors.items()}


def test_a_conversion_that_changes_nothing_is_refused(tmp_path: Path) -> None:
    for chosen, sentence in (
        ({}, "Nothing would change"),
        ({"plain": True}, "plain LoRA already"),
        ({"dtype": "fp32"}, "already"),
    ):
        with pytest.raises(WeightsError, match=sentence):
            converted(file(tmp_path), **chosen)


@pytest.mark.parametrize("tool", [lora_scale, lora_convert])
def test_a_lora_with_nan_is_refused_with_the_tensor_and_no_file_is_made(tmp_path: Path, tool: ModuleType) -> None:
    tensors = lora(SHAPES)
    name = next(key for key in tensors if key.endswith("lora_down.weight"))
    tensors[name][0, 0] = np.nan
    path = write(tmp_path / "old.safetensors", tensors)
    chosen = {"strength": 0.5} if tool is lora_scale else {"dtype": "bf16"}
    settings = tool.Settings(file=str(path), family="sd15", target=str(tmp_path / "new.safetensors"), **chosen)
    with pytest.raises(WeightsError, match=rf"{re.escape(name)} of old\.safetensors contains numbers that are not fin"):
        tool.run(settings, quiet)
    assert [each.name for each in tmp_path.iterdir()] == ["old.safetensors"]


def test_a_size_that_depends_on_the_numbers_is_the_largest_one_and_said_so(tmp_path: Path) -> None:
    path = str(file(tmp_path))
    for options, size in ((["--method", "sv_fro", "--value", "0.9"], "size: at most "), (["--rank", "2"], "size: 2")):
        found = CliRunner().invoke(easel, ["lora", "resize", path, "--family", "sd15", "--dry-run", *options])
        assert found.exit_code == 0, found.output
        assert size in found.output


def test_the_log_has_the_five_layers_with_the_largest_errors_and_the_report_all(tmp_path: Path) -> None:
    layers = {f"down_blocks.{place}.attentions.0.proj_in": (24, 24) for place in range(7)}
    path, lines = write(tmp_path / "a.safetensors", lora(layers, rank=8, kind=np.float32)), []
    made = lora_resize.made(lora_resize.Settings(file=str(path), family="sd15", rank=2), lines.append)
    told = [line for line in lines if "rank 8 to 2" in line]
    worst = sorted(made.layers, key=lambda row: -row["error"])[:5]
    assert [line.partition(":")[0] for line in told] == [row["layer"] for row in worst]
    assert len(made.layers) == 7

"""The sum of LoRAs is the sum of their changes, and with a smaller rank the nearest one, against float64."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

from tests.support import small_loras
from tests.support.small_loras import best_error, changes, error, lora, write
from trainer_core.errors import WeightsError
from trainer_core.models.loaders import table
from trainer_core.tools import lora_merge
from trainer_core.tools.lora_merge import Settings
from trainer_core.weights.lora import sides

SHAPES = {
    "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q": (20, 20),
    "down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k": (40, 48),
    "mid_block.attentions.0.proj_in": (24, 24, 1, 1),
    "up_blocks.1.resnets.0.conv1": (24, 16, 3, 3),
}
MORE = {"up_blocks.3.attentions.2.transformer_blocks.0.ff.net.2": (20, 80)}
ROUNDING = {np.float32: 1e-6, np.float16: 2e-3}


def merged(*files: Path, **settings: object) -> Path:
    strengths = settings.pop("strengths", ())
    family = settings.pop("family", "sd15")
    return lora_merge.run(
        Settings(files=tuple(map(str, files)), strengths=strengths, family=family, **settings), lambda _: None
    )


def two(folder: Path, kind: type = np.float32, **changes: object) -> tuple[Path, Path]:
    first = write(folder / "a.safetensors", lora(SHAPES, seed=1, rank=4, alpha=2.0, kind=kind))
    return first, write(folder / "b.safetensors", lora(SHAPES | MORE, seed=2, rank=6, alpha=6.0, kind=kind, **changes))


def wanted(first: Path, second: Path, left: float, right: float) -> dict[str, np.ndarray]:
    one, two = changes(first), changes(second)
    return {name: np.asarray(left * one.get(name, 0) + right * two.get(name, 0)) for name in one | two}


@pytest.mark.parametrize("kind", [np.float32, np.float16])
@pytest.mark.parametrize("strengths", [(1.0, 1.0), (0.6, 0.4), (1.0, -0.7), (2.0, 0.125)])
def test_an_exact_merge_is_the_sum(tmp_path: Path, kind: type, strengths: tuple[float, float]) -> None:
    first, second = two(tmp_path, kind)
    found = changes(merged(first, second, strengths=strengths))
    right = wanted(first, second, *strengths)
    assert found.keys() == right.keys()
    assert max(error(found[name], right[name]) for name in right) < ROUNDING[kind]


def test_the_matrices_of_the_first_file_stay_bit_by_bit(tmp_path: Path) -> None:
    first, second = two(tmp_path, np.float16)
    with safe_open(first, "np") as old, safe_open(merged(first, second, strengths=(1.0, 0.3)), "np") as new:
        for name in small_loras.names(old.keys()):
            assert np.array_equal(
                new.get_tensor(name + ".lora_up.weight")[:, :4], old.get_tensor(name + ".lora_up.weight")
            )
            assert np.array_equal(
                new.get_tensor(name + ".lora_down.weight")[:4], old.get_tensor(name + ".lora_down.weight")
            )


@pytest.mark.parametrize("rank", [1, 3, 8])
def test_a_merge_to_a_rank_is_the_nearest_one_of_that_rank(tmp_path: Path, rank: int) -> None:
    first, second = two(tmp_path)
    made = lora_merge.made(
        Settings(files=(str(first), str(second)), strengths=(0.6, 0.4), method="rank", rank=rank, family="sd15"),
        lambda _: None,
    )
    right, found = wanted(first, second, 0.6, 0.4), changes(made.path)
    for row in made.layers:
        name = row["layer"]
        least = best_error(right[name], rank)
        assert error(found[name], right[name]) <= least * 1.001 + 1e-5
        assert row["error"] == pytest.approx(least, abs=1e-4)
        assert row["rank"] == min(rank, row["rank_before"])


def test_convolutions_get_their_own_rank(tmp_path: Path) -> None:
    path = merged(*two(tmp_path), method="rank", rank=5, conv_rank=2)
    with safe_open(path, "np") as file:
        assert file.get_slice("lora_unet_up_blocks_1_resnets_0_conv1.lora_down.weight").get_shape() == [2, 16, 3, 3]
        assert file.get_slice("lora_unet_mid_block_attentions_0_proj_in.lora_up.weight").get_shape() == [24, 5, 1, 1]


@pytest.mark.parametrize("share", [0.5, 0.9, 0.999])
def test_a_merge_to_an_energy_keeps_it_and_no_more_than_needed(tmp_path: Path, share: float) -> None:
    first, second = two(tmp_path)
    made = lora_merge.made(
        Settings(files=(str(first), str(second)), method="sv_fro", value=share, family="sd15"), lambda _: None
    )
    right = wanted(first, second, 1, 1)
    for row in made.layers:
        kept = 1 - best_error(right[row["layer"]], row["rank"]) ** 2
        less = 1 - best_error(right[row["layer"]], row["rank"] - 1) ** 2 if row["rank"] > 1 else 0
        assert less < share**2 <= kept + 1e-6


def test_files_with_other_names_of_the_same_layers_are_merged_under_those_of_the_first(tmp_path: Path) -> None:
    first = write(tmp_path / "a.safetensors", lora(SHAPES, seed=1, kind=np.float32))
    second = write(
        tmp_path / "b.safetensors",
        lora(SHAPES | MORE, "unet.", seed=2, alpha=None, kind=np.float32, ends=small_loras.B_A),
    )
    found = changes(merged(first, second))
    assert set(small_loras.names(found)) == set()
    assert all(name.startswith("lora_unet_") for name in found)
    other = {
        "lora_unet_" + name.removeprefix("unet.").replace(".", "_"): each for name, each in changes(second).items()
    }
    one = changes(first)
    assert max(error(found[name], one.get(name, 0) + other[name]) for name in other) < 1e-6


def test_the_layers_that_one_naming_joins_are_cut_and_joined(tmp_path: Path) -> None:
    joined = {"double_blocks.0.img_attn.qkv": (96, 32), "single_blocks.3.linear1": (224, 32)}
    apart = {
        "transformer_blocks.0.attn.to_q": (32, 32), "transformer_blocks.0.attn.to_k": (32, 32),
        "transformer_blocks.0.attn.to_v": (32, 32), "single_transformer_blocks.3.proj_mlp": (128, 32),
    }  # fmt: skip
    first = write(tmp_path / "a.safetensors", lora(joined, kind=np.float32, seed=1))
    second = write(
        tmp_path / "b.safetensors",
        lora(apart, "transformer.", kind=np.float32, seed=2, alpha=None, ends=small_loras.B_A),
    )
    found, one, other = changes(merged(first, second, family="flux")), changes(first), changes(second)
    qkv = np.concatenate([other[f"transformer.transformer_blocks.0.attn.to_{part}"] for part in "qkv"])
    assert (
        error(found["lora_unet_double_blocks_0_img_attn_qkv"], one["lora_unet_double_blocks_0_img_attn_qkv"] + qkv)
        < 1e-6
    )
    linear = one["lora_unet_single_blocks_3_linear1"].copy()
    linear[96:] += other["transformer.single_transformer_blocks.3.proj_mlp"]
    assert error(found["lora_unet_single_blocks_3_linear1"], linear) < 1e-6
    back = changes(merged(second, first, family="flux", target=str(tmp_path / "back.safetensors")))
    name = "transformer.transformer_blocks.0.attn.to_k"
    assert error(back[name], other[name] + one["lora_unet_double_blocks_0_img_attn_qkv"][32:64]) < 1e-6


def test_block_weights_count_for_each_file(tmp_path: Path) -> None:
    first, second = two(tmp_path)
    found = changes(merged(first, second, blocks=({"IN*": 0.5}, {"M00": 0.0, "OUT11": 2.0})))
    one, other = changes(first), changes(second)
    names = {layer: f"lora_unet_{layer.replace('.', '_')}" for layer in SHAPES | MORE}
    factors = dict(zip(SHAPES | MORE, [(0.5, 1), (0.5, 1), (1, 0), (1, 1), (1, 2)], strict=True))
    for layer, (left, right) in factors.items():
        name = names[layer]
        assert error(found[name], left * one.get(name, 0) + right * other[name]) < 1e-6


def test_a_layer_whose_weight_is_zero_in_every_file_is_left_out(tmp_path: Path) -> None:
    found = changes(merged(*two(tmp_path), blocks=({"M00": 0.0}, {"M00": 0.0})))
    assert len(found) == len(SHAPES | MORE) - 1


def test_the_metadata_is_that_of_the_first_file_as_far_as_it_is_true(tmp_path: Path) -> None:
    tensors = lora(SHAPES, kind=np.float32)
    old = {
        "ss_network_dim": "4", "ss_network_alpha": "2.0", "ss_base_model_version": "sd_v1", "sshs_model_hash": "old", "sshs_legacy_hash": "old",
        "modelspec.trigger_phrase": "blobbert", "easel.plan": "{}", "modelspec.title": "Blobbert",
    }  # fmt: skip
    first = write(tmp_path / "a.safetensors", tensors, old)
    second = write(tmp_path / "b.safetensors", tensors, {"modelspec.trigger_phrase": "teapot"})
    path = merged(first, second)
    with safe_open(path, "np") as file:
        found = file.metadata()
    assert found["ss_base_model_version"] == "sd_v1"
    assert (found["ss_network_dim"], found["ss_network_alpha"]) == ("8", "4")
    assert found["modelspec.trigger_phrase"] == "blobbert, teapot"
    assert found["modelspec.title"] == path.stem
    assert found["modelspec.merged_from"] == "a, b"
    assert not {"easel.plan", "sshs_legacy_hash"} & found.keys()
    import hashlib

    data = path.read_bytes()
    tensors_from = 8 + int.from_bytes(data[:8], "little")
    assert found["sshs_model_hash"] == hashlib.sha256(data[tensors_from:]).hexdigest()
    recipe = json.loads(found["easel.recipe"])
    assert [each["sha256"] for each in recipe["inputs"]] == [
        hashlib.sha256(each.read_bytes()).hexdigest() for each in (first, second)
    ]
    assert str(tmp_path) not in json.dumps(found)


def test_networks_of_different_families_are_refused_with_both_names(tmp_path: Path) -> None:
    sdxl = small_loras.layers("sdxl", every=40, divisor=1)
    flux = small_loras.layers("flux-dev", every=60, divisor=1)
    first = write(tmp_path / "a.safetensors", lora(sdxl, rank=1))
    second = write(tmp_path / "b.safetensors", lora(flux, rank=1))
    with pytest.raises(WeightsError, match=r"a\.safetensors is for Stable Diffusion XL, and b\.safetensors for FLUX"):
        merged(first, second, family="")


def test_layers_of_one_name_with_other_shapes_are_refused(tmp_path: Path) -> None:
    first = write(tmp_path / "a.safetensors", lora({"mid_block.attentions.0.proj_in": (24, 24)}))
    second = write(tmp_path / "b.safetensors", lora({"mid_block.attentions.0.proj_in": (24, 32)}))
    with pytest.raises(WeightsError, match=r"\[24, 24\] in a.safetensors, \[24, 32\] in b.safetensors"):
        merged(first, second)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"strengths": (1.0,)}, "2 files and 1 strengths"),
        ({"strengths": (1.0, float("nan"))}, "strength nan is not possible"),
        ({"strengths": (0.0, 0.0)}, "nothing is left"),
        ({"method": "rank"}, "rank is missing"),
        ({"method": "sv_fro", "value": 1.5}, "not possible with sv_fro"),
        ({"method": "magic"}, "no way to choose a rank"),
        ({"rank": 8}, "exact merge has no other rank"),
        ({"dtype": "fp8"}, "no dtype"),
        ({"naming": "novelai"}, "no naming"),
        ({"blocks": ({"IN99": 1.0}, {})}, "changes no block called IN99"),
    ],
)
def test_settings_that_are_not_possible_are_refused_before_the_start(
    tmp_path: Path, settings: dict[str, object], sentence: str
) -> None:
    with pytest.raises(WeightsError, match=sentence):
        lora_merge.outlook(Settings(files=tuple(map(str, two(tmp_path))), family="sd15", **settings))


def test_a_file_with_strength_0_is_left_out_and_that_is_said(tmp_path: Path) -> None:
    files = tuple(map(str, two(tmp_path)))
    notes = lora_merge.outlook(Settings(files=files, family="sd15", strengths=(1.0, 0.0))).notes
    assert notes == ("b.safetensors has strength 0 and is left out.",)
    assert "only in one of the files" in lora_merge.outlook(Settings(files=files, family="sd15")).notes[0]


def test_files_of_an_unknown_family_without_a_common_layer_are_refused(tmp_path: Path) -> None:
    first = write(tmp_path / "a.safetensors", lora({"mine.0.one": (8, 8)}))
    second = write(tmp_path / "b.safetensors", lora({"other.0.two": (8, 8)}))
    third = write(tmp_path / "c.safetensors", lora({"mine.0.one": (8, 8), "mine.0.more": (8, 8)}))
    for files in ((first, second), (first, third, second)):
        with pytest.raises(WeightsError, match=r"[ab]\.safetensors shares no layer with the other files"):
            merged(*files, family="")
    assert merged(first, third, family="").exists()


def test_a_merge_of_one_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="at least two files"):
        lora_merge.outlook(Settings(files=(str(two(tmp_path)[0]),)))


def test_no_file_is_replaced_and_no_input_is_the_output(tmp_path: Path) -> None:
    first, second = two(tmp_path)
    with pytest.raises(WeightsError, match="is one of the files that are read"):
        merged(first, second, target=str(second))
    merged(first, second)
    with pytest.raises(WeightsError, match="already exists"):
        merged(first, second)


def test_a_number_that_fp16_cannot_hold_is_said(tmp_path: Path) -> None:
    first, second = two(tmp_path)
    with pytest.raises(WeightsError, match="too large for F16"):
        merged(first, second, strengths=(0.001, 100.0), dtype="fp16", blocks=({}, {"*": 100.0}))
    assert not (tmp_path / "a-merged.safetensors").exists()


def test_nan_in_an_input_is_said_and_no_file_is_made(tmp_path: Path) -> None:
    first, _ = two(tmp_path)
    tensors = lora(SHAPES)
    next(iter(tensors.values()))[0, 0] = np.nan
    bad = write(tmp_path / "bad.safetensors", tensors)
    with pytest.raises(WeightsError, match=r"bad\.safetensors contains numbers that are not finite"):
        merged(first, bad)
    assert not (tmp_path / "a-merged.safetensors").exists()


def test_the_outlook_has_the_size_of_the_file(tmp_path: Path) -> None:
    first, second = two(tmp_path)
    settings = Settings(files=(str(first), str(second)), family="sd15")
    planned = lora_merge.outlook(settings)
    path = lora_merge.run(settings, lambda _: None)
    with safe_open(path, "np") as file:
        tensors = [file.get_tensor(key) for key in file.keys()]  # noqa: SIM118 - not a mapping
    assert planned.target == path
    assert planned.tensors == len(tensors)
    assert planned.size_bytes == sum(each.nbytes for each in tensors if each.ndim)


@pytest.mark.parametrize("family", sorted(table.families()))
def test_every_block_of_a_layer_is_the_same_in_both_namings(family: str) -> None:
    from trainer_core.weights.lora import blocks

    for layer in table.layers(family, "original"):
        form = table.forms(family, "original")[0]
        place = table.Place("original", layer, form, in_comfyui=True, in_diffusers="")
        own = blocks._labels(family).get(layer, "BASE")
        for piece in sides.pieces(place, family, "diffusers"):
            other = table.Place("diffusers", piece.layer[1], form, in_comfyui=True, in_diffusers="")
            back = sides.pieces(other, family, "original")
            assert [each.layer[1] for each in back] == [layer]
            assert blocks._labels(family).get(back[0].layer[1], "BASE") == own

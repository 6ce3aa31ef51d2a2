"""Baking networks into models: against sums in float64, with every input that is wrong, and a job that is killed."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from tests.support import network_files, recorded_headers, small_models
from tests.support.baking import QUIET, loras, made, write_pair
from tests.support.network_files import cases
from trainer_core.errors import EaselError, WeightsError
from trainer_core.models import header
from trainer_core.tools import bake, recipe
from trainer_core.tools.bake import Settings
from trainer_core.weights.networks.places import Index

MODELS = ["sd15", "sd2", "sdxl", "sd35-medium", "flux-schnell", "flux2-klein-4b", "chroma", "lumina2", "z-image", "auraflow", "sana-600m", "hunyuan-image", "anima", "unet-sd15-diffusers"]  # fmt: skip


def steps(value: np.ndarray, kind: type = np.float16) -> np.ndarray:
    """The distance to the next number of a dtype."""
    return np.abs(np.spacing(np.abs(value).astype(kind))).astype(np.float64)


@pytest.mark.parametrize("name", MODELS)
def test_a_lora_is_added_to_every_layer_and_all_else_stays_bit_by_bit(tmp_path: Path, name: str) -> None:
    tensors = small_models.arrays(name, 1)
    model = small_models.write(tmp_path / "model.safetensors", tensors, {"modelspec.author": "Someone"})
    index = Index(header.read(model), recorded_headers.load(name)["family"])
    layers = {layer: found.shape for layer, found in index.denoiser() if len(found.shape) > 1}
    modules, changes = loras(layers)
    keys = {f"lora_unet_{layer.replace('.', '_')}": modules[layer] for layer in layers}
    found = made(
        tmp_path, model, network_files.write(tmp_path / "lora.safetensors", keys), strengths=(0.5,), family=index.family
    )
    changed = {index.layer(f"diffusion_model.{layer}").targets[0].tensor: layer for layer in layers}  # pyright: ignore[reportOptionalMemberAccess]
    assert list(found) == list(tensors)
    for key, value in found.items():
        if key not in changed:
            assert value.tobytes() == tensors[key].tobytes()
            continue
        wanted = tensors[key].astype(np.float64) + 0.5 * changes[changed[key]]
        assert value.dtype == tensors[key].dtype
        # One rounding: the nearest number, up to the error of a sum in float32.
        assert (np.abs(value.astype(np.float64) - wanted) <= 0.51 * steps(wanted) + 3e-8).all()


def test_the_layers_of_diffusers_go_into_the_rows_of_joined_layers(tmp_path: Path) -> None:
    tensors = small_models.arrays("flux-schnell", 2)
    tensors["double_blocks.0.img_attn.qkv.weight"] = np.zeros((18, 6), np.float16)
    tensors["single_blocks.1.linear1.weight"] = np.zeros((42, 6), np.float16)
    tensors["final_layer.adaLN_modulation.1.weight"] = np.zeros((12, 6), np.float16)
    model = small_models.write(tmp_path / "model.safetensors", tensors)
    modules, changes = loras(
        {
            "transformer_blocks.0.attn.to_q": (6, 6),
            "transformer_blocks.0.attn.to_v": (6, 6),
            "single_transformer_blocks.1.attn.to_k": (6, 6),
            "single_transformer_blocks.1.proj_mlp": (24, 6),
            "norm_out.linear": (12, 6),
        }
    )
    keys = {f"transformer.{name}": parts for name, parts in modules.items()}
    found = made(tmp_path, model, network_files.write(tmp_path / "lora.safetensors", keys), family="flux")
    nothing = np.zeros((6, 6))
    q, v, k, mlp, norm = changes.values()
    for key, wanted in (
        ("double_blocks.0.img_attn.qkv.weight", np.concatenate([q, nothing, v])),
        ("single_blocks.1.linear1.weight", np.concatenate([nothing, k, nothing, mlp])),
        # diffusers has the scale before the shift, the original code after it.
        ("final_layer.adaLN_modulation.1.weight", np.concatenate([norm[6:], norm[:6]])),
    ):
        assert np.abs(found[key].astype(np.float64) - wanted).max() <= 0.51 * steps(wanted).max()


def test_a_joined_layer_goes_into_the_layers_of_diffusers_whatever_its_kind(tmp_path: Path) -> None:
    """An OFT of a joined layer turns rows of all three together, so it must be computed on all of them."""
    tensors = small_models.arrays("folder-flux-schnell", 5)
    tensors = {
        key.removeprefix("transformer/"): each for key, each in tensors.items() if key.startswith("transformer/")
    }
    names = [f"transformer_blocks.0.attn.{each}.weight" for each in ("to_q", "to_k", "to_v")]
    random = np.random.default_rng(1)
    tensors |= {name: random.standard_normal((8, 20)).astype(np.float32) for name in names}
    model = small_models.write(tmp_path / "model.safetensors", tensors)
    for kind in ("oft", "lora", "dora"):
        case = cases()[kind]
        key = "lora_unet_double_blocks_0_img_attn_qkv"
        lora = network_files.write(tmp_path / f"{kind}.safetensors", {key: case.parts})
        found = made(tmp_path, model, lora, family="flux", strengths=(0.7,), target=str(tmp_path / f"made-{kind}"))
        base = np.concatenate([tensors[name] for name in names]).astype(np.float64)
        wanted = base + case.effect(base, 0.7)
        assert np.abs(np.concatenate([found[name] for name in names]) - wanted).max() < 1e-5


@pytest.mark.parametrize("kind", cases())
def test_every_kind_is_baked_with_its_own_rule(tmp_path: Path, kind: str) -> None:
    case = cases()[kind]
    tensors = small_models.arrays("sd15", 1)
    name = "model.diffusion_model.time_embed.0"
    tensors[f"{name}.weight"] = np.random.default_rng(2).standard_normal(case.shape).astype(np.float32)
    tensors[f"{name}.bias"] = np.zeros(case.shape[0], np.float32)
    model = small_models.write(tmp_path / "model.safetensors", tensors)
    lora = network_files.write(tmp_path / "lora.safetensors", {"lora_unet_time_embed_0": case.parts})
    found = made(tmp_path, model, lora, strengths=(0.8,), family="sd15")
    base = tensors[f"{name}.weight"].astype(np.float64)
    wanted = base + case.effect(base, 0.8)
    assert np.abs(found[f"{name}.weight"] - wanted).max() < max(case.tolerance, 5e-6) * np.abs(wanted).max()
    if kind == "norm":
        assert np.allclose(found[f"{name}.bias"], 0.8 * case.parts[".b_norm"])


def test_several_networks_are_added_in_any_order_with_strengths_of_their_own(tmp_path: Path) -> None:
    tensors = small_models.arrays("sdxl", 1, np.float32)
    model = small_models.write(tmp_path / "model.safetensors", tensors)
    index = Index(header.read(model))
    unet = next(name for name, layer in index.denoiser() if name.endswith("to_q"))
    shape = tensors[f"model.diffusion_model.{unet}.weight"].shape
    text = "conditioner.embedders.0.transformer.text_model.encoder.layers.0.mlp.fc1.weight"
    files, changes = [], []
    for number in (1, 2):
        modules, change = loras({"unet": shape, "text": tensors[text].shape}, seed=number)
        keys = {
            f"lora_unet_{unet.replace('.', '_')}": modules["unet"],
            "lora_te1_text_model_encoder_layers_0_mlp_fc1": modules["text"],
        }
        files.append(network_files.write(tmp_path / f"{number}.safetensors", keys))
        changes.append(change)
    wanted = {
        f"model.diffusion_model.{unet}.weight": 0.5 * changes[0]["unet"] - 1.5 * changes[1]["unet"],
        text: 0.25 * changes[0]["text"],
    }
    settings = {"family": "sdxl", "strengths": (0.5, -1.5), "text_strengths": (0.25, 0.0)}
    one = made(tmp_path, model, *files, **settings, target=str(tmp_path / "one"))
    turned = {key: tuple(reversed(value)) if isinstance(value, tuple) else value for key, value in settings.items()}
    other = made(tmp_path, model, *reversed(files), **turned, target=str(tmp_path / "other"))
    for key, change in wanted.items():
        assert np.abs(one[key] - (tensors[key].astype(np.float64) + change)).max() < 1e-6
        assert np.allclose(one[key], other[key], rtol=0, atol=1e-6)


@pytest.mark.parametrize(("dtype", "kind"), [("fp16", np.float16), ("bf16", ml_dtypes.bfloat16), ("fp32", np.float32)])
def test_the_result_has_the_chosen_dtype_and_markers_stay(tmp_path: Path, dtype: str, kind: type) -> None:
    tensors = small_models.arrays("sd15", 1) | {"v_pred": np.zeros((), np.float32)}
    model = small_models.write(tmp_path / "model.safetensors", tensors)
    key = "model.diffusion_model.time_embed.0.weight"
    modules, changes = loras({"time_embed.0": tensors[key].shape})
    lora = network_files.write(tmp_path / "lora.safetensors", {"lora_unet_time_embed_0": modules["time_embed.0"]})
    found = made(tmp_path, model, lora, dtype=dtype, family="sd15")
    assert found["v_pred"].dtype == np.float32
    for name, value in found.items():
        if name == "v_pred" or tensors[name].dtype.kind == "i":
            continue
        wanted = tensors[name].astype(np.float64) + (changes["time_embed.0"] if name == key else 0)
        assert value.dtype == kind
        assert (
            np.abs(value.astype(np.float64) - wanted.astype(kind).astype(np.float64))
            <= 1.01 * steps(wanted, np.float16)
        ).all()


def test_the_metadata_says_what_it_was_made_of_and_makes_it_again(tmp_path: Path) -> None:
    tensors = small_models.arrays("sd15", 1)
    stated = {"modelspec.author": "Someone", "sshs_model_hash": "false now", "modelspec.title": "Old"}
    model = small_models.write(tmp_path / "model.safetensors", tensors, stated)
    modules, _ = loras({"time_embed.0": tensors["model.diffusion_model.time_embed.0.weight"].shape})
    lora = network_files.write(tmp_path / "style.safetensors", {"lora_unet_time_embed_0": modules["time_embed.0"]})
    settings = Settings(
        model=str(model), networks=(str(lora),), strengths=(0.5,), family="sd15", target=str(tmp_path / "a")
    )
    path = bake.run(settings, QUIET)
    metadata = header.read(path).metadata
    assert metadata["modelspec.author"] == "Someone"
    assert metadata["modelspec.title"] == "a"
    assert metadata["modelspec.merged_from"] == "model, style"
    assert "sshs_model_hash" not in metadata
    assert str(tmp_path) not in json.dumps(dict(metadata))
    told = recipe.read(metadata[recipe.KEY], "bake")
    assert [each.name for each in told.inputs] == ["model.safetensors", "style.safetensors"]
    again = dataclasses.replace(
        settings, target=str(tmp_path / "b"), title="a", sha256=tuple(each.sha256 for each in told.inputs)
    )
    assert bake.run(again, QUIET).read_bytes() == path.read_bytes()
    wrong = dataclasses.replace(again, target=str(tmp_path / "c"), sha256=("0" * 64, "0" * 64))
    with pytest.raises(WeightsError, match="is not the file of the recipe"):
        bake.run(wrong, QUIET)
    assert not (tmp_path / "c.safetensors").exists()


def test_the_outlook_is_what_is_made(tmp_path: Path) -> None:
    tensors = small_models.arrays("sd15", 1)
    model = small_models.write(tmp_path / "model.safetensors", tensors)
    modules, _ = loras({"time_embed.0": tensors["model.diffusion_model.time_embed.0.weight"].shape})
    lora = network_files.write(tmp_path / "style.safetensors", {"lora_unet_time_embed_0": modules["time_embed.0"]})
    for dtype in ("same", "fp32"):
        settings = Settings(model=str(model), networks=(str(lora),), family="sd15", dtype=dtype)
        found = bake.outlook(settings)
        assert found.target.name.startswith("model-with-style")
        assert found.changed == (1 if dtype == "same" else sum(each.dtype.kind != "i" for each in tensors.values()))
        path = bake.run(settings, QUIET)
        assert path == found.target
        read = header.read(path)
        assert found.size_bytes == sum(info.size_bytes for info in read.tensors.values())
        assert found.tensors == len(read.tensors)


def test_layers_that_the_model_lacks_are_named_and_refused_unless_they_may_be_left_out(tmp_path: Path) -> None:
    tensors = small_models.arrays("flux-schnell", 1)
    model = small_models.write(tmp_path / "model.safetensors", tensors)
    modules, _ = loras({"img_in": tensors["img_in.weight"].shape, "other": (6, 6)})
    keys = {"lora_unet_img_in": modules["img_in"], "lora_te1_text_model_encoder_layers_0_mlp_fc1": modules["other"]}
    lora = network_files.write(tmp_path / "lora.safetensors", keys)
    settings = Settings(model=str(model), networks=(str(lora),), family="flux")
    with pytest.raises(
        WeightsError, match=r"no layers for 1 of its 2 modules \(lora_te1_text_model_encoder_layers_0_mlp_fc1\)"
    ) as error:
        bake.outlook(settings)
    assert "--skip-missing" in error.value.hint
    found = bake.outlook(dataclasses.replace(settings, skip=True))
    assert any("They are left out" in note for note in found.notes)
    # Without strength, a text encoder is not wanted, so that nothing is missing.
    assert bake.outlook(dataclasses.replace(settings, strengths=(1.0,), text_strengths=(0.0,))).changed == 1


NAME = "model.diffusion_model.time_embed.0.weight"
GOOD = {
    "lora_unet_time_embed_0": {
        ".lora_up.weight": np.ones((6, 2), np.float16),
        ".lora_down.weight": np.ones((2, 6), np.float16),
    }
}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"strengths": (1.0, 2.0)}, "1 networks, but 2 strengths"),
        ({"strengths": (math.nan,)}, "A strength is nan"),
        ({"strengths": (1000.0,)}, "from -100 to 100"),
        ({"blocks": {"a": math.inf}}, "A strength is inf"),
        ({"strengths": (0.0,)}, "change nothing in this model"),
        ({"dtype": "fp4"}, "no dtype 'fp4'"),
        ({"networks": ()}, "no network to add"),
        ({"networks": ("/nowhere/lora.safetensors",)}, "lora.safetensors"),
    ],
)
def test_a_wrong_setting_is_a_sentence(tmp_path: Path, changes: dict[str, object], said: str) -> None:
    settings = dataclasses.replace(write_pair(tmp_path, GOOD), **changes)
    with pytest.raises(EaselError, match=said):
        bake.outlook(settings)


def test_a_network_of_another_family_is_refused(tmp_path: Path) -> None:
    shapes = {key: info.shape for key, info in recorded_headers.recorded("lora-kohya-sd15").tensors.items()}
    lora = small_models.write(
        tmp_path / "lora.safetensors", {key: np.zeros(shape, np.float16) for key, shape in shapes.items()}
    )
    model = recorded_headers.write("flux-schnell", tmp_path)
    with pytest.raises(
        WeightsError, match=r"was made for Stable Diffusion 1\.5, but flux-schnell\.safetensors is FLUX\.1"
    ):
        bake.outlook(Settings(model=str(model), networks=(str(lora),)))


def test_a_module_of_another_shape_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    wrong = {
        "lora_unet_time_embed_0": {
            ".lora_up.weight": np.ones((5, 2), np.float16),
            ".lora_down.weight": np.ones((2, 6), np.float16),
        }
    }
    settings = dataclasses.replace(write_pair(tmp_path, wrong), family="sd15")
    with pytest.raises(WeightsError, match="but the model has"):
        bake.outlook(settings)
    assert not (tmp_path / "made.safetensors").exists()


def test_numbers_that_are_not_finite_are_refused_and_leave_no_file(tmp_path: Path) -> None:
    tensors = small_models.arrays("sd15", 1)
    shape = tensors["model.diffusion_model.time_embed.0.weight"].shape
    bad = {"lora_unet_time_embed_0": {".lora_up.weight": np.full((shape[0], 2), np.inf, np.float16), ".lora_down.weight": np.ones((2, shape[1]), np.float16)}}  # fmt: skip
    settings = dataclasses.replace(write_pair(tmp_path, bad), family="sd15")
    with pytest.raises(WeightsError, match="not finite"):
        bake.run(settings, QUIET)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lora.safetensors", "model.safetensors"]


def test_a_lora_in_the_place_of_the_model_is_refused(tmp_path: Path) -> None:
    settings = dataclasses.replace(write_pair(tmp_path, GOOD), family="sd15")
    with pytest.raises(WeightsError, match=r"lora\.safetensors is a LoRA, not a model") as error:
        bake.outlook(dataclasses.replace(settings, model=settings.networks[0]))
    assert "easel lora merge" in error.value.hint


def test_the_new_file_replaces_none_and_is_no_input(tmp_path: Path) -> None:
    settings = dataclasses.replace(write_pair(tmp_path, GOOD), family="sd15")
    for target, said in (
        (settings.model, "one of the files that are read"),
        (settings.networks[0], "one of the files"),
    ):
        with pytest.raises(EaselError, match=said):
            bake.outlook(dataclasses.replace(settings, target=target))
    (tmp_path / "made.safetensors").write_bytes(b"mine")
    with pytest.raises(EaselError, match="already exists"):
        bake.outlook(settings)
    assert (tmp_path / "made.safetensors").read_bytes() == b"mine"


def test_a_number_too_large_for_the_dtype_is_said_and_no_file_made(tmp_path: Path) -> None:
    tensors = small_models.arrays("sd15", 1)
    shape = tensors["model.diffusion_model.time_embed.0.weight"].shape
    huge = {"lora_unet_time_embed_0": {".lora_up.weight": np.full((shape[0], 2), 6e4, np.float16), ".lora_down.weight": np.ones((2, shape[1]), np.float16)}}  # fmt: skip
    settings = dataclasses.replace(write_pair(tmp_path, huge), family="sd15")
    with pytest.raises(WeightsError, match=r"time_embed\.0\.weight is too large for F16") as error:
        bake.run(settings, QUIET)
    assert "bf16 or fp32" in error.value.hint
    assert not (tmp_path / "made.safetensors").exists()
    assert np.isfinite(
        small_models.read(bake.run(dataclasses.replace(settings, dtype="bf16"), QUIET))[NAME].astype(np.float32)
    ).all()


def test_a_job_that_is_killed_while_it_writes_leaves_no_file_and_the_next_one_works(tmp_path: Path) -> None:
    layout = {name: ("F16", shape) for name, shape in small_models.shapes("sd15").items()}
    # Large holes, so that the writing takes a moment.
    layout |= dict.fromkeys([name for name in layout if name.endswith("ff.net.2.weight")][:3], ("F16", (8192, 4096)))
    model = recorded_headers.write_file(tmp_path / "model.safetensors", layout)
    shape = layout["model.diffusion_model.time_embed.0.weight"][1]
    modules, _ = loras({"a": shape})
    lora = network_files.write(tmp_path / "lora.safetensors", {"lora_unet_time_embed_0": modules["a"]})
    settings = Settings(
        model=str(model), networks=(str(lora),), target=str(tmp_path / "made.safetensors"), dtype="fp32", family="sd15"
    )
    (tmp_path / "settings.json").write_text(json.dumps(dataclasses.asdict(settings)))
    argv = [sys.executable, "-P", "-m", "trainer_core.tools.bake"]
    for how in (signal.SIGKILL, signal.SIGTERM):
        job = subprocess.Popen(argv, cwd=tmp_path, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)})  # fmt: skip
        assert job.stdout
        for line in job.stdout:
            if line.startswith("Wrote"):
                break
        job.send_signal(how)
        job.wait(20)
        assert not (tmp_path / "made.safetensors").exists()
        if how == signal.SIGTERM:
            assert not list(tmp_path.glob(".*easel-part"))
        time.sleep(0.1)
    small = small_models.write(tmp_path / "small.safetensors", small_models.arrays("sd15", 1) | {"model.diffusion_model.time_embed.0.weight": np.zeros(shape, np.float16)})  # fmt: skip
    bake.run(dataclasses.replace(settings, model=str(small), family="sd15"), QUIET)
    assert (tmp_path / "made.safetensors").exists()


def test_a_model_with_a_number_that_is_none_is_named(tmp_path: Path) -> None:
    settings = dataclasses.replace(write_pair(tmp_path, GOOD), family="sd15")
    tensors = small_models.arrays("sd15", 1)
    for name in tensors:
        if name.startswith("model.diffusion_model."):
            tensors[name].reshape(-1)[:] = np.nan
    small_models.write(Path(settings.model), tensors)
    with pytest.raises(WeightsError, match=r"^model\.safetensors is damaged") as caught:
        bake.run(settings, QUIET)
    assert "easel convert --check" in caught.value.hint

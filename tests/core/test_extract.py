"""Extracting a LoRA from two models: it is the best of its rank, brings the difference back, and says what it misses."""

from __future__ import annotations

import dataclasses
import math
import subprocess
from itertools import cycle
from pathlib import Path

import numpy as np
import pytest

from tests.support import recorded_headers, small_models
from trainer_core.errors import WeightsError
from trainer_core.models import detection, header, loaders
from trainer_core.models.header import Header, TensorInfo
from trainer_core.tools import bake, extract
from trainer_core.tools.extract import Settings
from trainer_core.weights.networks import extracting, naming
from trainer_core.weights.networks.places import Index

QUIET = lambda line: None  # noqa: E731
PAIRS = ["sd15", "sdxl", "sd35-medium", "flux-schnell", "lumina2", "z-image", "anima"]


def arrays(name: str, kind: type = np.float32) -> dict[str, np.ndarray]:
    """Random weights with the names of a recorded header; 210 rows can be cut as every joined layer is."""
    random = np.random.default_rng(1)
    shapes = {key: info.shape for key, info in recorded_headers.recorded(name).tensors.items()}
    small = {
        key: tuple(min(side, 6 if place else 210) for place, side in enumerate(shape)) for key, shape in shapes.items()
    }
    return {key: (random.standard_normal(shape) * 0.05).astype(kind) for key, shape in small.items()}


def pair(
    folder: Path, name: str, kind: type = np.float32
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], Settings]:
    """The weights of a tuned model and its base, and the settings to compare them."""
    base = arrays(name, kind)
    tuned = small_models.near(base, 2)
    paths = [
        small_models.write(folder / f"{stem}.safetensors", each) for stem, each in (("tuned", tuned), ("base", base))
    ]
    settings = Settings(
        tuned=str(paths[0]), base=str(paths[1]), target=str(folder / "lora"), dtype="fp32", rank=4096, conv_rank=4096,
        family=recorded_headers.load(name)["family"],
    )  # fmt: skip
    return tuned, base, settings


@pytest.mark.parametrize(("name", "form"), [*zip(PAIRS, cycle(naming.NAMINGS), strict=False), ("sd15", naming.PEFT)])
def test_a_lora_of_full_rank_baked_into_the_base_is_the_tuned_model(tmp_path: Path, name: str, form: str) -> None:
    tuned, base, settings = pair(tmp_path, name)
    lora = extract.run(dataclasses.replace(settings, naming=form), QUIET)
    baking = bake.Settings(
        model=settings.base, networks=(str(lora),), target=str(tmp_path / "made"), family=settings.family
    )
    found = small_models.read(bake.run(baking, QUIET))
    index = Index(header.read(Path(settings.base)), settings.family)
    rows, _ = naming.trained(index, form)
    compared = {target.tensor for row in rows for target in row.layer.targets}
    assert len(compared) > 50
    for key, value in found.items():
        wanted = tuned[key] if key in compared else base[key]
        assert np.abs(value - wanted).max() < 2e-6, key


def test_the_lora_is_loaded_whole_by_comfyui_and_diffusers() -> None:
    """With the true shapes, in both namings: by the recorded names of the two programs."""
    for name, family in (("sd15", "sd15"), ("sdxl", "sdxl"), ("flux-dev", "flux"), ("sd35-large", "sd3")):
        index = Index(recorded_headers.recorded(name))
        for form in naming.NAMINGS:
            rows, _ = naming.trained(index, form)
            tensors = {
                row.key + ending: TensorInfo("F16", shape)
                for row in rows
                if not row.is_conv
                for ending, shape in zip(naming.ENDINGS[form], naming.shapes(row, 4), strict=True)
            }
            if form == naming.SD_SCRIPTS:
                tensors |= {f"{row.key}.alpha": TensorInfo("F32", ()) for row in rows if not row.is_conv}
            made = Header(Path("lora"), tensors, {}, "safetensors")
            assert detection.detect(made).base_family == family
            comfyui, diffusers = loaders.judge(made, family)
            assert comfyui.loads == "yes" or form == naming.PEFT, (name, form, comfyui)
            assert "yes" in (comfyui.loads, diffusers.loads), (name, form, diffusers)


@pytest.mark.parametrize("spectrum", ["flat", "slow", "steep"])
@pytest.mark.parametrize("shape", [(640, 300), (300, 900)])
def test_no_product_of_that_rank_is_much_closer(spectrum: str, shape: tuple[int, int]) -> None:
    random = np.random.default_rng(3)
    matrix = random.standard_normal(shape)
    if spectrum != "flat":
        left, _, right = np.linalg.svd(matrix, full_matrices=False)
        place = np.arange(1, min(shape) + 1)
        matrix = (left * (1 / np.sqrt(place) if spectrum == "slow" else 0.8**place)) @ right
    rank = 16
    values = np.linalg.svd(matrix, compute_uv=False)
    best = math.sqrt((values[rank:] ** 2).sum())
    found = extracting.approximate(matrix.astype(np.float32), rank, 0.0, "name")
    own = float(np.linalg.norm(matrix - found.up.astype(np.float64) @ found.down.astype(np.float64)))
    assert own < 1.01 * best
    assert found.error == pytest.approx(own / np.linalg.norm(matrix), rel=0.01)
    # The two factors share the singular values, so that neither is too small for half precision.
    assert np.linalg.norm(found.up) == pytest.approx(np.linalg.norm(found.down), rel=1e-3)


def test_the_rank_by_energy_is_the_smallest_that_has_it_and_at_most_the_highest() -> None:
    random = np.random.default_rng(4)
    left, right = (np.linalg.qr(random.standard_normal((400, 400)))[0] for _ in range(2))
    squares = 0.5 ** np.arange(1, 401)
    matrix = ((left * np.sqrt(squares)) @ right).astype(np.float32)
    assert [extracting.approximate(matrix, 32, energy, "n").rank for energy in (0.4, 0.6, 0.9, 0.99)] == [1, 2, 4, 7]
    assert extracting.approximate(matrix, 3, 0.99, "n").rank == 3


def test_each_layer_says_what_it_misses_and_the_same_ones_are_left_out(tmp_path: Path) -> None:
    base = arrays("sd15")
    name = "model.diffusion_model.middle_block.1.transformer_blocks.0.attn1"
    random = np.random.default_rng(5)
    change = random.standard_normal(base[f"{name}.to_q.weight"].shape).astype(np.float32) * 0.01
    tuned = base | {f"{name}.to_q.weight": base[f"{name}.to_q.weight"] + change}
    paths = [
        small_models.write(tmp_path / f"{stem}.safetensors", each) for stem, each in (("tuned", tuned), ("base", base))
    ]
    settings = Settings(tuned=str(paths[0]), base=str(paths[1]), target=str(tmp_path / "lora"), rank=2, family="sd15")
    lines: list[str] = []
    path, told = extract.extracted(settings, lines.append)
    (row,) = told["modules"]
    assert row["key"] == "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q"
    assert row["rank"] == 2
    values = np.linalg.svd(change.astype(np.float64), compute_uv=False)
    best = math.sqrt((values[2:] ** 2).sum() / (values**2).sum())
    assert row["error"] == pytest.approx(best, abs=1e-4)
    assert told["error"] == pytest.approx(best, abs=1e-4)
    assert told["left_out"] > 100
    assert any("are the same in both models" in line for line in lines)
    tensors = small_models.read(path)
    assert set(tensors) == {f"{row['key']}{ending}" for ending in (".alpha", ".lora_up.weight", ".lora_down.weight")}
    assert float(tensors[f"{row['key']}.alpha"]) == 2
    metadata = header.read(path).metadata
    assert metadata["ss_network_module"] == "networks.lora"
    assert (metadata["ss_network_dim"], metadata["ss_network_alpha"]) == ("2", "2")
    assert metadata["modelspec.architecture"] == "stable-diffusion-v1/lora"
    assert str(tmp_path) not in str(dict(metadata))


def test_what_rounding_to_another_dtype_explains_is_no_difference(tmp_path: Path) -> None:
    base = arrays("sd15")
    rounded = {key: value.astype(np.float16) if value.dtype.kind == "f" else value for key, value in base.items()}
    paths = [
        small_models.write(tmp_path / f"{stem}.safetensors", each)
        for stem, each in (("tuned", rounded), ("base", base))
    ]
    settings = Settings(
        tuned=str(paths[0]), base=str(paths[1]), target=str(tmp_path / "lora"), family="sd15", conv_rank=4
    )
    found = extract.planned(settings)
    assert len(found.pairs) > 200
    with pytest.raises(WeightsError, match="the same weights"):
        extract.run(dataclasses.replace(settings, least=0.0005), QUIET)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"rank": 0}, "The rank is 0"),
        ({"rank": 5000}, "from 1 to 4096"),
        ({"energy": 1.0}, "The energy is 1.0"),
        ({"naming": "mine"}, "no naming 'mine'"),
        ({"dtype": "fp8"}, "no dtype 'fp8'"),
        ({"denoiser": False, "text": False}, "Neither the denoiser nor the text encoders"),
        ({"prediction": "x"}, "no prediction 'x'"),
        ({"least": -1.0}, "least difference is -1"),
    ],
)
def test_a_wrong_setting_is_a_sentence(tmp_path: Path, changes: dict[str, object], said: str) -> None:
    settings = Settings(tuned=str(tmp_path / "a"), base=str(tmp_path / "b"))
    with pytest.raises(WeightsError, match=said):
        extract.outlook(dataclasses.replace(settings, **changes))


def test_models_of_two_families_or_with_other_shapes_are_refused(tmp_path: Path) -> None:
    one, other = (recorded_headers.write(name, tmp_path) for name in ("sd15", "sdxl"))
    with pytest.raises(
        WeightsError, match=r"sd15\.safetensors is Stable Diffusion 1\.5, and sdxl\.safetensors is Stable Diffusion XL"
    ):
        extract.outlook(Settings(tuned=str(one), base=str(other)))
    base = arrays("sd15", np.float16)
    name = "model.diffusion_model.time_embed.0.weight"
    tuned = base | {name: np.zeros((9, 9), np.float16)}
    paths = [
        small_models.write(tmp_path / f"{stem}.safetensors", each) for stem, each in (("tuned", tuned), ("base", base))
    ]
    with pytest.raises(WeightsError, match=r"is \[9, 9\] in tuned\.safetensors"):
        extract.outlook(Settings(tuned=str(paths[0]), base=str(paths[1]), family="sd15"))


def test_models_of_two_prediction_types_are_refused_as_by_merging(tmp_path: Path) -> None:
    recorded = recorded_headers.load("sdxl")
    base = recorded_headers.write("sdxl", tmp_path)
    marked = recorded["tensors"] | {"v_pred": ("F32", (0,))}
    tuned = recorded_headers.write_file(tmp_path / "v.safetensors", marked, recorded["metadata"])
    settings = Settings(tuned=str(tuned), base=str(base))
    with pytest.raises(WeightsError, match=r"v\.safetensors predicts v, sdxl\.safetensors predicts epsilon") as error:
        extract.outlook(settings)
    assert "--prediction" in error.value.hint
    assert extract.outlook(dataclasses.replace(settings, prediction="v_prediction")).tensors


def test_numbers_that_are_not_finite_are_refused_and_leave_no_file(tmp_path: Path) -> None:
    tuned, _, settings = pair(tmp_path, "sd15")
    tuned["model.diffusion_model.time_embed.0.weight"][0, 0] = np.nan
    small_models.write(Path(settings.tuned), tuned)
    with pytest.raises(WeightsError, match=f"^{Path(settings.tuned).name} is damaged: .* not finite"):
        extract.run(settings, QUIET)
    assert not (tmp_path / "lora.safetensors").exists()


def test_the_outlook_is_an_upper_bound_of_what_is_made(tmp_path: Path) -> None:
    _, _, settings = pair(tmp_path, "sd15")
    settings = dataclasses.replace(settings, rank=2, conv_rank=0, dtype="fp16")
    found = extract.outlook(settings)
    made = header.read(extract.run(settings, QUIET))
    assert sum(info.size_bytes for info in made.tensors.values()) <= found.size_bytes
    assert len(made.tensors) <= found.tensors
    assert any("convolutions over several pixels are left out" in note for note in found.notes)


def test_the_same_models_give_the_same_file(tmp_path: Path) -> None:
    _, _, settings = pair(tmp_path, "sd15")
    settings = dataclasses.replace(settings, rank=3, conv_rank=2, title="same")
    one, other = (extract.run(dataclasses.replace(settings, target=str(tmp_path / name)), QUIET) for name in "ab")
    assert one.read_bytes() == other.read_bytes()


def test_diffusers_itself_fuses_the_same_weights(tmp_path: Path) -> None:
    """diffusers' own loader and fuse_lora, on every linear layer of a small FLUX transformer."""
    python = Path(__file__).resolve().parents[2] / "workspace" / "engines" / "simpletuner" / "venv" / "bin" / "python"
    if not python.exists():
        pytest.skip(f"There is no {python}: install the engine to compare with diffusers.")
    script = Path(__file__).parents[1] / "support" / "diffusers_fusing.py"
    subprocess.run([python, script, tmp_path, "0.7"], check=True, timeout=300)
    baking = bake.Settings(
        model=str(tmp_path / "model.safetensors"), networks=(str(tmp_path / "lora.safetensors"),), strengths=(0.7,), family="flux",
        target=str(tmp_path / "made"),
    )  # fmt: skip
    found = small_models.read(bake.run(baking, QUIET))
    fused, before = (small_models.read(tmp_path / f"{name}.safetensors") for name in ("fused", "model"))
    assert found.keys() == fused.keys()
    changed = [key for key in fused if not np.array_equal(fused[key], before[key])]
    assert len(changed) > 20
    for key, value in fused.items():
        assert np.abs(found[key] - value).max() < 2e-6, key

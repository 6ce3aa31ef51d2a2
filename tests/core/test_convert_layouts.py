"""One file, a diffusers folder, parts and shards: the recorded layouts become each other, and no tensor is lost or changed."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from tests.support import recorded_headers, recorded_roles
from tests.support import weight_files as files
from trainer_core.errors import RenamingError, WeightsError
from trainer_core.models import detection, header
from trainer_core.models.header import TensorInfo
from trainer_core.models.renaming import Form, building
from trainer_core.models.renaming.building import Built
from trainer_core.tools import convert
from trainer_core.tools.convert import Settings
from trainer_core.weights import writing
from trainer_core.weights.conversion import pruning

UNET, FOLDER, DIT = "model.diffusion_model.", "unet/", "transformer/"
RECORDED = [
    ("sd15", "sd15", UNET, "ldm", "folder-sd15", FOLDER),
    ("sd2", "sd2", UNET, "ldm", "folder-sd21", FOLDER),
    ("sdxl", "sdxl", UNET, "ldm", "folder-sdxl", FOLDER),
    ("sd3", "sd3-medium", UNET, "original", "folder-sd3", DIT),
    ("sd3", "sd35-medium", UNET, "original", "folder-sd35-medium", DIT),
    ("sd3", "sd35-large", UNET, "original", "folder-sd35-large", DIT),
    ("flux", "flux-dev", "", "original", "folder-flux-dev", DIT),
    ("flux", "flux-schnell", "", "original", "folder-flux-schnell", DIT),
]
RNG = np.random.default_rng(5)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "easel"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))


def built(name: str, prefix: str = "") -> dict[str, Built]:
    rows = recorded_headers.load(name)["tensors"]
    return {key: building.whole(key, TensorInfo(*row)) for key, row in rows.items() if key.startswith(prefix)}


def shapes(tensors: dict[str, Built], prefix: str = "") -> dict[str, tuple[int, ...]]:
    return {name[len(prefix) :]: each.shape for name, each in tensors.items()}


def made(source: Path, name: str = "new.safetensors", **wanted) -> Path:
    sources = wanted.pop("files", (str(source),))
    return convert.run(Settings(files=sources, target=str(source.parent / name), **wanted), lambda _: None)


def numbers(shape: tuple[int, ...]) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float16)


class TestNames:
    @pytest.mark.parametrize(
        ("kind", "one", "prefix", "layout", "folder", "component"), RECORDED, ids=[row[1] for row in RECORDED]
    )
    def test_a_recorded_file_becomes_the_recorded_folder_and_back(
        self, kind: str, one: str, prefix: str, layout: str, folder: str, component: str
    ) -> None:
        prefix = prefix if any(key.startswith(prefix) for key in recorded_headers.load(one)["tensors"]) else ""
        single, apart = built(one, prefix), built(folder, component)
        there = building.converted(kind, single, Form(layout, prefix), Form("diffusers", ""))
        assert shapes(there) == shapes(apart, component)
        back = building.converted(kind, apart, Form("diffusers", component), Form(layout, prefix))
        assert shapes(back) == shapes(single)

    @pytest.mark.parametrize(
        ("kind", "one", "prefix", "layout", "folder", "component"), RECORDED, ids=[row[1] for row in RECORDED]
    )
    def test_every_row_of_every_tensor_is_used_once_and_comes_back_to_its_place(
        self, kind: str, one: str, prefix: str, layout: str, folder: str, component: str
    ) -> None:
        prefix = prefix if any(key.startswith(prefix) for key in recorded_headers.load(one)["tensors"]) else ""
        single = built(one, prefix)
        there = building.converted(kind, single, Form(layout, prefix), Form("diffusers", ""))
        used = Counter({part.name: 0 for each in there.values() for part in each.parts})
        for each in there.values():
            for part in each.parts:
                used[part.name] += part.rows
        assert used == {name: each.rows for name, each in single.items()}
        back = building.converted(kind, there, Form("diffusers", ""), Form(layout, prefix))
        for name, each in back.items():
            assert _merged(each.parts) == [(name, 0, single[name].rows)]

    @pytest.mark.parametrize(
        ("kind", "tensors", "one", "other"),
        [
            ("vae_sd", recorded_roles.sized("vae-sd-diffusers"), "diffusers", "ldm"),
            ("vae_16ch", recorded_roles.sized("vae-16ch-diffusers"), "diffusers", "ldm"),
            ("clip_g", recorded_roles.sized("te-clip-g-projection"), "transformers", "openclip"),
        ],
        ids=["vae_sd", "vae_16ch", "clip_g"],
    )
    def test_a_part_comes_back_as_it_was(self, kind: str, tensors: dict, one: str, other: str) -> None:
        before = {name: building.whole(name, info) for name, info in tensors.items() if "position_ids" not in name}
        there = building.converted(kind, before, Form(one, ""), Form(other, ""))
        assert building.layout_of(kind, there) == other
        assert building.converted(kind, there, Form(other, ""), Form(one, "")) == before

    def test_a_missing_half_of_a_joined_tensor_is_an_error_with_its_name(self) -> None:
        tensors = built("folder-flux-dev", DIT)
        del tensors[f"{DIT}transformer_blocks.3.attn.to_k.weight"]
        with pytest.raises(RenamingError, match=r"transformer_blocks.3.attn.to_k.weight is missing"):
            building.converted("flux", tensors, Form("diffusers", DIT), Form("original", ""))

    def test_parts_of_different_dtypes_are_not_joined(self) -> None:
        tensors = built("folder-flux-dev", DIT)
        name = f"{DIT}transformer_blocks.3.attn.to_k.weight"
        tensors[name] = building.whole(name, TensorInfo("F32", tensors[name].shape))
        with pytest.raises(RenamingError, match="differ in dtype"):
            building.converted("flux", tensors, Form("diffusers", DIT), Form("original", ""))


class TestNumbers:
    """Small models with the names of CLIP, of FLUX and of SD3, against an arithmetic that is written here."""

    def test_queries_keys_and_values_are_below_one_another_and_the_projection_is_turned(self, tmp_path: Path) -> None:
        width, tensors = 6, {}
        for name in ("q", "k", "v"):
            for end, shape in (("weight", (width, width)), ("bias", (width,))):
                tensors[f"text_model.encoder.layers.0.self_attn.{name}_proj.{end}"] = numbers(shape)
        tensors |= {
            "text_model.encoder.layers.0.mlp.fc1.weight": numbers((12, width)),
            "text_projection.weight": numbers((4, width)),
        }
        path = files.safetensors(tmp_path / "te.safetensors", tensors)
        infos = header.read(path).tensors
        found = building.converted(
            "clip_g", {name: building.whole(name, info) for name, info in infos.items()}, Form("transformers", ""), Form("openclip", "")
        )  # fmt: skip
        made_of = _arrays(found, tensors)
        rows = [tensors[f"text_model.encoder.layers.0.self_attn.{name}_proj.weight"] for name in "qkv"]
        assert np.array_equal(made_of["transformer.resblocks.0.attn.in_proj_weight"], np.concatenate(rows))
        assert np.array_equal(made_of["text_projection"], tensors["text_projection.weight"].T)

    def test_a_flux_block_is_cut_and_the_last_modulation_has_its_halves_exchanged(self, tmp_path: Path) -> None:
        tensors = {
            "single_blocks.0.linear1.weight": numbers((28, 3)),
            "final_layer.adaLN_modulation.1.bias": numbers((8,)),
            "double_blocks.0.img_attn.norm.query_norm.scale": numbers((4,)),
        }
        found = building.converted(
            "flux", {name: building.whole(name, TensorInfo("F16", each.shape)) for name, each in tensors.items()}, Form("original", ""), Form("diffusers", "")
        )  # fmt: skip
        arrays = _arrays(found, tensors)
        first = tensors["single_blocks.0.linear1.weight"]
        for place, name in enumerate(("attn.to_q", "attn.to_k", "attn.to_v")):
            assert np.array_equal(
                arrays[f"single_transformer_blocks.0.{name}.weight"], first[4 * place : 4 * place + 4]
            )
        assert np.array_equal(arrays["single_transformer_blocks.0.proj_mlp.weight"], first[12:])
        bias = tensors["final_layer.adaLN_modulation.1.bias"]
        assert np.array_equal(arrays["norm_out.linear.bias"], np.concatenate([bias[4:], bias[:4]]))

    def test_only_the_last_block_of_sd3_has_its_halves_exchanged(self) -> None:
        tensors = {
            "joint_blocks.0.context_block.adaLN_modulation.1.bias": numbers((12,)),
            "joint_blocks.0.context_block.mlp.fc1.weight": numbers((4, 2)),
            "joint_blocks.1.context_block.adaLN_modulation.1.bias": numbers((4,)),
        }
        found = building.converted(
            "sd3", {name: building.whole(name, TensorInfo("F16", each.shape)) for name, each in tensors.items()}, Form("original", ""), Form("diffusers", "")
        )  # fmt: skip
        arrays = _arrays(found, tensors)
        first, last = (tensors[f"joint_blocks.{place}.context_block.adaLN_modulation.1.bias"] for place in range(2))
        assert np.array_equal(arrays["transformer_blocks.0.norm1_context.linear.bias"], first)
        assert np.array_equal(
            arrays["transformer_blocks.1.norm1_context.linear.bias"], np.concatenate([last[2:], last[:2]])
        )


def _merged(parts: tuple[building.Part, ...]) -> list[tuple[str, int, int]]:
    """The rows of a tensor as ranges: the name, the first row and the row after the last."""
    found: list[tuple[str, int, int]] = []
    for part in parts:
        if found and found[-1][0] == part.name and found[-1][2] == part.first:
            found[-1] = (part.name, found[-1][1], part.first + part.rows)
        else:
            found.append((part.name, part.first, part.first + part.rows))
    return found


def _arrays(found: dict[str, Built], tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays that are built of these."""
    arrays = {}
    for name, each in found.items():
        whole = np.concatenate([tensors[part.name][part.first : part.first + part.rows] for part in each.parts])
        arrays[name] = whole.T if each.turned else whole.reshape(each.shape)
    return arrays


CHECKPOINT = {
    "model.diffusion_model.input_blocks.0.0.weight": (8, 4, 3, 3),
    "model.diffusion_model.out.2.bias": (4,),
    "cond_stage_model.transformer.text_model.encoder.layers.0.mlp.fc1.weight": (8, 4),
    "cond_stage_model.transformer.text_model.embeddings.position_ids": (),
    "first_stage_model.decoder.mid.block_1.conv1.weight": (4, 4, 3, 3),
    "first_stage_model.decoder.mid.attn_1.q.weight": (4, 4, 1, 1),
}


def checkpoint(path: Path, more: dict[str, np.ndarray] | None = None, metadata: dict[str, str] | None = None) -> Path:
    arrays = {name: numbers(shape) for name, shape in CHECKPOINT.items()}
    arrays["cond_stage_model.transformer.text_model.embeddings.position_ids"] = np.array([1, 2], np.int64)
    return files.safetensors(path, arrays | (more or {}), metadata)


class TestPartsAndShards:
    def test_the_parts_of_a_checkpoint_put_together_are_the_checkpoint(self, tmp_path: Path) -> None:
        path = checkpoint(tmp_path / "old.safetensors", {"v_pred": np.zeros(0, np.float32)})
        folder = made(path, "parts", form="parts", family="sd15")
        assert {file.name for file in folder.iterdir()} == {
            "diffusion_model.safetensors", "text_encoder_clip_l.safetensors", "vae.safetensors",
        }  # fmt: skip
        model = files.read(folder / "diffusion_model.safetensors")
        assert model.keys() == {"input_blocks.0.0.weight", "out.2.bias", "v_pred"}
        prefixes = {
            "diffusion_model": UNET,
            "text_encoder_clip_l": "cond_stage_model.transformer.",
            "vae": "first_stage_model.",
        }
        together = {
            name if name == "v_pred" else prefix + name: array
            for stem, prefix in prefixes.items()
            for name, array in files.read(folder / f"{stem}.safetensors").items()
        }
        assert files.equal(together, files.read(path))

    def test_a_file_with_one_part_is_not_split(self, tmp_path: Path) -> None:
        path = files.safetensors(tmp_path / "old.safetensors", {"input_blocks.0.0.weight": numbers((8, 4, 3, 3))})
        with pytest.raises(WeightsError, match="only one part"):
            made(path, "parts", form="parts", family="sd15")

    def test_shards_have_an_index_that_easel_reads_and_put_together_are_the_file(self, tmp_path: Path) -> None:
        path = files.safetensors(tmp_path / "big.safetensors", {f"b{place}": numbers((500, 500)) for place in range(5)})
        folder = made(path, "two", form="shards", shard_gb=0.001)
        assert sorted(file.name for file in folder.glob("*.safetensors")) == [
            f"model-0000{place}-of-00003.safetensors" for place in (1, 2, 3)
        ]
        index = json.loads((folder / "model.safetensors.index.json").read_text())
        assert index["metadata"]["total_size"] == 5 * 500 * 500 * 2
        for place, name in (
            (folder / "model.safetensors.index.json", "whole.safetensors"),
            (folder, "folder.safetensors"),
        ):
            assert files.equal(files.read(made(place, name)), files.read(path))
        assert convert.outlook(Settings(files=(str(folder),), dtype="bf16")).target == tmp_path / "two-bf16.safetensors"

    def test_a_vae_takes_the_place_of_the_one_in_a_checkpoint(self, tmp_path: Path) -> None:
        path = checkpoint(tmp_path / "old.safetensors")
        layout = recorded_headers.load("vae-sd")["tensors"]
        small = {"decoder.conv_in.weight": (512, 4, 3, 3), "encoder.conv_out.weight": (8, 512, 3, 3)}
        vae = {name: numbers(small.get(name, (1,) * len(shape))) for name, (_, shape) in layout.items()}
        other = files.safetensors(tmp_path / "vae.safetensors", vae)
        found = files.read(made(path, files=(str(path), str(other)), family="sd15"))
        held = {
            name.removeprefix("first_stage_model."): array for name, array in found.items() if name.startswith("first_")
        }
        assert files.equal(held, vae)
        rest = {name: array for name, array in files.read(path).items() if not name.startswith("first_")}
        assert files.equal({name: array for name, array in found.items() if name in rest}, rest)

    def test_a_file_that_is_no_part_is_refused(self, tmp_path: Path) -> None:
        path = checkpoint(tmp_path / "old.safetensors")
        other = files.safetensors(tmp_path / "other.safetensors", {"w": numbers((2, 2))})
        with pytest.raises(WeightsError, match="no part of this model"):
            made(path, files=(str(path), str(other)), family="sd15")
        with pytest.raises(WeightsError, match="given twice"):
            made(path, files=(str(path), str(path)), family="sd15")

    def test_a_recorded_flux_model_and_its_parts_become_one_file_that_is_recognised(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # Nothing is written, so the disk of the machine does not matter.
        monkeypatch.setattr(writing, "free_disk_bytes", lambda _: 1 << 40)
        rows = {name: recorded_headers.load(name)["tensors"] for name in ("flux-dev", "clip-l", "t5xxl", "vae-flux")}
        paths = [recorded_headers.write_file(tmp_path / f"{name}.safetensors", row) for name, row in rows.items()]
        found = convert.outlook(Settings(files=tuple(map(str, paths)), target=str(tmp_path / "one.safetensors")))
        assert found.changed == 0
        plan = convert.planned(Settings(files=tuple(map(str, paths)), target=str(tmp_path / "one.safetensors")))
        tensors = {tensor.name: TensorInfo(tensor.dtype, tensor.shape) for tensor in plan.tensors}
        seen = detection.detect(header.Header(tmp_path / "one", tensors, {}, "safetensors"))
        assert (seen.family, seen.role) == ("flux", "checkpoint")
        assert set(seen.parts) == {"clip_l", "t5xxl", "vae"}


EMA = {
    "model.diffusion_model.input_blocks.0.0.weight": "model_ema.diffusion_modelinput_blocks00weight",
    "model.diffusion_model.out.2.bias": "model_ema.diffusion_modelout2bias",
}


class TestPruning:
    def held(self, path: Path) -> Path:
        more = {other: numbers(CHECKPOINT[name]) for name, other in EMA.items()}
        more |= {
            "model_ema.decay": np.array(0.99, np.float32),
            "betas": numbers((1000,)),
            "v_pred": np.zeros(0, np.float32),
        }
        return checkpoint(path, more, {"sshs_model_hash": "1", "author": "me"})

    def test_the_weights_stay_without_their_average_and_what_training_left(self, tmp_path: Path) -> None:
        path = self.held(tmp_path / "old.safetensors")
        before, found = files.read(path), files.read(made(path, prune="weights", family="sd15"))
        assert found.keys() == {*CHECKPOINT, "v_pred"} - {
            "cond_stage_model.transformer.text_model.embeddings.position_ids"
        }
        assert all(found[name].tobytes() == before[name].tobytes() for name in found)

    def test_the_average_takes_the_place_of_the_weights(self, tmp_path: Path) -> None:
        path = self.held(tmp_path / "old.safetensors")
        before, found = files.read(path), files.read(made(path, prune="ema", family="sd15"))
        for name, other in EMA.items():
            assert found[name].tobytes() == before[other].tobytes()
        assert not any(name.startswith("model_ema") for name in found)

    def test_what_is_left_out_is_said_with_its_count_before_the_start(self, tmp_path: Path) -> None:
        path = self.held(tmp_path / "old.safetensors")
        notes = convert.outlook(Settings(files=(str(path),), prune="weights", family="sd15")).notes
        assert any("the average of the weights (3 tensors" in note for note in notes)
        assert any("numbers of the training schedule (1 tensors" in note for note in notes)

    def test_a_file_without_an_average_is_refused_when_it_is_wanted(self, tmp_path: Path) -> None:
        with pytest.raises(WeightsError, match="no average"):
            made(checkpoint(tmp_path / "old.safetensors"), prune="ema", family="sd15")

    def test_a_mark_of_what_a_model_predicts_is_no_leftover(self) -> None:
        for name in (
            "v_pred",
            "ztsnr",
            "edm_mean",
            "edm_std",
            "edm_vpred.sigma_max",
            "edm_vpred.sigma_min",
            "logit_scale",
        ):
            assert not any(pattern.search(name) for _, pattern in pruning.leftovers())

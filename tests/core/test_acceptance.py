"""A trained network is accepted if it is complete, has the requested algorithm, rank and alpha, and has learnt something."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from tests.support import recorded_headers, recorded_networks
from trainer_core import catalog
from trainer_core.models.detection.layouts import ALGORITHMS
from trainer_core.training.acceptance import accept, kind_of, noun

Tensors = dict[str, np.ndarray]
RANK, ALPHA = 4, 2.0
CONVOLUTIONS = {"conv_rank": 3, "conv_alpha": 1.5}
"""The settings of the recorded networks in addition to rank and alpha, if their algorithm has them."""


def asked(algorithm: str = "lora", rank: int = RANK, alpha: float = ALPHA, **more: Any) -> dict[str, Any]:
    return {"network": {"algorithm": algorithm, "rank": rank, "alpha": alpha, **more}}


# Which plan each recorded network is what was asked for by. PEFT's own format holds no alpha: there it is the rank.
RECORDED = {
    "kohya-lora": asked("locon", **CONVOLUTIONS),
    "kohya-lora_fa": asked("lora_fa"),
    "kohya-dylora": asked("dylora"),
    **{f"kohya-lora_{model}": asked() for model in ("flux", "sd3", "lumina", "hunyuan_image", "anima")},
    "lycoris-locon": asked("locon", **CONVOLUTIONS),
    "lycoris-locon-tucker": asked("locon", **CONVOLUTIONS, tucker=True),
    "lycoris-locon-stabilized": asked("locon", **CONVOLUTIONS, rank_stabilized=True),
    "lycoris-locon-scalar": asked("locon", **CONVOLUTIONS),
    "lycoris-locon-norms": asked("locon", **CONVOLUTIONS, train_norm=True),
    "lycoris-dora": asked("dora", **CONVOLUTIONS),
    "lycoris-loha": asked("loha", **CONVOLUTIONS),
    "lycoris-loha-tucker": asked("loha", **CONVOLUTIONS, tucker=True, rank_stabilized=True),
    "lycoris-loha-scalar": asked("loha", **CONVOLUTIONS),
    "lycoris-lokr": asked("lokr", **CONVOLUTIONS),
    "lycoris-lokr-both": asked("lokr", decompose_both=True),
    "lycoris-lokr-tucker": asked("lokr", **CONVOLUTIONS, tucker=True),
    "lycoris-lokr-full": asked("lokr", **CONVOLUTIONS, full_matrix=True, rank_stabilized=True),
    "lycoris-lokr-large": asked("lokr", rank=1000),
    "lycoris-dylora": asked("dylora", block_size=1),
    "lycoris-glora": asked("glora", rank_stabilized=True),
    "lycoris-ia3": asked("ia3"),
    "lycoris-oft": asked("oft", constraint=0.5, rescaled=True),
    "lycoris-boft": asked("boft", constraint=0.5),
    "lycoris-full": asked("full"),
    "lycoris-tlora": asked("tlora"),
    **{f"simpletuner-{name}": asked(name) for name in ("loha", "lokr", "full")},
    "simpletuner-lora-diffusers": asked(alpha=RANK),
    "simpletuner-lora-comfyui": asked(),
    "simpletuner-lora-comfyui-sd": asked(),
    "simpletuner-dora-diffusers": asked("dora", alpha=RANK),
    "simpletuner-dora-comfyui": asked("dora"),
    "simpletuner-dora-comfyui-sd": asked("dora"),
}
BROKEN = {"simpletuner-dora-comfyui-sd"}
"""Recorded as the engine writes it, but unusable: the magnitudes have other module names than the rest."""
UNKNOWN_START = {"lycoris-tlora"}
"""Networks that start as a part of the base model: their file does not show whether they have changed."""
MARKED = [name for name in recorded_networks.NAMES if name not in BROKEN]


def kohya(**changes: Any) -> Tensors:
    """A LoRA of two modules, one of them a convolution, as sd-scripts names them."""
    rank, dtype = changes.get("rank", RANK), changes.get("dtype", np.float32)
    tensors = {}
    for name, tail in (("lora_unet_a", ()), ("lora_unet_conv", (1, 1))):
        tensors[f"{name}.lora_down.weight"] = np.full((rank, 6, *tail), 0.1, dtype)
        tensors[f"{name}.lora_up.weight"] = np.full((5, rank, *tail), changes.get("up", 0.01), dtype)
        tensors[f"{name}.alpha"] = np.array(changes.get("alpha", ALPHA), dtype)
    return tensors


def peft(prefix: str = "unet.a.to_k.lora_", ending: str = ".weight") -> Tensors:
    """A LoRA of one module as PEFT names it, without an alpha."""
    return {
        f"{prefix}A{ending}": np.full((RANK, 6), 0.1, np.float32),
        f"{prefix}B{ending}": np.full((5, RANK), 0.01, np.float32),
    }


def saved(folder: Path, tensors: Tensors, metadata: dict[str, str] | None = None) -> Path:
    path = folder / "lora.safetensors"
    save_file(tensors, path, metadata)
    return path


class TestEveryAlgorithm:
    def test_all_of_the_catalogue_are_known_and_recorded(self) -> None:
        assert set(ALGORITHMS) == set(catalog.algorithms())
        assert set(RECORDED) == set(recorded_networks.NAMES)
        assert {plan["network"]["algorithm"] for plan in RECORDED.values()} == set(catalog.algorithms())

    @pytest.mark.parametrize("name", MARKED)
    def test_what_the_engine_writes_after_training_is_accepted(self, tmp_path: Path, name: str) -> None:
        found = accept(recorded_networks.write(name, tmp_path), RECORDED[name])
        assert (found.ok, found.reasons, found.kind) == (True, (), "network")
        assert found.moved == (None if name in UNKNOWN_START else found.modules)
        assert bool(found.notes) == (name in UNKNOWN_START)
        assert found.modules

    @pytest.mark.parametrize("name", sorted(set(MARKED) - UNKNOWN_START))
    def test_what_it_starts_from_is_not(self, tmp_path: Path, name: str) -> None:
        found = accept(recorded_networks.write(name, tmp_path, trained=False), RECORDED[name])
        assert not found.ok
        assert ["learnt nothing" in reason for reason in found.reasons] == [True]

    @pytest.mark.parametrize("name", MARKED)
    def test_one_broken_value_is_found(self, tmp_path: Path, name: str) -> None:
        key, tensor = max(recorded_networks.load(name).items(), key=lambda pair: pair[1].size)
        tensor.flat[-1] = np.nan
        found = accept(recorded_networks.write(name, tmp_path, **{key: tensor}), RECORDED[name])
        assert f"NaN or infinity in {key}" in " ".join(found.reasons)

    @pytest.mark.parametrize("name", MARKED)
    def test_a_part_that_is_missing_is_found(self, tmp_path: Path, name: str) -> None:
        """Any part but those that some modules have and others do not."""
        for key in recorded_networks.load(name):
            if key.endswith(("alpha", "dora_scale", "magnitude_vector", "diff_b", "b_norm", "rescale", "_mid.weight")):
                continue
            found = accept(recorded_networks.write(name, tmp_path, **{key: None}), RECORDED[name])
            # What has lost its only part is no module any more.
            lost = found.modules == len({each.split(".")[0] for each in recorded_networks.load(name)}) - 1
            assert lost or not found.ok, key

    @pytest.mark.parametrize("name", MARKED)
    @pytest.mark.parametrize("algorithm", sorted(catalog.algorithms()))
    def test_another_algorithm_is_found(self, tmp_path: Path, name: str, algorithm: str) -> None:
        plan = {"network": {**RECORDED[name]["network"], "algorithm": algorithm}}
        own = RECORDED[name]["network"]["algorithm"]
        same = ALGORITHMS[own] == ALGORITHMS[algorithm]
        found = accept(recorded_networks.write(name, tmp_path), plan)
        if not same or (algorithm == "dora" != own):
            assert not found.ok
            assert catalog.algorithms()[algorithm].title.lower() in " ".join(found.reasons).lower()

    @pytest.mark.parametrize("name", sorted(set(MARKED) - {"lycoris-lokr-full", "lycoris-lokr-large"}))
    def test_another_rank_or_alpha_is_found_where_there_is_one(self, tmp_path: Path, name: str) -> None:
        path = recorded_networks.write(name, tmp_path)
        has_rank = accept(path, RECORDED[name]).rank is not None
        for change, word in (({"rank": 16}, "rank is 4, not 16"), ({"alpha": 64.0}, "not 64")):
            found = accept(path, {"network": {**RECORDED[name]["network"], **change}})
            assert found.ok == (not has_rank)
            assert has_rank == (word in " ".join(found.reasons))

    def test_a_lokr_of_whole_matrices_has_no_rank(self, tmp_path: Path) -> None:
        for name in ("lycoris-lokr-full", "lycoris-lokr-large"):
            found = accept(recorded_networks.write(name, tmp_path), asked("lokr", rank=7, alpha=3.0))
            assert (found.ok, found.rank, found.alpha) == (True, None, None)

    def test_convolutions_have_a_rank_and_an_alpha_of_their_own(self, tmp_path: Path) -> None:
        path = recorded_networks.write("lycoris-locon", tmp_path)
        found = accept(path, asked("locon", **CONVOLUTIONS))
        assert (found.rank, found.alpha) == (RANK, ALPHA)
        reasons = accept(path, asked("locon")).reasons
        assert reasons == (
            "The rank is 3, not 4, in lora_unet_block_0_conv.",
            "Alpha is 1.5, not 2, in lora_unet_block_0_conv.",
        )

    def test_settings_left_over_from_another_algorithm_count_for_nothing(self, tmp_path: Path) -> None:
        path = recorded_networks.write("kohya-lora_flux", tmp_path)
        assert accept(path, asked("lora", **CONVOLUTIONS, weight_decompose=True, rank_stabilized=True)).ok

    def test_a_dora_whose_magnitudes_have_other_module_names_is_refused(self, tmp_path: Path) -> None:
        name = "simpletuner-dora-comfyui-sd"
        found = accept(recorded_networks.write(name, tmp_path), RECORDED[name])
        assert "they have other module names: unet.block_0.proj" in found.reasons[0]
        lora = accept(recorded_networks.write("simpletuner-lora-comfyui", tmp_path), asked("dora"))
        assert "the file does not contain any" in lora.reasons[0]
        loha = accept(recorded_networks.write("lycoris-loha", tmp_path), asked("loha", weight_decompose=True))
        assert "not a DoRA" in loha.reasons[0]

    def test_one_module_of_another_kind_is_found(self, tmp_path: Path) -> None:
        path = recorded_networks.write("lycoris-loha", tmp_path, **peft("lora_unet_x.lora_"))
        assert accept(path, asked("loha", **CONVOLUTIONS)).reasons == ("It is LoRA, not LoHa, in lora_unet_x.",)

    def test_an_algorithm_that_nobody_knows_is_looked_at_as_far_as_it_can(self, tmp_path: Path) -> None:
        tensors = {"layer.weird": np.ones((3, 3), np.float32)}
        found = accept(saved(tmp_path, tensors), asked("hyperlora"))
        assert (found.ok, found.moved, found.modules) == (True, None, 0)
        assert "hyperlora" in found.notes[0]
        for tensor, words in ((np.zeros(3, np.float32), "zero"), (np.full(3, np.inf, np.float32), "NaN")):
            assert words in accept(saved(tmp_path, {"layer.weird": tensor}), asked("hyperlora")).reasons[0]

    def test_words(self) -> None:
        plans = [{}, asked("dylora"), asked("loha"), asked("<b>"), {"model": {"method": "dreambooth"}}]
        assert [noun(plan) for plan in plans] == ["LoRA", "LoRA", "network", "network", "model"]
        assert noun({"model": {"method": "textual_inversion"}}) == "embedding"
        assert kind_of({"model": {"method": "full"}}) == "checkpoint"


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_a_good_lora_is_accepted(tmp_path: Path, dtype: type) -> None:
    path = saved(tmp_path, kohya(dtype=dtype))
    found = accept(path, asked())
    assert (found.ok, found.reasons) == (True, ())
    assert (found.rank, found.alpha, found.tensors, found.modules, found.moved) == (RANK, ALPHA, 6, 2, 2)
    assert found.size_bytes == path.stat().st_size


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        (kohya(rank=8), "rank is 8, not 4"),
        (kohya(alpha=8), "Alpha is 8, not 2"),
        (kohya(alpha=np.nan), "Alpha is not readable"),
        (kohya(up=0), "learnt nothing"),
        (kohya(up=-0.0), "learnt nothing"),
        (kohya(up=np.nan), "NaN or infinity in lora_unet_a.lora_up.weight"),
        (kohya(up=-np.inf), "NaN or infinity"),
        (kohya(up=np.inf, dtype=np.float16), "NaN or infinity"),
        ({"lora_unet_a.lora_down.weight": np.ones((4, 6), np.float32)}, "Tensors are missing or occur twice"),
        ({"unet.weight": np.ones((4, 6), np.float32)}, "contains no LoRA modules"),
        (kohya() | {"lora_unet_a.lora_up.weight": np.ones((5, 3), np.float32)}, "not the same in all factors"),
        (kohya() | {"lora_unet_a.lora_up.weight": np.ones(5, np.float32)}, "not the same in all factors"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, tensors: Tensors, words: str) -> None:
    found = accept(saved(tmp_path, tensors), asked())
    assert not found.ok
    assert words in " ".join(found.reasons)


def test_one_moved_module_is_enough_and_is_counted(tmp_path: Path) -> None:
    tensors = kohya(up=0)
    tensors["lora_unet_a.lora_up.weight"][4, 3] = 1e-8
    found = accept(saved(tmp_path, tensors), asked())
    assert (found.ok, found.moved, found.modules) == (True, 1, 2)


def test_one_broken_value_in_a_large_tensor_is_found(tmp_path: Path) -> None:
    tensors = kohya()
    tensors["lora_unet_a.lora_down.weight"] = np.ones((RANK, 1_200_000), np.float32)
    tensors["lora_unet_a.lora_down.weight"][-1, -1] = np.nan
    assert "lora_down" in accept(saved(tmp_path, tensors), asked()).reasons[0]


class TestAlphaWithoutTensors:
    def test_it_is_the_rank_where_nothing_is_said(self, tmp_path: Path) -> None:
        path = saved(tmp_path, peft(), {"format": "pt"})
        assert accept(path, asked(alpha=RANK)).ok
        assert "Alpha is 4, not 2" in accept(path, asked()).reasons[0]

    def test_adapter_metadata(self, tmp_path: Path) -> None:
        path = saved(tmp_path, peft(), {"lora_adapter_metadata": json.dumps({"unet.lora_alpha": 2, "unet.r": 4})})
        assert accept(path, asked()).ok

    def test_kohya_metadata(self, tmp_path: Path) -> None:
        assert accept(saved(tmp_path, peft(), {"ss_network_alpha": "2.0"}), asked()).ok

    @pytest.mark.parametrize(
        "text", ["", "[", "5", "[5]", '{"unet.lora_alpha": "x"}', '{"unet.lora_alpha": [1]}', "[" * 9999]
    )
    def test_wild_metadata_says_nothing(self, tmp_path: Path, text: str) -> None:
        assert accept(saved(tmp_path, peft(), {"lora_adapter_metadata": text}), asked(alpha=RANK)).ok

    @pytest.mark.parametrize(
        ("prefix", "ending"),
        [
            ("base_model.model.a.lora_", ".default.weight"),
            ("diffusion_model.a.lora_", ".weight"),
        ],
    )
    def test_spellings(self, tmp_path: Path, prefix: str, ending: str) -> None:
        assert accept(saved(tmp_path, peft(prefix, ending)), asked(alpha=RANK)).ok

    @pytest.mark.parametrize("name", ["a.to_k.lora", "a.to_k_lora"])
    def test_the_older_diffusers_spelling(self, tmp_path: Path, name: str) -> None:
        tensors = {
            f"{name}.down.weight": np.ones((4, 6), np.float32),
            f"{name}.up.weight": np.ones((5, 4), np.float32),
        }
        assert accept(saved(tmp_path, tensors), asked(alpha=RANK)).ok


# One value of each kind in the formats numpy does not know, as their bytes.
BF16 = {"one": b"\x80\x3f", "zero": b"\x00\x80", "nan": b"\xc0\x7f", "inf": b"\x80\xff"}
E4M3 = {"one": b"\x38", "zero": b"\x80", "nan": b"\xff", "largest": b"\x7e"}
E5M2 = {"one": b"\x3c", "zero": b"\x80", "nan": b"\x7f", "inf": b"\xfc"}


@pytest.mark.parametrize(
    ("dtype", "values", "value", "words"),
    [
        ("BF16", BF16, "one", ""),
        ("BF16", BF16, "zero", "learnt nothing"),
        ("BF16", BF16, "nan", "NaN"),
        ("BF16", BF16, "inf", "NaN"),
        ("F8_E4M3", E4M3, "one", ""),
        ("F8_E4M3", E4M3, "largest", ""),
        ("F8_E4M3", E4M3, "zero", "learnt nothing"),
        ("F8_E4M3", E4M3, "nan", "NaN"),
        ("F8_E5M2", E5M2, "one", ""),
        ("F8_E5M2", E5M2, "zero", "learnt nothing"),
        ("F8_E5M2", E5M2, "nan", "NaN"),
        ("F8_E5M2", E5M2, "inf", "NaN"),
    ],
)
def test_formats_that_numpy_does_not_know(
    tmp_path: Path, dtype: str, values: dict[str, bytes], value: str, words: str
) -> None:
    size = len(values["one"])
    table = {
        "a.lora_down.weight": {"dtype": dtype, "shape": [4, 2], "data_offsets": [0, 8 * size]},
        "a.lora_up.weight": {"dtype": dtype, "shape": [2, 4], "data_offsets": [8 * size, 16 * size]},
        "a.alpha": {"dtype": "BF16", "shape": [], "data_offsets": [16 * size, 16 * size + 2]},
    }
    path = tmp_path / "lora.safetensors"
    path.write_bytes(recorded_headers.file_bytes(table, values["one"] * 8 + values[value] * 8 + b"\x00\x40"))
    found = accept(path, asked())
    assert found.ok == (not words)
    assert words in " ".join(found.reasons)
    assert found.alpha == 2.0


def test_a_file_that_is_cut_short_or_absent_is_refused_with_the_reason(tmp_path: Path) -> None:
    path = saved(tmp_path, kohya())
    path.write_bytes(path.read_bytes()[:-5])
    assert "the last 5 bytes are missing" in accept(path, asked()).reasons[0]
    assert "cannot be read" in accept(tmp_path / "absent.safetensors", asked()).reasons[0]


def test_names_from_outside_are_shown_as_text(tmp_path: Path) -> None:
    tensors = {"<img onerror=x>\x1b.lora_down.weight": np.full((4, 4), np.nan, np.float32)}
    reasons = " ".join(accept(saved(tmp_path, tensors), asked()).reasons)
    assert "<img onerror=x>" in reasons
    assert "\x1b" not in reasons


@pytest.mark.parametrize("name", ["lycoris-lokr", "kohya-lora_flux"])
@given(data=st.data())
@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None, max_examples=60
)
def test_changed_bytes_never_crash(tmp_path: Path, name: str, data: st.DataObject) -> None:
    path = recorded_networks.write(name, tmp_path)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 5))):
        content[data.draw(st.integers(0, min(4000, len(content) - 1)))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    found = accept(path, RECORDED[name])
    assert found.ok == (not found.reasons)

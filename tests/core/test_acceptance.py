"""A trained file is accepted when it is a whole LoRA of the asked rank and alpha that has learnt something."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from tests.core import recorded_headers
from trainer_core.runs.acceptance import accept

Tensors = dict[str, np.ndarray]
RANK, ALPHA = 4, 2.0


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


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_a_good_lora_is_accepted(tmp_path: Path, dtype: type) -> None:
    path = saved(tmp_path, kohya(dtype=dtype))
    found = accept(path, RANK, ALPHA)
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
        ({"lora_unet_a.lora_down.weight": np.ones((4, 6), np.float32)}, "factors is missing in lora_unet_a"),
        ({"unet.weight": np.ones((4, 6), np.float32)}, "holds no LoRA factors"),
        (kohya() | {"lora_unet_a.lora_up.weight": np.ones((5, 3), np.float32)}, "not the same in both factors"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, tensors: Tensors, words: str) -> None:
    found = accept(saved(tmp_path, tensors), RANK, ALPHA)
    assert not found.ok
    assert words in " ".join(found.reasons)


def test_one_moved_module_is_enough_and_is_counted(tmp_path: Path) -> None:
    tensors = kohya(up=0)
    tensors["lora_unet_a.lora_up.weight"][4, 3] = 1e-8
    found = accept(saved(tmp_path, tensors), RANK, ALPHA)
    assert (found.ok, found.moved, found.modules) == (True, 1, 2)


def test_one_broken_value_in_a_large_tensor_is_found(tmp_path: Path) -> None:
    tensors = kohya()
    tensors["lora_unet_a.lora_down.weight"] = np.ones((RANK, 1_200_000), np.float32)
    tensors["lora_unet_a.lora_down.weight"][-1, -1] = np.nan
    assert "lora_down" in accept(saved(tmp_path, tensors), RANK, ALPHA).reasons[0]


class TestAlphaWithoutTensors:
    def test_it_is_the_rank_where_nothing_is_said(self, tmp_path: Path) -> None:
        path = saved(tmp_path, peft(), {"format": "pt"})
        assert accept(path, RANK, RANK).ok
        assert "Alpha is 4, not 2" in accept(path, RANK, ALPHA).reasons[0]

    def test_adapter_metadata(self, tmp_path: Path) -> None:
        path = saved(tmp_path, peft(), {"lora_adapter_metadata": json.dumps({"unet.lora_alpha": 2, "unet.r": 4})})
        assert accept(path, RANK, ALPHA).ok

    def test_kohya_metadata(self, tmp_path: Path) -> None:
        assert accept(saved(tmp_path, peft(), {"ss_network_alpha": "2.0"}), RANK, ALPHA).ok

    @pytest.mark.parametrize(
        "text", ["", "[", "5", "[5]", '{"unet.lora_alpha": "x"}', '{"unet.lora_alpha": [1]}', "[" * 9999]
    )
    def test_wild_metadata_says_nothing(self, tmp_path: Path, text: str) -> None:
        assert accept(saved(tmp_path, peft(), {"lora_adapter_metadata": text}), RANK, RANK).ok

    @pytest.mark.parametrize(
        ("prefix", "ending"),
        [
            ("base_model.model.a.lora_", ".default.weight"),
            ("diffusion_model.a.lora_", ".weight"),
        ],
    )
    def test_spellings(self, tmp_path: Path, prefix: str, ending: str) -> None:
        assert accept(saved(tmp_path, peft(prefix, ending)), RANK, RANK).ok

    def test_the_older_diffusers_spelling(self, tmp_path: Path) -> None:
        tensors = {
            "a.to_k.lora.down.weight": np.ones((4, 6), np.float32),
            "a.to_k.lora.up.weight": np.ones((5, 4), np.float32),
        }
        assert accept(saved(tmp_path, tensors), RANK, RANK).ok


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
    found = accept(path, 4, 2.0)
    assert found.ok == (not words)
    assert words in " ".join(found.reasons)
    assert found.alpha == 2.0


def test_a_file_that_is_cut_short_or_absent_is_refused_with_the_reason(tmp_path: Path) -> None:
    path = saved(tmp_path, kohya())
    path.write_bytes(path.read_bytes()[:-5])
    assert "the last 5 bytes are missing" in accept(path, RANK, ALPHA).reasons[0]
    assert "cannot be read" in accept(tmp_path / "absent.safetensors", RANK, ALPHA).reasons[0]


def test_names_from_outside_are_shown_as_text(tmp_path: Path) -> None:
    tensors = {"<img onerror=x>\x1b.lora_down.weight": np.full((4, 4), np.nan, np.float32)}
    reasons = " ".join(accept(saved(tmp_path, tensors), RANK, ALPHA).reasons)
    assert "<img onerror=x>" in reasons
    assert "\x1b" not in reasons


@given(st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_changed_bytes_never_crash(tmp_path: Path, data: st.DataObject) -> None:
    path = saved(tmp_path, kohya())
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 5))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    found = accept(path, RANK, ALPHA)
    assert found.ok == (not found.reasons)

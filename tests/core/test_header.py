"""Any bytes give either a Header or a HeaderError that says what is wrong."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import struct
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from tests.support import recorded_headers
from trainer_core.errors import HeaderError
from trainer_core.models import header
from trainer_core.models.header import TensorInfo


def entry(begin: int, end: int, shape: list[Any], dtype: Any = "F16") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


GOOD = {"a": entry(0, 4, [2]), "b": entry(4, 8, [2, 1])}


def test_a_file_of_the_safetensors_library_is_read(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_file({"a": np.zeros((2, 3), np.float32), "b": np.ones(4, np.float16)}, path, {"author": "me"})
    found = header.read(path)
    assert found.format == "safetensors"
    assert found.metadata == {"author": "me"}
    assert {key: (info.dtype, info.shape) for key, info in found.tensors.items()} == {
        "a": ("F32", (2, 3)),
        "b": ("F16", (4,)),
    }
    b = found.tensors["b"]
    assert path.read_bytes()[b.start_bytes : b.start_bytes + b.size_bytes] == np.ones(4, np.float16).tobytes()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"\x01\x02", "cut short"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "Git LFS pointer"),
        (b"\n <!DOCTYPE html><html><body>Please log in</body></html>", "web page"),
        (pickle.dumps({"state_dict": {}}), "pickle without tensors"),
        (struct.pack("<Q", 10**12) + b"{}", "header would be"),
        (struct.pack("<Q", 500) + b"{}", "ends inside its header"),
        (struct.pack("<Q", 4) + b"nope", "is not JSON"),
        (struct.pack("<Q", 4) + b"\xff\xfe\xfd\xfc", "is not JSON"),
        (struct.pack("<Q", 200_000) + b"[" * 200_000, "is not JSON"),
        (struct.pack("<Q", 2) + b"[]", "not a JSON object"),
        (recorded_headers.file_bytes({"__metadata__": {}}), "contains no tensors"),
        (recorded_headers.file_bytes({"__metadata__": {"a": 1}, **GOOD}, bytes(8)), "metadata is not text"),
        (recorded_headers.file_bytes(GOOD, bytes(7)), "the last 1 bytes are missing"),
        (recorded_headers.file_bytes(GOOD, bytes(9)), "1 bytes follow"),
        (recorded_headers.file_bytes(GOOD | {"b": entry(2, 6, [2])}, bytes(8)), "overlaps"),
        (recorded_headers.file_bytes(GOOD | {"b": entry(6, 10, [2])}, bytes(10)), "leaves a gap"),
        (recorded_headers.file_bytes({"a": entry(0, 4, [3])}, bytes(4)), "does not match its shape"),
        (recorded_headers.file_bytes({"a": entry(0, 4, [2], "F13")}, bytes(4)), "dtype F13 is unknown"),
        (recorded_headers.file_bytes({"a": entry(0, 4, [-2])}, bytes(4)), "not a list of sizes"),
        (recorded_headers.file_bytes({"a": entry(0, 4, [True])}, bytes(4)), "not a list of sizes"),
        (recorded_headers.file_bytes({"a": entry(4, 0, [2])}, bytes(4)), "not a start and an end"),
        (recorded_headers.file_bytes({"a": 5}, bytes(4)), "its entry is not an object"),
    ],
)
def test_each_error_is_named(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(HeaderError, match=words):
        header.read(path)


def test_a_path_that_is_not_a_model_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.safetensors")
    (tmp_path / "dead.safetensors").symlink_to(tmp_path / "nowhere")
    for path in (tmp_path / "absent", tmp_path / "dead.safetensors", tmp_path / "pipe.safetensors", Path("a\0b")):
        with pytest.raises(HeaderError):
            header.read(path)
    with pytest.raises(HeaderError, match=r"no model_index\.json"):
        header.read(tmp_path)


def test_untrusted_names_are_shown_as_text(tmp_path: Path) -> None:
    path = tmp_path / "<img onerror=alert(1)>\x1b[31m.safetensors"
    path.write_bytes(recorded_headers.file_bytes({"\x1b[2J": entry(0, 4, [3])}, bytes(4)))
    with pytest.raises(HeaderError) as caught:
        header.read(path)
    assert "\x1b" not in str(caught.value)
    assert "<img onerror=alert(1)>" in str(caught.value)


@given(st.binary(max_size=400))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None)
def test_random_bytes_never_crash(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model"
    path.write_bytes(content)
    with pytest.raises(HeaderError):
        header.read(path)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
entries = st.fixed_dictionaries(
    {},
    optional={
        "dtype": st.sampled_from(["F16", "F32", "F4", "F99"]) | json_values,
        "shape": st.lists(st.integers(-1, 2**70), max_size=40) | json_values,
        "data_offsets": st.lists(st.integers(-1, 2**70), min_size=2, max_size=2) | json_values,
    },
)


@given(
    st.dictionaries(st.text(max_size=12) | st.just("__metadata__"), entries | json_values, max_size=5),
    st.binary(max_size=64),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None)
def test_random_tables_never_crash(tmp_path: Path, table: dict[str, Any], data: bytes) -> None:
    path = tmp_path / "model"
    path.write_bytes(recorded_headers.file_bytes(table, data))
    try:
        found = header.read(path)
    except HeaderError:
        return
    assert all(isinstance(info, TensorInfo) for info in found.tensors.values())


@given(st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None)
def test_one_changed_byte_never_crashes(tmp_path: Path, data: st.DataObject) -> None:
    content = bytearray(recorded_headers.file_bytes(GOOD | {"__metadata__": {"format": "pt"}}, bytes(8)))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "model"
    path.write_bytes(content)
    with contextlib.suppress(HeaderError):
        header.read(path)


def test_a_full_size_checkpoint_is_read_from_its_header_alone(tmp_path: Path) -> None:
    path = recorded_headers.write("sdxl", tmp_path)
    assert path.stat().st_size > 6_500_000_000
    started = time.process_time()
    assert len(header.read(path).tensors) == 2514
    assert time.process_time() - started < 1


class TestDiffusersFolder:
    def test_components_prefix_the_keys_and_configs_are_kept(self, tmp_path: Path) -> None:
        found = header.read(recorded_headers.write("folder-sdxl-tiny", tmp_path))
        assert found.format == "diffusers"
        assert found.tensors["unet/conv_in.weight"].shape == (32, 4, 3, 3)
        assert found.configs[""]["_class_name"] == "StableDiffusionXLPipeline"
        assert found.configs["scheduler"]["prediction_type"] == "epsilon"

    def test_shards_are_joined(self, tmp_path: Path) -> None:
        root = self.folder(tmp_path, {"weight_map": {"a": "part-1.safetensors", "b": "part-2.safetensors"}})
        recorded_headers.write_file(root / "unet" / "part-1.safetensors", {"a": ("F16", (2,))})
        recorded_headers.write_file(root / "unet" / "part-2.safetensors", {"b": ("F16", (3,))})
        assert set(header.read(root).tensors) == {"unet/a", "unet/b"}

    def test_a_missing_shard_is_named(self, tmp_path: Path) -> None:
        root = self.folder(tmp_path, {"weight_map": {"a": "part-1.safetensors"}})
        with pytest.raises(HeaderError, match=r"part-1\.safetensors is missing"):
            header.read(root)

    @pytest.mark.parametrize(
        "index", [{}, {"weight_map": 5}, {"weight_map": {"a": 5}}, {"weight_map": {"a": "../../x"}}]
    )
    def test_an_index_cannot_lead_outside(self, tmp_path: Path, index: dict[str, Any]) -> None:
        with pytest.raises(HeaderError, match="does not list the files"):
            header.read(self.folder(tmp_path, index))

    def test_a_component_cannot_lead_outside(self, tmp_path: Path) -> None:
        recorded_headers.write_file(tmp_path / "model.safetensors", {"a": ("F16", (2,))})
        root = tmp_path / "root"
        root.mkdir()
        (root / "model_index.json").write_text(json.dumps({"_class_name": "X", "..": ["a", "b"], ".": ["a", "b"]}))
        with pytest.raises(HeaderError, match="contains no weights"):
            header.read(root)

    @pytest.mark.parametrize("length", [640, 896, 1152, 1408])
    def test_a_header_whose_length_looks_like_a_pickle_is_read(self, tmp_path: Path, length: int) -> None:
        plain = json.dumps(GOOD).encode()
        text = plain + b" " * (length - len(plain))
        path = tmp_path / "m.safetensors"
        path.write_bytes(struct.pack("<Q", length) + text + bytes(8))
        assert path.read_bytes()[0] == 0x80
        assert set(header.read(path).tensors) == {"a", "b"}

    def test_a_folder_without_weights_is_refused(self, tmp_path: Path) -> None:
        root = self.folder(tmp_path, None)
        (root / "unet" / "diffusion_pytorch_model.onnx").write_bytes(b"x")
        with pytest.raises(HeaderError, match=r"contains no weights"):
            header.read(root)

    @given(json_values)
    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None)
    def test_a_random_index_never_crashes(self, tmp_path: Path, value: Any) -> None:
        (tmp_path / "model_index.json").write_text(
            json.dumps({"_class_name": value, "unet": value, "vae": ["x", value]})
        )
        with pytest.raises(HeaderError):
            header.read(tmp_path)

    @staticmethod
    def folder(tmp_path: Path, index: dict[str, Any] | None) -> Path:
        root = tmp_path / "root"
        (root / "unet").mkdir(parents=True)
        (root / "model_index.json").write_text(
            json.dumps({"_class_name": "X", "unet": ["diffusers", "UNet2DConditionModel"]})
        )
        if index is not None:
            (root / "unet" / "diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps(index))
        return root

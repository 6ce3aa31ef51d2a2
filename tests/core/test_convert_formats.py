"""A conversion between formats and dtypes: every number against a reference that is computed without Easel."""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from tests.support import weight_files as files
from trainer_core.errors import WeightsError
from trainer_core.models import header
from trainer_core.models.header.tensors import GGML_BLOCKS
from trainer_core.tools import convert
from trainer_core.tools.convert import Settings
from trainer_core.weights import gguf_blocks, sources
from trainer_core.weights.reading import Weights

WEIGHTS = Path(__file__).parents[1] / "data" / "weights"
BLOCKS = json.loads((WEIGHTS.parent / "gguf_blocks.json").read_text())
RNG = np.random.default_rng(3)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "easel"))


def made(source: Path, name: str = "new.safetensors", **wanted) -> Path:
    return convert.run(Settings(files=(str(source),), target=str(source.parent / name), **wanted), lambda _: None)


def numbers(shape: tuple[int, ...], spread: float = 1.0) -> np.ndarray:
    return (RNG.standard_normal(shape) * spread).astype(np.float32)


def nearest(value: float, known: np.ndarray) -> float:
    """The number of a dtype that is nearest to a number, the even one of two; `known` are its finite numbers, in order of bits."""
    away = np.abs(known - value)
    best = np.flatnonzero(away == away.min())
    return float(known[next((place for place in best if place % 2 == 0), best[0])])


class TestDtypes:
    def test_each_number_becomes_the_nearest_one_of_bf16(self, tmp_path: Path) -> None:
        array = numbers((300, 70), 50)
        path = files.safetensors(tmp_path / "old.safetensors", {"w": array})
        found = files.read(made(path, dtype="bf16"))["w"]
        bits = array.view(np.uint32).astype(np.uint64)
        rounded = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
        assert found.tobytes() == rounded.tobytes()

    def test_each_number_becomes_the_nearest_one_of_fp16(self, tmp_path: Path) -> None:
        array = numbers((64, 65))
        path = files.safetensors(tmp_path / "old.safetensors", {"w": array.astype(np.float64)})
        assert files.read(made(path, dtype="fp16"))["w"].tobytes() == array.astype(np.float16).tobytes()

    def test_each_number_becomes_the_nearest_one_of_fp8(self, tmp_path: Path) -> None:
        array = numbers((12, 40), 30)
        path = files.safetensors(tmp_path / "old.safetensors", {"blocks.0.w.weight": array})
        found = files.read(made(path, dtype="fp8"))["blocks.0.w.weight"]
        known = np.arange(127, dtype=np.uint8).view(ml_dtypes.float8_e4m3fn).astype(np.float64)
        wanted = [np.sign(value) * nearest(abs(float(value)), known) for value in array.reshape(-1)]
        assert found.astype(np.float64).reshape(-1).tolist() == wanted

    def test_widening_and_narrowing_gives_the_same_bytes(self, tmp_path: Path) -> None:
        array = numbers((40, 40)).astype(ml_dtypes.bfloat16)
        path = files.safetensors(tmp_path / "old.safetensors", {"w": array, "count": np.array([7], np.int64)})
        wide = made(path, "wide.safetensors", dtype="fp32")
        assert files.read(wide)["w"].dtype == np.float32
        assert files.equal(files.read(made(wide, "back.safetensors", dtype="bf16")), files.read(path))

    @pytest.mark.parametrize("dtype", ["fp16", "bf16", "fp8"])
    def test_numbers_that_are_none_in_the_file_are_counted_and_said(self, tmp_path: Path, dtype: str) -> None:
        none = np.array([[np.nan, np.nan], [1.0, 2.0]], np.float32)
        path = files.safetensors(
            tmp_path / "old.safetensors",
            {"blocks.0.a.weight": none, "blocks.1.a.weight": none, "blocks.2.a.weight": np.ones((2, 2), np.float32)},
        )
        target = tmp_path / "new.safetensors"
        said: list[str] = []
        convert.run(Settings(files=(str(path),), target=str(target), dtype=dtype), said.append)
        assert target.exists()
        wanted = "4 numbers of 2 tensors are NaN or infinite, as in the file that was read; the first is in blocks.0.a.weight."
        assert any(line.startswith(wanted) for line in said)

    def test_numbers_that_become_infinite_are_counted_and_said(self, tmp_path: Path) -> None:
        path = files.safetensors(
            tmp_path / "old.safetensors",
            {"a": np.array([65504, 65519, 65520, -1e6, np.inf], np.float32), "b": np.array([1e9], np.float32)},
        )
        said: list[str] = []
        target = tmp_path / "new.safetensors"
        convert.run(Settings(files=(str(path),), target=str(target), dtype="fp16"), said.append)
        assert files.read(target)["a"].tolist() == [65504, 65504, np.inf, -np.inf, np.inf]
        assert "3 numbers of 2 tensors are too large for F16 and became infinite; the first is in a." in said

    def test_a_number_beyond_fp8_becomes_the_largest_one_and_is_counted(self, tmp_path: Path) -> None:
        array = np.array([[449, -1e5], [448, 1]], np.float32)
        path = files.safetensors(tmp_path / "old.safetensors", {"blocks.0.w.weight": array})
        said: list[str] = []
        target = tmp_path / "new.safetensors"
        convert.run(Settings(files=(str(path),), target=str(target), dtype="fp8"), said.append)
        assert files.read(target)["blocks.0.w.weight"].astype(float).tolist() == [[448, -448], [448, 1]]
        assert any("2 numbers of 1 tensors are too large for F8_E4M3 and became 448" in line for line in said)

    def test_what_is_to_keep_its_dtype_keeps_it(self, tmp_path: Path) -> None:
        arrays = {
            "model.diffusion_model.norm.weight": numbers((4,)),
            "model.diffusion_model.w.weight": numbers((4, 4)),
            "first_stage_model.w.weight": numbers((4, 4)),
            "cond_stage_model.w.weight": numbers((4, 4)),
        }
        path = files.safetensors(tmp_path / "old.safetensors", arrays)
        found = files.read(made(path, dtype="fp16", keep=("norms", "vae")))
        kept = {name for name, array in found.items() if array.dtype == np.float32}
        assert kept == {"model.diffusion_model.norm.weight", "first_stage_model.w.weight"}
        assert all(found[name].tobytes() == arrays[name].tobytes() for name in kept)

    def test_only_matrices_in_the_blocks_become_fp8(self, tmp_path: Path) -> None:
        names = {
            "blocks.0.attn.weight": (4, 4), "blocks.0.norm.weight": (4, 4), "blocks.0.conv.weight": (4, 4, 3, 3),
            "blocks.0.attn.bias": (4,), "time_embed.0.weight": (4, 4), "head.weight": (4, 4),
        }  # fmt: skip
        path = files.safetensors(tmp_path / "old.safetensors", {name: numbers(shape) for name, shape in names.items()})
        found = files.read(made(path, dtype="fp8"))
        assert {name for name, array in found.items() if array.dtype != np.float32} == {"blocks.0.attn.weight"}

    def test_a_file_that_would_stay_as_it_is_is_refused(self, tmp_path: Path) -> None:
        path = files.safetensors(tmp_path / "old.safetensors", {"w": numbers((2, 2))})
        with pytest.raises(WeightsError, match="the same as the old one"):
            made(path, dtype="fp32")

    @pytest.mark.parametrize(
        ("wanted", "said"),
        [
            ({"dtype": "int4"}, "no dtype"),
            ({"form": "onnx"}, "no form"),
            ({"keep": ("x",)}, "no keep"),
            ({"prune": "all"}, "no prune"),
        ],
    )
    def test_a_wish_that_nobody_can_fulfil_is_refused(self, tmp_path: Path, wanted: dict, said: str) -> None:
        path = files.safetensors(tmp_path / "old.safetensors", {"w": numbers((2, 2))})
        with pytest.raises(WeightsError, match=said):
            made(path, **wanted)

    def test_the_ending_of_the_target_fits_its_form(self, tmp_path: Path) -> None:
        path = files.safetensors(tmp_path / "old.safetensors", {"w": numbers((2, 2))})
        with pytest.raises(WeightsError, match=r"has the ending \.ckpt"):
            made(path, "new.ckpt", dtype="fp16")


class TestScaledFp8:
    def test_scaled_weights_are_read_back_with_their_scale(self, tmp_path: Path) -> None:
        weight = numbers((6, 8), 100).astype(ml_dtypes.float8_e4m3fn)
        scale = np.array(0.0123, np.float32)
        by_row = numbers((6, 1)) ** 2
        arrays = {
            "scaled_fp8": np.zeros(2, ml_dtypes.float8_e4m3fn),
            "blocks.0.a.weight": weight, "blocks.0.a.scale_weight": scale, "blocks.0.a.scale_input": scale,
            "blocks.0.b.weight": weight, "blocks.0.b.weight_scale": by_row,
        }  # fmt: skip
        path = files.safetensors(tmp_path / "old.safetensors", arrays, {"_quantization_metadata": "{}", "author": "me"})
        new = made(path, dtype="fp32")
        found = files.read(new)
        assert found.keys() == {"blocks.0.a.weight", "blocks.0.b.weight"}
        wanted = weight.astype(np.float64)
        assert np.abs(found["blocks.0.a.weight"] / (wanted * float(scale)) - 1).max() < 1e-7
        assert np.abs(found["blocks.0.b.weight"] / (wanted * by_row.astype(np.float64)) - 1).max() < 1e-7
        assert "_quantization_metadata" not in files.metadata(new)
        assert files.metadata(new)["author"] == "me"

    def test_the_largest_weight_becomes_the_largest_number_and_reading_gives_the_weights_back(
        self, tmp_path: Path
    ) -> None:
        array = numbers((50, 60), 3e-3)
        path = files.safetensors(tmp_path / "old.safetensors", {"model.diffusion_model.blocks.0.w.weight": array})
        new = made(path, "scaled.safetensors", dtype="fp8-scaled")
        found = files.read(new)
        assert found.keys() == {
            "model.diffusion_model.scaled_fp8",
            "model.diffusion_model.blocks.0.w.weight",
            "model.diffusion_model.blocks.0.w.scale_weight",
        }
        stored = found["model.diffusion_model.blocks.0.w.weight"]
        assert stored.dtype == ml_dtypes.float8_e4m3fn
        assert np.abs(stored.astype(np.float32)).max() == 448
        back = files.read(made(new, "back.safetensors", dtype="fp32"))["model.diffusion_model.blocks.0.w.weight"]
        # Half a step of a dtype with three bits behind the point, and below its smallest normal number half of that step.
        allowed = np.maximum(np.abs(array) / 16, np.abs(array).max() / 448 / 1024)
        assert (np.abs(back - array) <= allowed * 1.0001).all()

    def test_scales_for_blocks_of_a_weight_are_refused(self, tmp_path: Path) -> None:
        weight = numbers((256, 256)).astype(ml_dtypes.float8_e4m3fn)
        arrays = {"l.weight": weight, "l.weight_scale": numbers((2, 2))}
        with pytest.raises(WeightsError, match=r"shape \[2, 2\]"):
            made(files.safetensors(tmp_path / "old.safetensors", arrays), dtype="bf16")

    def test_a_scale_without_its_weight_is_refused(self, tmp_path: Path) -> None:
        arrays = {"l.weight": numbers((2, 2)), "l.scale_weight": np.array(1, np.float32)}
        with pytest.raises(WeightsError, match="no weight in fp8"):
            made(files.safetensors(tmp_path / "old.safetensors", arrays), dtype="bf16")

    def test_an_empty_weight_keeps_a_scale_that_is_not_zero(self, tmp_path: Path) -> None:
        path = files.safetensors(tmp_path / "old.safetensors", {"blocks.0.w.weight": np.zeros((4, 4), np.float32)})
        assert files.read(made(path, dtype="fp8-scaled"))["blocks.0.w.scale_weight"] == 1


class TestPickles:
    def test_a_checkpoint_of_torch_becomes_the_same_tensors(self, tmp_path: Path) -> None:
        storage = np.arange(24, dtype=np.float32)
        tensors = {
            "whole": files.strided("0", 24, 0, (4, 6), (6, 1)),
            "shared": files.strided("0", 24, 6, (2, 6), (6, 1)),
            "turned": files.strided("0", 24, 0, (6, 4), (1, 6)),
            "spread": files.strided("0", 24, 1, (3, 2), (8, 2)),
            "repeated": files.strided("0", 24, 5, (3, 2), (0, 1)),
            "number": files.strided("0", 24, 7, (), ()),
            "none": files.strided("0", 24, 0, (0, 3), (3, 1)),
        }
        grid = storage.reshape(4, 6)
        wanted = {
            "whole": grid,
            "shared": grid[1:3],
            "turned": grid.T,
            "spread": np.array([[1, 3], [9, 11], [17, 19]], np.float32),
            "repeated": np.array([[5, 6]] * 3, np.float32),
            "number": np.array(7, np.float32),
            "none": np.zeros((0, 3), np.float32),
        }
        for name, compression in (("stored.ckpt", zipfile.ZIP_STORED), ("packed.ckpt", zipfile.ZIP_DEFLATED)):
            path = files.torch_zip(tmp_path / name, tensors, {"0": storage}, compression)
            assert files.equal(files.read(made(path, f"{name}.safetensors")), wanted)

    def test_the_stream_of_older_versions_has_the_same_numbers_as_the_archive(self, tmp_path: Path) -> None:
        with Weights(WEIGHTS / "legacy.pt") as old, Weights(WEIGHTS / "lightning.ckpt") as new:
            for name in new.tensors:
                assert old.read(name).tobytes() == new.read(name).tobytes()
            assert new.read("weight").any()

    def test_a_written_checkpoint_has_the_same_tensors_and_metadata(self, tmp_path: Path) -> None:
        arrays = {
            "a.weight": numbers((3, 5)), "b": numbers((7,)).astype(ml_dtypes.bfloat16), "c": np.array(5, np.int64),
            "d": numbers((2, 2)).astype(ml_dtypes.float8_e4m3fn), "e": np.zeros((0, 4), np.float16),
        }  # fmt: skip
        path = files.safetensors(tmp_path / "old.safetensors", arrays, {"author": "me", "long": "x" * 5000})
        checkpoint = made(path, "new.ckpt", form="checkpoint")
        assert header.read(checkpoint).metadata["author"] == "me"
        assert "long" not in header.read(checkpoint).metadata
        assert zipfile.ZipFile(checkpoint).testzip() is None
        assert files.equal(files.read(made(checkpoint, "back.safetensors")), arrays)

    def test_numbers_in_a_written_checkpoint_are_aligned(self, tmp_path: Path) -> None:
        path = files.safetensors(tmp_path / "old.safetensors", {f"w{place}": numbers((3,)) for place in range(5)})
        with Weights(made(path, "new.ckpt", form="checkpoint")) as found:
            assert all(found.place(name).start % 64 == 0 for name in found.tensors)

    def test_the_state_of_an_optimizer_is_left_out_and_said(self, tmp_path: Path) -> None:
        storage = np.zeros(100_000, np.float32)
        state = b"}(" + files.text("x") + files.strided("0", 100_000, 0, (100_000,), (1,)) + b"u"
        weights = b"}(" + files.text("w") + files.strided("1", 4, 0, (4,), (1,)) + b"u"
        path = files.torch_zip(
            tmp_path / "old.ckpt", {"optimizer_states": state, "state_dict": weights}, {"0": storage, "1": storage[:4]}
        )
        found = convert.outlook(Settings(files=(str(path),)))
        assert found.tensors == 1
        assert any(note.startswith("390.6 KiB of old.ckpt are not tensors of the model") for note in found.notes)

    def test_a_pickle_that_is_large_beside_small_tensors_is_no_loss(self, tmp_path: Path) -> None:
        path = files.safetensors(tmp_path / "old.safetensors", {f"w{place}": numbers((3,)) for place in range(50)})
        checkpoint = made(path, "new.ckpt", form="checkpoint")
        assert checkpoint.stat().st_size > 5 * path.stat().st_size / 2
        assert convert.outlook(Settings(files=(str(checkpoint),))).notes == ()


class TestGguf:
    @pytest.mark.parametrize("dtype", sorted(gguf_blocks.TYPES))
    def test_blocks_give_the_numbers_that_gguf_s_own_library_computes(self, dtype: str) -> None:
        row = BLOCKS["types"][dtype]
        data = np.random.default_rng(7).integers(0, 256, (64, GGML_BLOCKS[dtype][1]), dtype=np.uint8)
        for place in row["halves"]:
            data[:, place + 1] &= 0x3B
        found = gguf_blocks.floats(data.reshape(-1), dtype)
        assert hashlib.sha256(found.astype("<f4").tobytes()).hexdigest() == row["sha256"]

    def test_every_type_that_is_said_to_be_computed_is(self) -> None:
        assert set(sources.COMPUTED) == set(gguf_blocks.TYPES) == set(BLOCKS["types"])

    def test_exact_types_are_copied(self, tmp_path: Path) -> None:
        half, brain = numbers((4, 8)).astype(np.float16), numbers((3, 4)).astype(ml_dtypes.bfloat16)
        path = files.gguf(tmp_path / "old.gguf", {"a": (1, (4, 8), half.tobytes()), "b": (30, (3, 4), brain.tobytes())})
        assert files.equal(files.read(made(path)), {"a": half, "b": brain})

    def test_quantised_weights_are_computed_only_when_the_user_allows_it(self, tmp_path: Path) -> None:
        scale, steps = np.array([0.5, 2.0], np.float16), np.arange(-32, 32, dtype=np.int8).reshape(2, 32)
        raw = b"".join(scale[row].tobytes() + steps[row].tobytes() for row in range(2))
        path = files.gguf(tmp_path / "old.gguf", {"w": (8, (2, 32), raw)})
        with pytest.raises(WeightsError, match="quantised weights"):
            made(path)
        assert any("Not exact" in note for note in convert.outlook(Settings(files=(str(path),), dequantise=True)).notes)
        found = files.read(made(path, dequantise=True, dtype="fp16"))["w"]
        assert found.tolist() == (steps * scale[:, None].astype(np.float64)).tolist()

    def test_a_type_that_easel_cannot_compute_is_refused(self, tmp_path: Path) -> None:
        path = files.gguf(tmp_path / "old.gguf", {"w": (23, (1, 256), bytes(136))})
        with pytest.raises(WeightsError, match="IQ4_XS"):
            made(path, dequantise=True)

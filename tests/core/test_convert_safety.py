"""Conversions of hostile and damaged files, and conversions that are killed, stopped, or run out of disk: no half file, a sentence."""

from __future__ import annotations

import json
import os
import signal
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support import weight_files as files
from trainer_core.cli import easel
from trainer_core.errors import EaselError, HeaderError, WeightsError
from trainer_core.jobs.state import JobState
from trainer_core.tools import check_weights, convert, making
from trainer_core.tools.convert import Settings
from trainer_core.weights import sources, writing
from trainer_core.weights.reading import Weights

RNG = np.random.default_rng(11)
NAMES = st.sampled_from(
    ["w", "../../w", "/etc/w", "a/b.weight", "..", "x\0y", "é" * 300, "blocks.0.w.weight", "blocks.0.w.scale_weight", "scaled_fp8",
     "model.diffusion_model.input_blocks.0.0.weight", "first_stage_model.decoder.mid.block_1.conv1.weight", "model_ema.decay"]
)  # fmt: skip


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "easel"))


def model(path: Path, count: int = 20, side: int = 200) -> Path:
    arrays = {f"w{place}": RNG.standard_normal((side, side)).astype(np.float32) for place in range(count)}
    return files.safetensors(path, arrays)


def all_of(path: Path) -> None:
    """Reads every number of a model."""
    with Weights(path, dequantise=True) as found:
        for name in found.tensors:
            found.read(name)
            for _ in found.chunks(name):
                pass


class TestHostileFiles:
    @pytest.mark.parametrize("name", ["posix\nsystem", "builtins\neval", "torch.storage\n_load_from_bytes"])
    def test_a_pickle_that_names_a_function_is_refused_and_nothing_runs(self, tmp_path: Path, name: str) -> None:
        victim = tmp_path / "ran"
        code = b"c" + name.encode() + b"\n(" + files.text(f"touch {victim}") + b"tR"
        path = files.torch_zip(tmp_path / "bad.ckpt", {"w": code}, {})
        with pytest.raises(HeaderError, match="no model needs"):
            convert.outlook(Settings(files=(str(path),)))
        assert not victim.exists()

    def test_a_compressed_storage_that_would_fill_the_memory_is_refused(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sources, "LARGEST_UNPACKED_BYTES", 100_000_000)
        storage = np.zeros(30_000_000, np.float32)
        tensors = {"w": files.strided("0", storage.size, 0, storage.shape, (1,))}
        path = files.torch_zip(tmp_path / "bomb.ckpt", tensors, {"0": storage}, zipfile.ZIP_DEFLATED)
        assert path.stat().st_size < 200_000
        with pytest.raises(WeightsError, match=r"0\.1 GB of memory"):
            convert.outlook(Settings(files=(str(path),)))

    def test_a_storage_that_reaches_into_the_next_entry_is_refused(self, tmp_path: Path) -> None:
        tensors = {"a": files.strided("0", 4, 0, (4,), (1,)), "b": files.strided("1", 4, 0, (4,), (1,))}
        four = np.arange(4, dtype=np.float32)
        path = files.torch_zip(tmp_path / "bad.ckpt", tensors, {"0": four, "1": four})
        data = bytearray(path.read_bytes())
        entry = next(each for each in zipfile.ZipFile(path).infolist() if each.filename.endswith("data/0"))
        struct.pack_into("<H", data, entry.header_offset + 28, 40)  # the length of the extra field in the local header
        path.write_bytes(data)
        with pytest.raises(EaselError, match="damaged"):
            sources.find(path)

    def test_a_tensor_outside_its_storage_is_refused(self, tmp_path: Path) -> None:
        four = np.arange(4, dtype=np.float32)
        for offset, sizes, strides in ((1, (4,), (1,)), (0, (2, 2), (3, 1)), (0, (5,), (1,))):
            path = files.torch_zip(
                tmp_path / "bad.ckpt", {"a": files.strided("0", 4, offset, sizes, strides)}, {"0": four}
            )
            with pytest.raises(HeaderError, match="larger than its storage"):
                sources.find(path)

    @settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(data=st.data())
    def test_a_damaged_checkpoint_is_read_or_refused_with_a_sentence(self, tmp_path: Path, data: st.DataObject) -> None:
        storage = np.arange(60, dtype=np.float32)
        tensors = {"a": files.strided("0", 60, 0, (6, 10), (10, 1)), "b": files.strided("0", 60, 3, (10, 2), (1, 10))}
        kind = data.draw(st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]))
        whole = bytearray(files.torch_zip(tmp_path / "good.ckpt", tensors, {"0": storage}, kind).read_bytes())
        for _ in range(data.draw(st.integers(1, 4))):
            whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
        path = tmp_path / "bad.ckpt"
        path.write_bytes(whole[: data.draw(st.integers(1, len(whole)))] if data.draw(st.booleans()) else whole)
        said = "Read."
        try:
            all_of(path)
        except EaselError as error:
            said = error.message
        assert said.endswith(".")

    @settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(rows=st.dictionaries(NAMES, st.lists(st.integers(0, 4), max_size=3), min_size=1, max_size=6), data=st.data())
    def test_any_names_give_a_whole_result_inside_the_target_or_a_sentence(
        self, tmp_path: Path, rows: dict[str, list[int]], data: st.DataObject
    ) -> None:
        arrays = {
            name: np.ones(shape, files.NUMPY[data.draw(st.sampled_from(["F32", "F16", "F8_E4M3", "I64"]))])
            for name, shape in rows.items()
        }
        place = tmp_path / "place"
        place.mkdir(exist_ok=True)
        path = files.safetensors(place / "old.safetensors", arrays)
        wanted = Settings(
            files=(str(path),), target=str(place / "new") + data.draw(st.sampled_from(["", ".safetensors", ".ckpt"])),
            form=data.draw(st.sampled_from(["", "checkpoint", "parts", "shards", "diffusers"])), family="sd15",
            dtype=data.draw(st.sampled_from(["", "fp16", "fp8", "fp8-scaled"])), prune=data.draw(st.sampled_from(["", "weights", "ema"])),
        )  # fmt: skip
        made, said = None, "Made."
        try:
            made = convert.run(wanted, lambda _: None)
        except EaselError as error:
            said = error.message
        assert said.endswith(".")
        assert {each.name for each in place.iterdir()} == {"old.safetensors"} | ({made.name} if made else set())
        if made:
            _remove(made)


def _remove(path: Path) -> None:
    for file in path.rglob("*") if path.is_dir() else ():
        if file.is_file():
            file.unlink()
    if path.is_dir():
        for folder in sorted(path.rglob("*"), reverse=True):
            folder.rmdir()
        path.rmdir()
    else:
        path.unlink()


KILLED = """
import json, os, signal, sys
from trainer_core.tools import convert

seen = 0

def report(line):
    global seen
    print(line, flush=True)
    seen += 1
    if seen == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)

convert.run(convert.Settings(**json.loads(sys.argv[1])), report)
"""


class TestEndsInTheMiddle:
    @pytest.mark.parametrize("form", ["", "checkpoint", "shards"])
    @pytest.mark.parametrize("phase", range(1, 7))
    def test_a_conversion_that_is_killed_leaves_no_file_and_can_run_again(
        self, tmp_path: Path, form: str, phase: int
    ) -> None:
        path = model(tmp_path / "place" / "old.safetensors", 6, 700)
        target = path.parent / {"": "new.safetensors", "checkpoint": "new.ckpt", "shards": "new"}[form]
        wanted = {"files": [str(path)], "target": str(target), "dtype": "bf16", "form": form, "shard_gb": 0.001}
        done = subprocess.run(
            [sys.executable, "-c", KILLED, json.dumps(wanted), str(phase)], check=False, capture_output=True, text=True
        )
        assert done.returncode == -signal.SIGKILL, done.stdout + done.stderr
        assert not target.exists()
        convert.run(Settings(**{**wanted, "files": (str(path),)}), lambda _: None)
        assert sorted(each.name for each in path.parent.iterdir()) == sorted(["old.safetensors", target.name])

    def test_a_stopped_job_leaves_no_file(self, tmp_path: Path) -> None:
        path = model(tmp_path / "place" / "old.safetensors", 40, 700)
        job = convert.start(Settings(files=(str(path),), dtype="fp8", form="shards", target=str(path.parent / "new")))
        job.stop()
        assert job.wait(60) in (JobState.CANCELLED, JobState.COMPLETED)
        left = {each.name for each in path.parent.iterdir()} - {"old.safetensors"}
        assert left == ({"new"} if job.state is JobState.COMPLETED else set())

    @pytest.mark.parametrize("form", ["", "checkpoint", "shards"])
    def test_a_full_disk_leaves_no_file_and_is_said(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
    ) -> None:
        disk = tmp_path / "disk"
        disk.mkdir()
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], check=False, capture_output=True
        )
        if mounted.returncode:
            pytest.skip("a file system can only be mounted as root")
        try:
            monkeypatch.setattr(writing, "DISK_FLOOR_BYTES", -(1 << 40))
            path = model(tmp_path / "old.safetensors")
            target = disk / {"": "new.safetensors", "checkpoint": "new.ckpt", "shards": "new"}[form]
            with pytest.raises(OSError, match="No space left"):
                convert.run(Settings(files=(str(path),), target=str(target), dtype="bf16", form=form), lambda _: None)
            assert list(disk.iterdir()) == []
        finally:
            subprocess.run(["umount", "-l", str(disk)], check=True)

    def test_the_disk_and_the_memory_are_checked_before_the_start_with_numbers(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = model(tmp_path / "old.safetensors", 2)
        monkeypatch.setattr(writing, "free_disk_bytes", lambda _: 50_100_000)
        for ask in (convert.outlook, convert.start):
            with pytest.raises(WeightsError, match=r"needs 0\.2 MB and 50\.2 MB beside it, but .* has 50\.1 MB free"):
                ask(Settings(files=(str(path),), dtype="bf16"))
        monkeypatch.undo()
        monkeypatch.setattr(making, "memory_bytes", lambda: (1, 1000))
        with pytest.raises(WeightsError, match=r"needs 0\.[12] GB of memory"):
            convert.start(Settings(files=(str(path),), dtype="bf16"))

    def test_an_input_that_changes_meanwhile_gives_no_file(self, tmp_path: Path) -> None:
        path = model(tmp_path / "place" / "old.safetensors", 2)

        def report(line: str) -> None:
            if line.startswith("Wrote"):
                os.utime(path, (1, 1))

        with pytest.raises(WeightsError, match="changed while it was read"):
            convert.run(Settings(files=(str(path),), dtype="bf16", target=str(path.parent / "new.safetensors")), report)
        assert [each.name for each in path.parent.iterdir()] == ["old.safetensors"]

    def test_nothing_is_replaced_and_no_input_is_the_target(self, tmp_path: Path) -> None:
        path = model(tmp_path / "old.safetensors", 2)
        other = tmp_path / "mine.safetensors"
        other.write_text("mine")
        for target, said in ((other, "already exists"), (path, "one of the files")):
            with pytest.raises(WeightsError, match=said):
                convert.start(Settings(files=(str(path),), dtype="bf16", target=str(target)))
        assert other.read_text() == "mine"


class TestCommand:
    def run(self, *arguments: str) -> tuple[int, str]:
        done = CliRunner().invoke(easel, ["convert", *arguments])
        return done.exit_code, done.output if done.exception is None or isinstance(done.exception, SystemExit) else str(
            done.exception
        )

    def test_it_makes_the_file_and_prints_its_path(self, tmp_path: Path) -> None:
        path = model(tmp_path / "old.safetensors", 3)
        code, said = self.run(str(path), "--dtype", "bf16", "--json")
        assert code == 0
        made = Path(json.loads(said)["path"])
        assert made == tmp_path / "old-bf16.safetensors"
        assert {array.dtype.name for array in files.read(made).values()} == {"bfloat16"}

    def test_a_dry_run_shows_what_would_be_made_and_makes_nothing(self, tmp_path: Path) -> None:
        path = model(tmp_path / "old.safetensors", 3)
        code, said = self.run(str(path), "--dtype", "bf16", "--dry-run", "--json")
        told = json.loads(said)
        assert (code, told["tensors"], told["changed"], told["size_bytes"]) == (0, 3, 3, 3 * 200 * 200 * 2)
        assert [each.name for each in tmp_path.iterdir() if each.is_file()] == ["old.safetensors"]

    def test_the_check_names_what_is_damaged_and_ends_with_1(self, tmp_path: Path) -> None:
        sound = np.ones((300, 300), np.float16)
        bad = sound.copy()
        bad[3, 4], bad[5, 6], bad[7, 8] = np.nan, np.inf, -np.inf
        arrays = {
            "good": sound,
            "again": sound,
            "bad": bad,
            "zero": np.zeros((2, 2), np.float16),
            "count": np.array([1], np.int64),
        }
        path = files.safetensors(tmp_path / "old.safetensors", arrays)
        code, said = self.run(str(path), "--check", "--json")
        told = json.loads(said)
        assert code == 1
        assert (told["nan"], told["numbers_nan"], told["names_nan"]) == (1, 1, ["bad"])
        assert (told["infinite"], told["numbers_infinite"], told["names_infinite"]) == (1, 2, ["bad"])
        assert (told["zeros"], told["names_zeros"], told["duplicates"]) == (1, ["zero"], [["good", "again"]])
        assert told["numbers"] == 3 * 90_000 + 5
        assert any(
            "1 numbers of 1 tensors are not a number (NaN): bad. The model is damaged." in line
            for line in told["words"]
        )

    def test_the_check_of_a_sound_file_ends_with_0(self, tmp_path: Path) -> None:
        code, said = self.run(str(model(tmp_path / "old.safetensors", 2)), "--check", "--json")
        assert code == 0
        assert "No number is NaN or infinite." in said

    def test_a_file_that_is_cut_short_is_refused_by_the_check(self, tmp_path: Path) -> None:
        path = model(tmp_path / "old.safetensors", 2)
        path.write_bytes(path.read_bytes()[:-10])
        with pytest.raises(HeaderError, match="the last 10 bytes are missing"):
            check_weights.start(check_weights.Settings(file=str(path)))

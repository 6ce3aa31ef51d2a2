"""The tool that copies a model file with other tensor names: the bytes, the job, and what happens when it fails."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import recorded_headers
from tests.support.recorded_roles import sized
from trainer_core import places, tools
from trainer_core.errors import EaselError, HeaderError, RenamingError, WeightsError
from trainer_core.jobs.state import JobState
from trainer_core.models import detection, header, tensor_copy
from trainer_core.models.renaming import Piece
from trainer_core.problems import Task
from trainer_core.tools import rename
from trainer_core.tools.rename import Settings
from trainer_core.weights import writing


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "easel"))
    return tmp_path / "easel"


def clip(folder: Path, name: str = "open.safetensors") -> Path:
    """A CLIP-L in the names of OpenCLIP, with one layer whose numbers are known."""
    layout = {key: (info.dtype, tuple(info.shape)) for key, info in sized("te-open-clip-l").items()}
    path = recorded_headers.write_file(folder / name, layout, {"author": "someone"})
    found = header.read(path).tensors
    with path.open("r+b") as file:
        for key in ("transformer.resblocks.0.attn.in_proj_bias", "text_projection", "positional_embedding"):
            info = found[key]
            file.seek(info.start_bytes)
            file.write(numbers(info.size_bytes))
    return path


def numbers(size: int) -> bytes:
    return b"".join(struct.pack("<H", value % 65521) for value in range(size // 2))


def bytes_of(path: Path, key: str) -> bytes:
    info = header.read(path).tensors[key]
    with path.open("rb") as file:
        file.seek(info.start_bytes)
        return file.read(info.size_bytes)


def test_the_copy_has_the_same_numbers_under_other_names(tmp_path: Path, home: Path) -> None:
    path = clip(tmp_path)
    before = path.stat()
    job = rename.start(Settings(file=str(path), layout="transformers"))
    assert job.wait(60) is JobState.COMPLETED, job.result
    (made,) = (Path(name) for name in job.result["outputs"])
    assert made.parent == places.models() / "text_encoders"
    found = detection.detect(header.read(made))
    assert (found.variant, found.layout, found.prefix) == ("clip_l", "transformers", "")
    whole = bytes_of(path, "transformer.resblocks.0.attn.in_proj_bias")
    third = len(whole) // 3
    for place, name in enumerate(("q", "k", "v")):
        key = f"text_model.encoder.layers.0.self_attn.{name}_proj.bias"
        assert bytes_of(made, key) == whole[place * third : (place + 1) * third]
    assert bytes_of(made, "text_model.embeddings.position_embedding.weight") == bytes_of(path, "positional_embedding")
    assert header.read(made).metadata["author"] == "someone"
    after = path.stat()
    assert (after.st_mtime_ns, after.st_size) == (before.st_mtime_ns, before.st_size)
    assert job.summary.total
    assert not list(made.parent.glob(".easel-*"))


def test_a_second_copy_of_the_same_file_is_the_first_one(tmp_path: Path) -> None:
    path = clip(tmp_path)
    settings = Settings(file=str(path), layout="transformers", kind="clip_l", folder=str(tmp_path / "made"))
    first = rename.run(settings, lambda _: None)
    stamp = first.stat().st_mtime_ns
    assert rename.run(settings, lambda _: None) == first
    assert first.stat().st_mtime_ns == stamp
    os.utime(path, (1, 1))  # another file with the same name
    assert rename.run(settings, lambda _: None) != first


@given(rows=st.integers(1, 9), columns=st.integers(1, 9), size=st.sampled_from([1, 2, 4, 8]), data=st.data())
def test_a_matrix_is_transposed_number_by_number(rows: int, columns: int, size: int, data: st.DataObject) -> None:
    whole = data.draw(st.binary(min_size=rows * columns * size, max_size=rows * columns * size))
    cells = [whole[place * size : (place + 1) * size] for place in range(rows * columns)]
    turned = b"".join(cells[row * columns + column] for column in range(columns) for row in range(rows))
    assert tensor_copy._transposed(whole, rows, columns) == turned


def test_nothing_is_left_when_the_disk_is_too_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, folder = clip(tmp_path), tmp_path / "made"
    monkeypatch.setattr(writing, "free_disk_bytes", lambda _: 1000)
    with pytest.raises(WeightsError, match="The new file needs"):
        rename.run(Settings(file=str(path), layout="transformers", kind="clip_l", folder=str(folder)), lambda _: None)
    assert list(folder.iterdir()) == []


def test_a_file_that_changes_meanwhile_gives_no_copy(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"x" * 8)

    def change(done: int, total: int) -> None:
        del done, total
        path.write_bytes(b"y" * 9)

    with pytest.raises(RenamingError, match="changed"):
        tensor_copy.write(path, tmp_path / "b", [Piece("a", "U8", (8,), 0, 8)], {}, change)
    assert sorted(file.name for file in tmp_path.iterdir() if file.is_file()) == ["a.bin"]


def test_another_file_is_never_replaced(tmp_path: Path) -> None:
    path, target = tmp_path / "a.bin", tmp_path / "b"
    path.write_bytes(b"x" * 8)
    target.write_text("mine")
    with pytest.raises(RenamingError, match="meanwhile"):
        tensor_copy.write(path, target, [Piece("a", "U8", (8,), 0, 8)], {}, lambda _done, _total: None)
    assert target.read_text() == "mine"


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"layout": "ldm"}, RenamingError),
        ({"kind": "vae_sd"}, RenamingError),
        ({"file": "/nowhere/x.safetensors"}, HeaderError),
        ({"rank": "4"}, WeightsError),
    ],
)
def test_a_renaming_that_cannot_work_is_refused_before_a_job_starts(
    tmp_path: Path, changes: dict[str, str], error: type[EaselError]
) -> None:
    arguments = {"file": str(clip(tmp_path)), "layout": "transformers", **changes}
    with pytest.raises(error):
        tools.begin(Task("rename", arguments, "model.clip_l"))
    assert not places.jobs().exists()


def test_a_job_that_fails_says_why(tmp_path: Path) -> None:
    path = clip(tmp_path)
    (tmp_path / "made").write_text("a file, no folder")
    job = rename.start(Settings(file=str(path), layout="transformers", folder=str(tmp_path / "made")))
    assert job.wait(60) is JobState.FAILED
    assert "made" in job.result["diagnosis"]["cause"]


def test_a_part_is_copied_out_of_a_checkpoint(tmp_path: Path) -> None:
    inside = recorded_headers.load("clip-l")["tensors"]
    model = {f"model.diffusion_model.{key}": row for key, row in recorded_headers.load("flux-dev")["tensors"].items()}
    layout = {**model, **{f"text_encoders.clip_l.transformer.{key}": row for key, row in inside.items()}}
    path = recorded_headers.write_file(tmp_path / "all.safetensors", layout)
    _, pieces, _ = rename.made(Settings(file=str(path), kind="clip_l", layout="transformers"))
    assert {piece.name: piece.shape for piece in pieces} == {key: tuple(shape) for key, (_, shape) in inside.items()}


def test_the_command_of_a_fix_can_be_pasted_into_a_terminal() -> None:
    task = Task("rename", {"file": "/a b/it's.safetensors", "kind": "vae_16ch", "layout": "ldm"}, "model.vae")
    assert task.command == """easel tools rename '/a b/it'"'"'s.safetensors' --kind vae_16ch --layout ldm"""

"""What an engine leaves is found, told once, and delivered whole under names that were free."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.played import ended, judged
from trainer_core.engines.seam import ArtefactPattern, Artefacts
from trainer_core.errors import RunError
from trainer_core.events import Checkpoint
from trainer_core.jobs.folder import JobFolder
from trainer_core.training import delivery
from trainer_core.training.artefacts import ArtefactWatch, final_file, matching

FINAL = ArtefactPattern("pipeline", "^pipeline$")
STEPS = ArtefactPattern("checkpoint-*/*", r"^checkpoint-(?P<step>\d+)/(?:unet|pipeline)$")
NONE = ArtefactPattern("none", "^none$")
FOLDERS = Artefacts(FINAL, STEPS, NONE)


def model(folder: Path, weights: bytes = b"weights", index: bool = True) -> Path:
    """A folder as an engine leaves it."""
    (folder / "unet").mkdir(parents=True)
    (folder / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(weights)
    if index:
        (folder / "model_index.json").write_text("{}")
    return folder


def without_links(monkeypatch: pytest.MonkeyPatch) -> None:
    """As from one file system to another."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(params=["linked", "copied"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways a result reaches its place."""
    if request.param == "copied":
        without_links(monkeypatch)
    return request.param


class TestFound:
    def test_folders_that_hold_a_model_are_results(self, tmp_path: Path) -> None:
        model(tmp_path / "pipeline")
        model(tmp_path / "checkpoint-12" / "pipeline")
        part = tmp_path / "checkpoint-6" / "unet"
        part.mkdir(parents=True)
        (part / "model.safetensors").write_bytes(b"part")
        (tmp_path / "checkpoint-9" / "unet").mkdir(parents=True)
        assert final_file(tmp_path, FOLDERS) == tmp_path / "pipeline"
        assert [(int(match["step"]), path.name) for path, match in matching(tmp_path, STEPS)] == [
            (6, "unet"),
            (12, "pipeline"),
        ]

    def test_links_out_of_the_output_folder_are_none(self, tmp_path: Path) -> None:
        outside = model(tmp_path / "private")
        (output := tmp_path / "output").mkdir()
        (output / "pipeline").symlink_to(outside)
        (output / "toy.safetensors").symlink_to(outside / "unet" / "diffusion_pytorch_model.safetensors")
        assert final_file(output, FOLDERS) is None
        assert matching(output, ArtefactPattern("*.safetensors", ".*")) == []
        (output / "last.safetensors").write_bytes(b"whole")
        (output / "again.safetensors").symlink_to("last.safetensors")
        assert len(matching(output, ArtefactPattern("*.safetensors", ".*"))) == 2

    def test_a_folder_is_told_once_when_it_grows_no_more(self, tmp_path: Path) -> None:
        watch = ArtefactWatch(tmp_path, tmp_path / "output", FOLDERS)
        folder = model(tmp_path / "output" / "checkpoint-6" / "pipeline")
        assert list(watch.look(7)) == []
        (folder / "vae").mkdir()
        (folder / "vae" / "model.safetensors").write_bytes(b"more")
        assert list(watch.look(7)) == []
        assert list(watch.look(7)) == [Checkpoint("output/checkpoint-6/pipeline", 6)]
        assert list(watch.look(8)) == []
        model(tmp_path / "output" / "checkpoint-8" / "pipeline")
        assert list(watch.look(8, at_end=True)) == [Checkpoint("output/checkpoint-8/pipeline", 8)]


class TestDelivered:
    def test_a_name_that_is_taken_gives_all_results_the_same_number(self, tmp_path: Path, way: str) -> None:
        (final := tmp_path / "last.safetensors").write_bytes(b"final")
        (folder := tmp_path / "out").mkdir()
        (folder / "toy-step00000005.safetensors").write_bytes(b"older")
        written = list(delivery.deliver(final, [(final, 5)], folder, "toy"))
        assert [path.name for path in written] == ["toy-2.safetensors", "toy-2-step00000005.safetensors"]
        assert (folder / "toy-step00000005.safetensors").read_bytes() == b"older"
        assert len(list(folder.iterdir())) == 3
        assert all(path.samefile(final) == (way == "linked") for path in written)

    def test_folders_keep_what_is_in_them(self, tmp_path: Path, way: str) -> None:
        final, step = model(tmp_path / "run" / "a"), model(tmp_path / "run" / "b", b"early")
        (folder := tmp_path / "out").mkdir()
        (folder / "toy").mkdir()
        written = list(delivery.deliver(final, [(step, 5)], folder, "toy"))
        assert [path.name for path in written] == ["toy-2", "toy-2-step00000005"]
        assert {names(path) == names(final) for path in written} == {True}
        assert list((folder / "toy").iterdir()) == []
        assert len(list(folder.iterdir())) == 3
        (copied := tmp_path / "other").mkdir()
        assert delivery.copy_to(written[0], copied).name == "toy-2"
        # What was delivered outlives the run it came from.
        shutil.rmtree(tmp_path / "run")
        weights = "unet/diffusion_pytorch_model.safetensors"
        assert [(path / weights).read_bytes() for path in (*written, copied / "toy-2")] == [
            b"weights",
            b"early",
            b"weights",
        ]

    def test_a_large_result_lies_on_the_disk_once(self, tmp_path: Path) -> None:
        final = model(tmp_path / "a")
        (written,) = delivery.deliver(final, (), tmp_path / "out", "toy")
        weights = "unet/diffusion_pytorch_model.safetensors"
        assert (written / weights).stat().st_ino == (final / weights).stat().st_ino

    def test_a_dead_link_takes_a_name_as_well(self, tmp_path: Path, way: str) -> None:
        (final := tmp_path / "final.safetensors").write_text("whole")
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "toy.safetensors").symlink_to(tmp_path / "nowhere")
        (written,) = delivery.deliver(final, (), tmp_path / "out", "toy")
        assert written.name == "toy-2.safetensors"

    def test_a_link_is_delivered_as_what_it_leads_to(self, tmp_path: Path, way: str) -> None:
        (tmp_path / "step8.safetensors").write_text("whole")
        (final := tmp_path / "last.safetensors").symlink_to("step8.safetensors")
        (written,) = delivery.deliver(final, (), tmp_path / "out", "toy")
        assert not written.is_symlink()
        assert written.read_text() == "whole"

    def test_a_folder_with_a_link_in_it_is_not_delivered(self, tmp_path: Path, way: str) -> None:
        (private := tmp_path / "private").mkdir()
        (private / "key").write_text("secret")
        for number, (name, target) in enumerate((("key", private / "key"), ("unet/all", private))):
            final = model(tmp_path / f"a{number}")
            (final / name).symlink_to(target)
            with pytest.raises(RunError, match="is a link"):
                list(delivery.deliver(final, (), tmp_path / "out", "toy"))
        assert list((tmp_path / "out").iterdir()) == []

    def test_a_name_that_is_taken_meanwhile_stays_with_who_took_it(self, tmp_path: Path, monkeypatch) -> None:
        """Two runs that end together and both found the name free."""
        folder = tmp_path / "out"
        monkeypatch.setattr(delivery, "_free_stem", lambda *_: "toy")
        file, whole = tmp_path / "last.safetensors", model(tmp_path / "a")
        file.write_text("mine")
        results = (file, whole)
        for linked in (True, False):
            if not linked:
                without_links(monkeypatch)
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            (folder / "toy.safetensors").write_text("theirs")
            (folder / "toy").mkdir()
            (folder / "toy" / "model_index.json").write_text("theirs")
            for source in results:
                with pytest.raises(RunError, match="cannot be written"):
                    list(delivery.deliver(source, (), folder, "toy"))
            assert (folder / "toy.safetensors").read_text() == "theirs"
            assert names(folder / "toy") == {"model_index.json"}
            assert {path.name for path in folder.iterdir()} == {"toy", "toy.safetensors"}

    def test_a_checkpoint_whose_name_is_taken_meanwhile_gets_another_and_the_next_ones_arrive(
        self, tmp_path: Path, way: str
    ) -> None:
        """Somebody takes a checkpoint while the results of its run are delivered."""
        final, folder = tmp_path / "last.safetensors", tmp_path / "out"
        steps = [(tmp_path / f"{step}.safetensors", step) for step in (5, 10)]
        for path in (final, *(path for path, _ in steps)):
            path.write_bytes(path.name.encode())

        def meanwhile(path: Path) -> bool:
            if path.name == "5.safetensors":
                (folder / "toy-step00000005.safetensors").write_bytes(b"theirs")
            return True

        written = [path.name for path in delivery.deliver(final, steps, folder, "toy", meanwhile)]
        assert written == ["toy.safetensors", "toy-2-step00000005.safetensors", "toy-step00000010.safetensors"], way
        assert (folder / "toy-step00000005.safetensors").read_bytes() == b"theirs"

    def test_a_folder_that_cannot_be_written_is_said_and_nothing_is_left(self, tmp_path: Path, monkeypatch) -> None:
        without_links(monkeypatch)
        copied = shutil.copyfile

        def full(source: Path, target: Path) -> object:
            if source.name == "model_index.json":
                raise OSError(errno.ENOSPC, "No space left on device")
            return copied(source, target)

        monkeypatch.setattr(shutil, "copyfile", full)
        with pytest.raises(RunError, match="No space left on device"):
            list(delivery.deliver(model(tmp_path / "a"), (), tmp_path / "out", "toy"))
        assert list((tmp_path / "out").iterdir()) == []
        (tmp_path / "file").touch()
        with pytest.raises(RunError, match="cannot be written"):
            list(delivery.deliver(tmp_path / "a", (), tmp_path / "file" / "out", "toy"))

    def test_a_reader_never_meets_half_a_folder(self, tmp_path: Path, monkeypatch) -> None:
        without_links(monkeypatch)
        final = model(tmp_path / "a", b"x" * (1 << 20))
        seen: list[set[str]] = []
        stop = threading.Event()

        def read() -> None:
            while not stop.is_set():
                if (tmp_path / "out" / "toy").exists():
                    seen.append(names(tmp_path / "out" / "toy"))

        reader = threading.Thread(target=read)
        reader.start()
        list(delivery.deliver(final, (), tmp_path / "out", "toy"))
        stop.set()
        reader.join()
        assert all(found == names(final) for found in seen)


def test_a_full_disk_on_the_way_leaves_what_arrived_and_says_where(tmp_path, monkeypatch):
    run = ended(tmp_path, steps=4, output={"save_every_steps": 2})
    without_links(monkeypatch)
    copied = shutil.copyfile

    def full(source, target):
        if "-step" in target.name:
            raise OSError(errno.ENOSPC, "No space left on device")
        return copied(source, target)

    monkeypatch.setattr(shutil, "copyfile", full)
    found = judged(run.folder)
    assert [Path(file).name for file in found.outputs] == ["cg_mika-2.safetensors"]
    assert "No space left" in found.notices[0]


def test_what_is_delivered_stays_when_its_run_is_removed(tmp_path):
    run = ended(tmp_path, steps=4, output={"save_every_steps": 2, "copy_to": str(tmp_path / "comfy")})
    assert run.result is not None
    files = [Path(file) for file in run.result["outputs"]]
    before = [file.read_bytes() for file in files]
    run.folder.remove()
    assert [file.read_bytes() for file in files] == before
    assert len(files) == 3


class TestPermissions:
    """ComfyUI may run as another user, so it must be able to read a delivered file; run folders are the user's own."""

    @pytest.fixture(params=[0o022, 0o002, 0o077])
    def usual(self, request: pytest.FixtureRequest) -> Iterator[int]:
        """The permissions of new files under different umasks."""
        before = os.umask(request.param)
        yield 0o666 & ~request.param
        os.umask(before)

    def test_a_delivered_file_has_the_permissions_of_a_new_file(self, tmp_path: Path, way: str, usual: int) -> None:
        (final := tmp_path / "run.safetensors").write_bytes(b"weights")
        final.chmod(0o600)  # as safetensors writes it
        (written,) = delivery.deliver(final, (), tmp_path / "loras", "toy")
        assert stat.S_IMODE(written.stat().st_mode) == usual
        assert names(tmp_path / "loras") == {"toy.safetensors"}
        assert way

    def test_a_delivered_folder_has_them_too(self, tmp_path: Path, way: str, usual: int) -> None:
        pipeline = model(tmp_path / "pipeline")
        for path in pipeline.rglob("*.*"):
            path.chmod(0o600)
        (written,) = delivery.deliver(pipeline, (), tmp_path / "models", "toy")
        assert {stat.S_IMODE(path.stat().st_mode) for path in written.rglob("*.*")} == {usual}
        assert way

    def test_a_run_folder_is_for_its_owner_alone(self, tmp_path: Path, usual: int) -> None:
        made = JobFolder.create(tmp_path / "runs", "toy")
        assert stat.S_IMODE(made.path.stat().st_mode) == 0o700
        assert usual


def test_a_result_that_is_a_link_to_itself_ends_the_delivery_with_a_sentence(tmp_path: Path, way: str) -> None:
    loop = tmp_path / "loop.safetensors"
    loop.symlink_to(loop)
    with pytest.raises(RunError, match="leads to itself"):
        list(delivery.deliver(loop, (), tmp_path / "there", "mika"))
    assert not names(tmp_path / "there")
    assert not [*(tmp_path / "there").iterdir()]


def test_a_loop_of_links_in_the_output_folder_is_no_result(tmp_path: Path) -> None:
    (tmp_path / "pipeline").symlink_to(tmp_path / "pipeline")
    assert final_file(tmp_path, FOLDERS) is None

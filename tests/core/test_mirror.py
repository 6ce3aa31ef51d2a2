"""The mirror of a run: real runs of the rehearsal engine, real files."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.support import buckets
from tests.support.played import ended, start
from trainer_core.cli import easel, main
from trainer_core.cli.run_commands import mirror as command
from trainer_core.errors import RunError
from trainer_core.jobs import processes
from trainer_core.jobs.folder import JobFolder
from trainer_core.jobs.spec import Spec, Step
from trainer_core.jobs.state import JobState
from trainer_core.prepare.workbench import Workbench
from trainer_core.training import mirror
from trainer_core.training.folder import RunFolder
from trainer_core.training.mirroring import Mirroring


def sha(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def made(tmp_path):
    """A run that looks as one with two checkpoints: its records are written as the supervisor writes them."""
    folder = JobFolder.create(tmp_path / "runs", "mika")
    run = RunFolder(folder.path)
    run.output.mkdir()
    with run.events.open("w") as file:
        for step in (2, 4):
            (run.output / f"mika-{step}.safetensors").write_bytes(os.urandom(300_000))
            file.write(
                json.dumps({"kind": "checkpoint", "path": f"output/mika-{step}.safetensors", "step": step}) + "\n"
            )
    folder.write_spec(Spec("training", (Step("train", ("true",)),), folder.path))
    (tmp_path / "drive").mkdir()
    return run


def test_a_run_mirrors_itself_while_it_trains_and_at_its_end(tmp_path, monkeypatch, capsys):
    (tmp_path / "drive").mkdir()
    run = ended(tmp_path, steps=40, output={"save_every_steps": 10, "mirror_to": str(tmp_path / "drive")})
    assert run.state is JobState.COMPLETED
    until = time.monotonic() + 60
    there = tmp_path / "drive" / run.name
    # The last pass is made by what is called after the job.
    while time.monotonic() < until and not (there / "result.json").is_file():
        time.sleep(0.1)
    saved = {path.relative_to(run.folder.path) for path in run.folder.output.rglob("*-step*.safetensors")}
    assert len(saved) == 3
    assert all(sha(there / path) == sha(run.folder.path / path) for path in saved)
    assert [path.name for path in (there / "finished").iterdir()] == ["cg_mika.safetensors"]
    proved = mirror.copies(run.folder)
    delivered = sha(tmp_path / "out/cg_mika.safetensors")
    assert sha(there / "finished/cg_mika.safetensors") == proved["finished/cg_mika.safetensors"] == delivered
    assert all(proved[path.as_posix()] == sha(there / path) for path in saved)
    assert not list(there.rglob("*.part"))
    monkeypatch.setenv("EASEL_HOME", str(tmp_path))
    with pytest.raises(SystemExit) as ended_with:
        main(["runs", "mirror", run.name, "--json"])
    assert not ended_with.value.code
    assert json.loads(capsys.readouterr().out)["folder"] == str(there)


def test_the_result_of_a_whole_model_is_that_of_the_engine(tmp_path):
    run = ended(tmp_path, steps=4)
    shutil.rmtree(run.folder.path / "finished")
    (tmp_path / "drive").mkdir()
    done = mirror.mirror(run.folder, str(tmp_path / "drive"))
    assert sha(done.folder / "finished/cg_mika.safetensors") == sha(run.folder.output / "cg_mika.safetensors")


def test_a_copy_goes_on_where_it_was_ended(made, tmp_path):
    target = tmp_path / "drive" / made.path.name / "output"
    first = mirror.mirror(made, str(tmp_path / "drive"))
    assert first.folder == target.parent
    source = made.output / "mika-4.safetensors"
    (target / source.name).unlink()
    part = target / f".{source.name}.part"
    part.write_bytes(source.read_bytes()[:200_000])
    before = part.stat().st_ino
    again = mirror.mirror(made, str(tmp_path / "drive"))
    assert again.copied == ("output/mika-4.safetensors",)
    assert (target / source.name).stat().st_ino == before
    assert sha(target / source.name) == sha(source)
    assert mirror.mirror(made, str(tmp_path / "drive")).copied == ()


@pytest.mark.parametrize("rest", [b"other" * 1000, b"x" * 400_000])
def test_a_part_that_is_not_the_beginning_of_the_file_is_not_used(made, tmp_path, rest):
    target = tmp_path / "drive" / made.path.name / "output"
    mirror.mirror(made, str(tmp_path / "drive"))
    source = made.output / "mika-4.safetensors"
    (target / source.name).unlink()
    (target / f".{source.name}.part").write_bytes(rest)
    mirror.mirror(made, str(tmp_path / "drive"))
    assert sha(target / source.name) == sha(source)


def test_what_lies_in_the_folder_already_is_neither_replaced_nor_deleted(made, tmp_path):
    theirs = tmp_path / "drive" / made.path.name / "output" / "mika-2.safetensors"
    theirs.parent.mkdir(parents=True)
    theirs.write_bytes(b"another run with this name")
    done = mirror.mirror(made, str(tmp_path / "drive"))
    assert done.folder.name == f"{made.path.name}-2"
    assert theirs.read_bytes() == b"another run with this name"
    (made.output / "mika-2.safetensors").unlink()
    assert mirror.mirror(made, str(tmp_path / "drive")).folder == done.folder
    assert (done.folder / "output/mika-2.safetensors").is_file()


def test_a_disk_that_is_not_mounted_gets_no_folder(made, tmp_path):
    with pytest.raises(RunError, match="There is no folder") as refused:
        mirror.mirror(made, str(tmp_path / "drive/MyDrive/loras"))
    assert "Mount" in refused.value.hint
    assert list((tmp_path / "drive").iterdir()) == []


@pytest.mark.parametrize("path", ["../secret", "output/link", "/etc/hostname"])
def test_a_run_folder_from_elsewhere_leads_to_no_other_file(made, tmp_path, path):
    (tmp_path / "runs/secret").write_text("hidden")
    (made.output / "link").symlink_to(tmp_path / "runs/secret")
    with made.events.open("a") as file:
        file.write(json.dumps({"kind": "checkpoint", "path": path, "step": 9}) + "\n")
    done = mirror.mirror(made, str(tmp_path / "drive"))
    assert set(done.copied) == {
        "events.jsonl",
        "spec.json",
        "versions.json",
        "output/mika-2.safetensors",
        "output/mika-4.safetensors",
    }


def test_it_copies_no_faster_than_it_may():
    slept = []
    pace = mirror.Pace(1000, slept.append)
    pace.add(5000)
    assert 4 < slept[0] <= 5


def test_the_watch_waits_for_no_pass_and_says_once_what_is_wrong(made, tmp_path):
    watching = Mirroring(made, {"output": {"mirror_to": str(tmp_path / "missing/drive")}})
    assert watching.look(0, is_new=False) == ""
    began = time.monotonic()
    assert watching.look(1, is_new=True) == ""
    assert time.monotonic() - began < 1
    until, said = time.monotonic() + 60, ""
    while not said and time.monotonic() < until:
        # As a supervisor does, which collects the children that have ended.
        processes.reap()
        said = watching.look(2, is_new=False)
        time.sleep(0.05)
    assert "There is no folder" in said
    assert watching.look(3, is_new=False) == ""
    assert Mirroring(made, {}).look(0, is_new=True) == ""


def test_a_run_is_mirrored_to_a_bucket_and_only_what_is_new_is_sent_again(made, tmp_path, monkeypatch):
    monkeypatch.setenv("EASEL_HOME", str(tmp_path))
    with buckets.place() as place:
        for name, value in place.environment.items():
            monkeypatch.setenv(name, value)
        place.put(f"kept/{made.path.name}/stranger.txt", b"of somebody else")
        address = f"s3://{place.name}/kept/"

        def passed():
            answer = CliRunner().invoke(easel, ["runs", "mirror", str(made.path), "--to", address, "--json"])
            assert answer.exit_code == 0, answer.output
            return json.loads(answer.output)

        first = passed()
        base = f"kept/{made.path.name}-2/"
        assert first["folder"] == f"s3://{place.name}/{base}", "a folder with other objects is left alone"
        for step in (2, 4):
            name = f"output/mika-{step}.safetensors"
            assert place.get(f"{base}{name}") == (made.path / name).read_bytes()
        assert place.get(f"kept/{made.path.name}/stranger.txt") == b"of somebody else"

        again = passed()
        assert (again["copied"], again["there"]) == ([], len(first["copied"]))
        with made.events.open("a") as file:
            (made.output / "mika-6.safetensors").write_bytes(os.urandom(1000))
            file.write(json.dumps({"kind": "checkpoint", "path": "output/mika-6.safetensors", "step": 6}) + "\n")
        assert set(passed()["copied"]) == {"output/mika-6.safetensors", "events.jsonl"}
        assert place.get(f"{base}events.jsonl") == made.events.read_bytes()

        # A service that refuses ends the pass; the next one sends only what is missing.
        (made.output / "mika-4.safetensors").write_bytes(os.urandom(2000))
        place.network.fault(method="PUT", path="mika-4", status=403, code="AccessDenied", times=1)
        refused = CliRunner().invoke(easel, ["runs", "mirror", str(made.path), "--to", address])
        assert refused.exit_code != 0
        assert "Traceback" not in refused.output
        assert passed()["copied"] == ["output/mika-4.safetensors"]


def test_the_mirror_follows_a_run_until_its_end(tmp_path, monkeypatch):
    monkeypatch.setattr(command, "WAIT_S", 0.1)
    (tmp_path / "drive").mkdir()
    run = start(tmp_path, steps=40, output={"save_every_steps": 10})
    answer = CliRunner().invoke(
        easel, ["runs", "mirror", str(run.folder.path), "--to", str(tmp_path / "drive"), "--follow"]
    )
    assert answer.exit_code == 0, answer.output
    assert run.state is JobState.COMPLETED
    assert (tmp_path / "drive" / run.name / "result.json").is_file()


@pytest.mark.parametrize(("name", "is_refused"), [("drive", False), ("drive/easel", False), ("none/easel", True)])
def test_the_folder_of_the_mirror_is_made_if_the_one_above_it_is_there(tmp_path, monkeypatch, name, is_refused):
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "home"))
    (tmp_path / "drive").mkdir()
    bench = Workbench(engine="rehearsal")
    bench.set({"output.mirror_to": str(tmp_path / name)})
    said = [problem.message for problem in bench.problems if problem.path == "output.mirror_to"]
    assert ["Mount its disk" in message for message in said] == [True] * is_refused

"""The mirror of a run, where the run folder or the folder that it writes to is not as the mirror left it."""

from __future__ import annotations

import errno
import json
import os
import shutil

import pytest
from click.testing import CliRunner

from tests.support import buckets
from tests.support.played import start
from trainer_core import events
from trainer_core.cli import easel
from trainer_core.errors import RunError
from trainer_core.jobs.folder import JobFolder
from trainer_core.jobs.spec import Spec, Step
from trainer_core.remote import bucket_mirror
from trainer_core.training import mirror, mirror_end, mirror_notes, mirror_place
from trainer_core.training.folder import MIRROR_LOG, RunFolder
from trainer_core.training.mirroring import Mirroring
from trainer_core.training.run import Run
from trainer_core.training.verdict import verdict


@pytest.fixture
def made(tmp_path):
    """A run with one checkpoint, as the supervisor writes it, and a folder `drive` beside the runs."""
    folder = JobFolder.create(tmp_path / "runs", "mika")
    run = RunFolder(folder.path)
    run.output.mkdir()
    save(run, 2)
    folder.write_spec(
        Spec(
            "training",
            (Step("train", ("true",)),),
            folder.path,
            details={"plan": {"output": {"mirror_to": str(tmp_path / "drive")}}},
        )
    )
    (tmp_path / "drive").mkdir()
    return run


@pytest.fixture
def drive(tmp_path):
    return tmp_path / "drive"


def save(run: RunFolder, step: int, path: str | None = None, content: bytes = b"") -> str:
    name = f"output/mika-{step}.safetensors" if path is None else path
    if path is None or content:
        (run.path / name).write_bytes(content or os.urandom(3000))
    with run.events.open("a") as file:
        file.write(json.dumps({"kind": "checkpoint", "path": name, "step": step}) + "\n")
    return name


@pytest.mark.parametrize("where", ["photos", "..", ".", "RUN"])
def test_a_record_that_came_with_the_run_folder_does_not_say_where_to_write(made, drive, where):
    theirs = drive / where.replace("RUN", made.path.name)
    theirs.mkdir(exist_ok=True)
    (theirs / "spec.json").write_text("mine")
    name = where.replace("RUN", made.path.name)
    record = mirror_place.Record(made, "0" * 32, {str(drive): {"name": name, "files": {"spec.json": {}}}})
    record.write()
    if where != "RUN":
        # Even a mark does not help where the name is not that of the run.
        (theirs / mirror_place.MARKER).write_text(json.dumps(record.mark))
    done = mirror.mirror(made, str(drive))
    assert done.folder.parent == drive
    assert done.folder != theirs
    assert (theirs / "spec.json").read_text() == "mine"


def test_a_copy_of_a_run_folder_is_another_run(made, drive, tmp_path):
    first = mirror.mirror(made, str(drive)).folder
    kept = (first / "output/mika-2.safetensors").read_bytes()
    (tmp_path / "elsewhere").mkdir()
    copy = RunFolder(shutil.copytree(made.path, tmp_path / "elsewhere" / made.path.name))
    (copy.output / "mika-2.safetensors").write_bytes(b"other")
    assert mirror.mirror(copy, str(drive)).folder.name == f"{made.path.name}-2"
    assert (first / "output/mika-2.safetensors").read_bytes() == kept
    (tmp_path / "later").mkdir()
    later = RunFolder(shutil.copytree(made.path, tmp_path / "later" / made.path.name))
    shutil.rmtree(first)
    assert mirror.mirror(later, str(drive)).folder == first, "what the first run has made is not missed by another"


def test_a_file_that_the_mirror_has_not_written_stays_and_is_said(made, drive):
    there = mirror.mirror(made, str(drive)).folder
    (there / "output/mika-4.safetensors").write_bytes(b"the user's own")
    (there / "output/mika-6.safetensors").symlink_to(drive)
    names = [save(made, step) for step in (4, 6, 8)]
    done = mirror.mirror(made, str(drive))
    assert names[2] in done.copied
    assert (there / "output/mika-4.safetensors").read_bytes() == b"the user's own"
    assert [left.partition(":")[0] for left in done.left] == names[:2]
    answer = CliRunner().invoke(easel, ["runs", "mirror", str(made.path)])
    assert answer.exit_code == 1
    assert "Left out: output/mika-4.safetensors" in answer.output
    assert mirror.main([str(made.path), str(drive)]) == 1


@pytest.mark.parametrize("kind", ["part", "hard link", "folder"])
def test_no_link_in_the_folder_is_followed(made, drive, tmp_path, kind):
    there = mirror.mirror(made, str(drive)).folder
    own = tmp_path / "own"
    if kind == "folder":
        own.mkdir()
        shutil.rmtree(there / "output")
        (there / "output").symlink_to(own)
    else:
        own.write_bytes(b"the user's own")
        part = there / "output/.mika-4.safetensors.part"
        part.symlink_to(own) if kind == "part" else part.hardlink_to(own)
    name = save(made, 4)
    done = mirror.mirror(made, str(drive))
    assert any(left.startswith(name) for left in done.left)
    assert "events.jsonl" in done.copied, "the others are copied"
    assert list(own.iterdir()) == [] if kind == "folder" else own.read_bytes() == b"the user's own"


def test_a_pass_that_is_ended_before_the_record_knows_its_own_file_again(made, drive, monkeypatch):
    there = mirror.mirror(made, str(drive)).folder
    name, write = save(made, 4), mirror_place.Record.write

    def full(record):
        if (there / name).exists():
            raise OSError(errno.ENOSPC, "full")
        write(record)

    with monkeypatch.context() as patched:
        patched.setattr(mirror_place.Record, "write", full)
        with pytest.raises(RunError):
            mirror.mirror(made, str(drive))
    (made.path / name).write_bytes(b"new")
    assert mirror.mirror(made, str(drive)).left == ()
    assert (there / name).read_bytes() == b"new"


def test_a_full_disk_gets_no_folder_for_each_try(made, drive, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "full")

    with monkeypatch.context() as patched:
        patched.setattr(mirror_place, "write_whole", full)
        with pytest.raises(RunError):
            mirror.mirror(made, str(drive))
    assert list(drive.iterdir()) == []


def test_a_disk_that_was_there_before_and_is_not_mounted_now_is_refused(made, drive):
    there = mirror.mirror(made, str(drive)).folder
    drive.rename(drive.with_name("disk"))
    for is_there in (False, True):
        # The folder in the mount point is gone, or the mount point itself is the chosen folder.
        if is_there:
            drive.mkdir()
        with pytest.raises(RunError, match="no longer in") as refused:
            mirror.mirror(made, str(drive))
        assert "Mount the disk" in refused.value.hint
    assert list(drive.iterdir()) == []
    drive.rmdir()
    drive.with_name("disk").rename(drive)
    assert mirror.mirror(made, str(drive)).folder == there


def test_another_disk_at_the_same_place_is_named(made, drive):
    there = mirror.mirror(made, str(drive)).folder
    record = mirror_place.read(made)
    record.targets[str(drive)]["device"] += 1
    record.write()
    # A disk that is mounted again may have another number: the mark decides.
    assert mirror.mirror(made, str(drive)).folder == there
    record.write()
    shutil.rmtree(there)
    with pytest.raises(RunError, match="on another disk"):
        mirror.mirror(made, str(drive))


def test_a_copy_that_lost_its_content_is_made_again(made, drive):
    there = mirror.mirror(made, str(drive)).folder
    copy = there / "output/mika-2.safetensors"
    copy.write_bytes(b"")
    assert mirror.mirror(made, str(drive)).copied == ("output/mika-2.safetensors",)
    assert copy.read_bytes() == (made.output / "mika-2.safetensors").read_bytes()


def test_going_back_to_an_earlier_folder_goes_on_there_however_it_is_written(made, drive, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "link").symlink_to(drive)
    there = mirror.mirror(made, str(drive)).folder
    mirror.mirror(made, str(tmp_path / "other"))
    for same in (drive, tmp_path / "link", drive / "../drive"):
        done = mirror.mirror(made, str(same))
        assert (done.folder, done.copied) == (there, ())


def test_going_back_to_an_earlier_bucket_folder_goes_on_there_and_a_copied_run_is_another(made, tmp_path, monkeypatch):
    monkeypatch.setenv("EASEL_HOME", str(tmp_path))
    with buckets.place() as place:
        for name, value in place.environment.items():
            monkeypatch.setenv(name, value)

        def passed(run, to):
            answer = CliRunner().invoke(
                easel, ["runs", "mirror", str(run), "--to", f"s3://{place.name}/{to}/", "--json"]
            )
            assert answer.exit_code == 0, answer.output
            return json.loads(answer.output)

        first = passed(made.path, "a")
        passed(made.path, "b")
        again = passed(made.path, "a")
        assert (again["folder"], again["copied"]) == (first["folder"], [])
        place.put(f"a/{made.path.name}/output/mika-4.safetensors", b"of somebody else")
        save(made, 4)
        last = save(made, 6)
        answer = CliRunner().invoke(
            easel, ["runs", "mirror", str(made.path), "--to", f"s3://{place.name}/a/", "--json"]
        )
        assert answer.exit_code == 1
        assert last in json.loads(answer.output)["copied"]
        assert json.loads(answer.output)["left_out"][0].startswith("output/mika-4.safetensors: ")
        assert place.get(f"a/{made.path.name}/output/mika-4.safetensors") == b"of somebody else"
        (tmp_path / "elsewhere").mkdir()
        copy = shutil.copytree(made.path, tmp_path / "elsewhere" / made.path.name)
        other = passed(copy, "a")["folder"]
        assert other == f"{first['folder'].rstrip('/')}-2/"

        # The folder now says that it belongs to the other run, or to nobody: nothing in it is replaced.
        marker = f"a/{made.path.name}/{mirror_place.MARKER}"
        before = place.get(f"a/{made.path.name}/events.jsonl")
        save(made, 8)
        for content, words in (
            (place.get(f"a/{made.path.name}-2/{mirror_place.MARKER}"), "another run"),
            (b"{}", "another run"),
            (None, "no longer has"),
        ):
            if content is None:
                place.plain.delete_object(Bucket=place.name, Key=marker)
            else:
                place.put(marker, content)
            answer = CliRunner().invoke(easel, ["runs", "mirror", str(made.path), "--to", f"s3://{place.name}/a/"])
            assert words in str(answer.exception)
            assert place.get(f"a/{made.path.name}/events.jsonl") == before

        monkeypatch.setattr(bucket_mirror, "MOST_FOLDERS", 2)
        copy = shutil.copytree(made.path, tmp_path / "third" / made.path.name)
        answer = CliRunner().invoke(easel, ["runs", "mirror", str(copy), "--to", f"s3://{place.name}/a/"])
        assert "2 folders with the name of this run belong to others" in str(answer.exception)


@pytest.mark.parametrize("path", ["/", "/etc", ".", "", "..", "output/a\0b", "output/\ud800", "output/" + "x" * 300])
def test_a_path_that_cannot_be_one_is_passed_over(made, drive, path):
    save(made, 9, path)
    assert mirror.mirror(made, str(drive)).copied[0] == "output/mika-2.safetensors"
    assert len(list(drive.rglob("*.safetensors"))) == 1


def test_a_name_that_is_too_long_there_is_said_and_the_others_are_copied(made, drive):
    name = save(made, 4, "output/" + "x" * 252, b"new")
    last = save(made, 6)
    done = mirror.mirror(made, str(drive))
    assert last in done.copied
    assert [left[:20] for left in done.left] == [name[:20]]
    assert "too long" in done.lack


@pytest.mark.parametrize("to", ["/tmp/a\0b", "/tmp/\ud800", " ", "RUNS"])
def test_a_folder_that_cannot_be_one_is_refused(made, tmp_path, to):
    before = sorted((tmp_path / "runs").iterdir())
    with pytest.raises(RunError, match=r"not a path|folder of the runs"):
        mirror.mirror(made, to.replace("RUNS", str(tmp_path / "runs")))
    assert sorted((tmp_path / "runs").iterdir()) == before
    if to.startswith("/tmp"):
        assert "could not be started" in Mirroring(made, {"output": {"mirror_to": to}}).look(0, is_new=True)


@pytest.mark.parametrize("kind", ["pipe", "link"])
def test_a_log_that_is_a_pipe_or_a_link_is_neither_waited_for_nor_written(made, drive, tmp_path, kind):
    own = tmp_path / "own"
    own.write_bytes(b"the user's own")
    log = made.path / MIRROR_LOG
    os.mkfifo(log) if kind == "pipe" else log.symlink_to(own)
    assert "could not be started" in Mirroring(made, {"output": {"mirror_to": str(drive)}}).look(0, is_new=True)
    assert mirror.mirror(made, str(drive)).copied
    assert own.read_bytes() == b"the user's own"


def test_a_mirror_that_failed_at_the_end_is_told_until_a_pass_has_made_up_for_it(made, drive, capsys):
    drive.rmdir()
    drive.write_bytes(b"no folder")
    mirror_end.job_ended(made.path)
    assert "Not mirrored" in capsys.readouterr().out
    shown = CliRunner().invoke(easel, ["runs", "show", str(made.path)]).output
    assert "mirror: Not all was mirrored." in shown
    told = json.loads(CliRunner().invoke(easel, ["runs", "show", str(made.path), "--json"]).output)
    assert told["mirror"].startswith("Not all was mirrored.")
    rows = verdict(Run.attach(made.path), is_for_page=True)
    assert told["mirror"] in [row["text"] for row in rows if row["label"] == "Mirror"]
    drive.unlink()
    drive.mkdir()
    mirror.mirror(made, str(drive))
    assert mirror_notes.lack_of(made) == ""


@pytest.mark.parametrize("figure", [float("inf"), float("nan"), -1, -0.5])
def test_figures_of_a_transfer_are_finite_and_not_negative(figure):
    line = {"kind": "transfer", "what": "x", "bytes_per_s": figure, "total_bytes": figure}
    assert events.from_dict(line) == events.Transfer("x")
    assert events.from_dict({**line, "done_bytes": figure}) is None
    assert events.from_dict({"kind": "progress", "step": 1, "total": 2, "seconds_per_step": figure}) == events.Progress(
        1, 2
    )


def test_a_run_that_would_be_mirrored_among_the_runs_is_not_started(tmp_path, monkeypatch):
    monkeypatch.setenv("EASEL_HOME", str(tmp_path))
    (tmp_path / "runs").mkdir()
    with pytest.raises(RunError, match="the folder of the runs"):
        start(tmp_path, output={"mirror_to": str(tmp_path / "runs")})

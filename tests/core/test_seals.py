"""What this Easel wrote is recognised, and a command in a folder from somebody else is never started."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.commands import WAITS, launched, log, lose, nothing_left, prepared, until_file
from tests.support.played import LIMIT_S, until
from trainer_core import places
from trainer_core.errors import JobError
from trainer_core.jobs import seal
from trainer_core.jobs.job import Job
from trainer_core.jobs.processes import Identity
from trainer_core.jobs.recovery import adopt
from trainer_core.jobs.state import JobState


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def ended_copy(folder: Path, proof: Path, *, with_end: bool) -> Job:
    """A folder as somebody else could have sent it: its commands were replaced, and nothing says where it was started."""
    here = launched(folder / "jobs", "print('one')", "print('two')")
    here.wait(LIMIT_S)
    # The supervisor ends a moment after it has written the result.
    supervisor = Identity.from_dict(here.folder.read("runner.json"))
    assert supervisor is not None
    until(lambda: not supervisor.alive)
    evil = Job.attach(shutil.copytree(here.folder.path, folder / "evil"))
    spec = evil.folder.read("spec.json")
    for step in spec["steps"]:
        step["argv"] = [sys.executable, "-c", f"open({str(proof)!r}, 'w')"]
    evil.folder.write("spec.json", spec)
    names = ["result.json", "stop", "heartbeat.json", "engine.json", "wrapper.json", "events.jsonl"]
    for name in [*names, *([] if with_end else ["program-end.json"])]:
        (evil.folder.path / name).unlink(missing_ok=True)
    if with_end:
        evil.folder.write("program-end.json", {"number": 1, "exit_code": 0})
        evil.folder.write("engine.json", {"number": 1, "pid": 1, "started": "0"})
    return evil


def without_origin(job: Job) -> None:
    record = job.folder.read("runner.json")
    job.folder.write("runner.json", {"pid": record["pid"], "started": record["started"]})


@pytest.mark.parametrize("with_end", [False, True])
@pytest.mark.parametrize("claims", ["nothing", "a copy", "to be here"])
def test_adopting_a_folder_from_somebody_else_starts_none_of_its_commands(tmp_path, with_end, claims):
    proof = tmp_path / "proof"
    evil = ended_copy(tmp_path, proof, with_end=with_end)
    if claims == "nothing":
        without_origin(evil)
    elif claims == "to be here":
        record = evil.folder.read("runner.json")
        record["origin"]["path"] = str(evil.folder.path)
        evil.folder.write("runner.json", record)
    assert evil.state is JobState.LOST
    adopt(evil)
    assert evil.wait(LIMIT_S) is JobState.LOST
    assert not proof.exists()
    assert "started no command" in evil.folder.events.read_text()


def test_the_supervisor_itself_starts_no_command_of_such_a_folder(tmp_path):
    proof = tmp_path / "proof"
    evil = ended_copy(tmp_path, proof, with_end=True)
    without_origin(evil)
    command = [sys.executable, "-m", "trainer_core.jobs.supervisor", str(evil.folder.path), "--adopt", "--force"]
    subprocess.run(command, cwd=places.CHECKOUT, check=True)
    assert evil.wait(LIMIT_S) is JobState.LOST
    assert not proof.exists()


def test_a_spec_that_was_changed_after_the_start_is_not_gone_on_with(tmp_path):
    proof = tmp_path / "proof"
    here = launched(tmp_path / "jobs", until_file(tmp_path / "go"), "print('two')")
    until(lambda: "waiting" in log(here))
    lose(here)
    spec = here.folder.read("spec.json")
    spec["steps"][1]["argv"] = [sys.executable, "-c", f"open({str(proof)!r}, 'w')"]
    here.folder.write("spec.json", spec)
    (tmp_path / "go").touch()
    adopt(here)
    assert here.wait(LIMIT_S) is JobState.LOST
    assert not proof.exists()


def test_a_process_that_a_folder_without_an_origin_names_is_not_ended(tmp_path):
    other = launched(tmp_path / "jobs", WAITS)
    evil = ended_copy(tmp_path, tmp_path / "proof", with_end=False)
    without_origin(evil)
    for name in ("engine.json", "wrapper.json"):
        shutil.copyfile(other.folder.path / name, evil.folder.path / name)
    with pytest.raises(JobError, match="still runs"):
        adopt(evil)
    assert other.state is JobState.RUNNING
    other.stop(1.0)
    until(lambda: nothing_left(other))


@pytest.mark.parametrize("name", ["runner.log", "engine.log", "events.jsonl", "reserve", "lock"])
def test_no_supervisor_writes_through_a_link(tmp_path, name):
    outside = tmp_path / "outside"
    outside.write_text("mine")
    here = prepared(tmp_path / "jobs", "print('one')")
    (here.folder.path / name).symlink_to(outside)
    with pytest.raises(JobError, match="is a link"):
        here.launch()
    assert outside.read_text() == "mine"


def test_of_many_processes_that_make_the_key_all_have_the_same(home):
    code = "from trainer_core.jobs import seal; print(seal.of(b'x'))"
    started = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=places.CHECKOUT) for _ in range(4)
    ]
    assert len({each.communicate()[0] for each in started}) == 1
    assert (home / seal.FILE).stat().st_mode & 0o777 == 0o600
    assert [path.name for path in home.iterdir()] == [seal.FILE]


def test_a_damaged_key_is_an_error_and_stays_as_it_is(home):
    sealed = seal.of(b"x")
    assert seal.fits(b"x", sealed)
    assert not seal.fits(b"y", sealed)
    (home / seal.FILE).write_bytes(b"short")
    for use in (lambda: seal.of(b"x"), lambda: seal.fits(b"x", sealed), seal.key_name):
        with pytest.raises(seal.SealError, match="is damaged: it has 5 bytes"):
            use()
    assert (home / seal.FILE).read_bytes() == b"short"

"""Which states of a run are recorded, whatever ends it, and from which of them it can be continued."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess

import pytest

from backends.rehearsal import SCORE, play
from tests.support.played import LIMIT_S, job
from trainer_core.engines import registry
from trainer_core.engines.seam import StatePattern
from trainer_core.jobs import seal
from trainer_core.jobs.origin import Origin
from trainer_core.jobs.recovery import adopt
from trainer_core.jobs.state import JobState
from trainer_core.training import resume, state_watch, states
from trainer_core.training.run import Run
from trainer_core.training.state_watch import StateWatch


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A home of its own, because the runs and the key of the states are in it."""
    monkeypatch.setenv("EASEL_HOME", str(tmp_path))


@pytest.fixture
def small_disk(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], check=False).returncode:
        pytest.skip("no disk of 1 MiB can be mounted here")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def name(step: int) -> str:
    return f"cg_mika-step{step:08d}-state"


def prepared(tmp_path, keep: int = 2) -> Run:
    plan = job(tmp_path, output={"save_every_steps": 5, "keep_states": keep})
    return Run.prepare(plan, registry.get("rehearsal"), None, folder=tmp_path / "runs")


def save(run: Run, step: int) -> None:
    """Saves a state as the engine does."""
    score = json.loads((run.folder.path / SCORE).read_text())
    play.write_state(score, name(step), step)


def watch(run: Run) -> StateWatch:
    return StateWatch(run.folder, run.folder.rendered.artefacts.states)


def stopped(tmp_path, *at: int) -> Run:
    """A run that was stopped after it had saved the states of these steps."""
    run = prepared(tmp_path)
    for step in at:
        save(run, step)
    watch(run).look(at[-1], at_end=True)
    assert run.stop() is JobState.CANCELLED
    return run


def test_a_run_that_is_stopped_before_its_engine_starts_is_continued_from_the_state_that_it_began_with(tmp_path):
    runs = [stopped(tmp_path, 5)]
    for _ in range(2):
        runs.append(resume.start(resume.propose(runs[-1])))
        assert runs[-1].stop() is JobState.CANCELLED
        found = resume.propose(runs[-1])
        assert (found.step, found.distrust, found.notes) == (5, "", ())
    # What is not as it was recorded needs the user's trust all the same.
    (runs[-1].folder.output / name(5) / "state.json").write_text("{}")
    assert "state.json is not the file" in resume.propose(runs[-1]).distrust


def test_a_state_that_the_user_trusts_needs_no_trust_again_in_the_run_that_continues(tmp_path):
    run = stopped(tmp_path, 5)
    (run.folder.path / states.FILE).unlink()
    again = resume.start(resume.propose(run), trusted=True)
    again.stop()
    assert resume.propose(again).distrust == ""


def test_no_state_is_removed_for_one_whose_record_could_not_be_written(tmp_path):
    run = prepared(tmp_path, keep=1)
    seen, records = watch(run), run.folder.path / states.FILE
    save(run, 5)
    seen.look(5, at_end=True)
    kept = records.rename(records.with_name("kept"))
    # No file of this name can be written now.
    records.mkdir()
    save(run, 10)
    for _ in range(2):
        seen.look(10, at_end=True)
    assert (run.folder.output / name(5)).is_dir()
    records.rmdir()
    kept.rename(records)
    seen.look(10, at_end=True)
    assert set(states.records(run.folder)) == {name(10)}
    assert not (run.folder.output / name(5)).exists()


def test_on_a_full_disk_the_state_before_makes_room_for_the_record_of_the_new_one(tmp_path, small_disk):
    run = prepared(small_disk, keep=1)
    seen, filler = watch(run), small_disk / "filler"
    for step in (5, 10):
        save(run, step)
        with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while step == 10:
                file.write(bytes(4096))
        seen.look(step, at_end=True)
    assert set(states.records(run.folder)) == {name(10)}
    assert [path.name for path in run.folder.output.glob("*-state")] == [name(10)]


def test_without_the_key_of_this_easel_no_more_states_are_kept_than_the_plan_says(tmp_path):
    (tmp_path / seal.FILE).write_bytes(b"damaged")
    run = prepared(tmp_path, keep=1)
    seen = watch(run)
    for step in (5, 10, 15):
        save(run, step)
        seen.look(step, at_end=True)
    assert [path.name for path in run.folder.output.glob("*-state")] == [name(15)]
    (tmp_path / seal.FILE).unlink()
    seal.of(b"a new key is made")
    seen.look(15, at_end=True)
    assert set(states.records(run.folder)) == {name(15)}


def test_a_state_that_vanishes_while_it_is_read_does_not_keep_the_last_one_from_being_recorded(tmp_path, monkeypatch):
    monkeypatch.setattr(state_watch, "TURN_S", -1.0)
    run = prepared(tmp_path)
    seen = watch(run)
    save(run, 5)
    for _ in range(3):
        seen.look(5)
    shutil.rmtree(run.folder.output / name(5))
    save(run, 10)
    seen.look(10, at_end=True)
    assert set(states.records(run.folder)) == {name(10)}


def test_a_state_with_something_that_is_no_file_is_not_used(tmp_path):
    run = stopped(tmp_path, 5, 10)
    os.mkfifo(run.folder.output / name(10) / "pipe")
    found = resume.propose(run)
    assert (found.step, found.notes) == (
        5,
        ("The state of step 10 is not used: pipe is neither a file nor a folder.",),
    )


@pytest.mark.parametrize("whose", ["somebody else's", "ours, of a machine that is gone"])
def test_only_the_states_of_a_run_that_this_easel_started_are_recorded_when_it_is_adopted(tmp_path, whose):
    run = prepared(tmp_path)
    for step in (5, 10, 15):
        save(run, step)
    origin = Origin.of(run.folder.path).as_dict() | {"host": "gone", "machine": "gone", "boot": "gone"}
    sealed = {"seal": seal.of_spec(run.folder.path)} if whose.startswith("ours") else {}
    run.folder.write("runner.json", {"pid": 2**22, "started": "0", "origin": origin, **sealed})
    adopt(run, force=True)
    assert run.wait(LIMIT_S) is JobState.LOST
    found = resume.propose(run)
    assert found.step == 15
    assert bool(found.distrust) is not whose.startswith("ours")
    left = {path.name for path in run.folder.output.glob("*-state")}
    assert left == ({name(10), name(15)} if whose.startswith("ours") else {name(5), name(10), name(15)})
    assert (run.folder.read("runner.json") or {}).get("seal") is None, "no command of it is started here"


def test_a_folder_behind_a_link_in_the_output_is_no_state(tmp_path):
    run, outside = prepared(tmp_path, keep=1), tmp_path / "documents"
    for step in (1, 2):
        (outside / f"at{step}").mkdir(parents=True)
        (outside / f"at{step}" / "letter.txt").write_text("x")
    (run.folder.output / "link").symlink_to(outside)
    pattern = StatePattern("link/*", r"at(?P<step>\d)", keep=1)
    StateWatch(run.folder, pattern).look(2, at_end=True)
    assert states.saved(run.folder, pattern, 2) == []
    assert len(list(outside.glob("*/letter.txt"))) == 2


def test_a_copy_of_an_own_run_gets_no_records_when_it_is_adopted_and_keeps_its_states(tmp_path):
    run = prepared(tmp_path, keep=1)
    origin = Origin.of(run.folder.path).as_dict() | {"boot": "before"}
    sealed = {"seal": seal.of_spec(run.folder.path)}
    run.folder.write("runner.json", {"pid": 2**22, "started": "0", "origin": origin, **sealed})
    for step in (5, 10):
        save(run, step)
    copy = Run.attach(shutil.copytree(run.folder.path, run.folder.path.with_name("copy"), symlinks=True))
    adopt(copy, force=True)
    assert copy.wait(LIMIT_S) is JobState.LOST
    assert states.records(copy.folder) == {}
    assert {path.name for path in copy.folder.output.glob("*-state")} == {name(5), name(10)}

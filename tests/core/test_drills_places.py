"""Drills with real processes: a job folder that was copied, moved, or comes from another machine."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.commands import WAITS, kill, launched, log, lose, nothing_left, pid, prepared, until_file
from tests.support.played import LIMIT_S, ended, record, result, start, until
from trainer_core import places
from trainer_core.errors import JobError
from trainer_core.jobs.folder import JobFolder, unwritable
from trainer_core.jobs.heard import GONE_S, STALE_S
from trainer_core.jobs.job import Job, list_jobs
from trainer_core.jobs.origin import Origin
from trainer_core.jobs.recovery import adopt, recover
from trainer_core.jobs.spec import Spec, Step
from trainer_core.jobs.state import JobState
from trainer_core.training.history import history
from trainer_core.training.run import Run, list_runs
from trainer_core.training.use import saved, use


def change(job: Job, name: str, **entries: Any) -> None:
    record = job.folder.read(name)
    for key, value in entries.items():
        table, _, entry = key.rpartition("__")
        (record[table] if table else record)[entry] = value
    job.folder.write(name, record)


def on_another_machine(job: Job, heard_s_ago: float) -> None:
    """Makes a folder look as if another machine had started the job."""
    change(job, "runner.json", origin__host="studio", origin__machine="1" * 32, origin__boot="another-boot")
    change(job, "heartbeat.json", boot="another-boot", time=time.time() - heard_s_ago)


# Copies


def test_a_copy_of_a_folder_stops_nothing_of_the_original(tmp_path):
    here = launched(tmp_path / "jobs", WAITS)
    until(lambda: "waiting" in log(here))
    copied = Job.attach(shutil.copytree(here.folder.path, tmp_path / "copied"))
    assert copied.state is JobState.LOST
    assert f"a copy of {here.folder.path}" in copied.diagnosis.cause
    assert copied.stop(0.0) is JobState.LOST
    for which in ("supervisor", "program", "all"):
        assert not copied.host.alive(copied.folder.path, which)
        copied.host.signal(copied.folder.path, which, signal.SIGKILL)
    assert recover([copied]) == []
    with pytest.raises(JobError, match="whose processes still run"):
        adopt(copied)
    assert here.state is JobState.RUNNING
    assert here.stop(2.0) is JobState.CANCELLED
    adopt(copied)
    assert copied.wait(LIMIT_S) is JobState.LOST
    assert copied.result is not None


def test_a_moved_folder_is_still_the_same_job(tmp_path):
    here = launched(tmp_path / "jobs", WAITS)
    lose(here)
    moved = Job.attach(here.folder.path.rename(tmp_path / "moved"))
    assert moved.host.alive(moved.folder.path, "program")
    adopt(moved)
    assert moved.state is JobState.RUNNING
    assert moved.stop(2.0) is JobState.CANCELLED
    until(lambda: nothing_left(moved))


# Another machine


def test_a_job_that_another_machine_runs_is_shown_as_such_and_can_be_asked_to_stop(tmp_path):
    here = launched(tmp_path, WAITS)
    until(lambda: here.heard_s_ago is not None)
    kill(here)
    on_another_machine(here, heard_s_ago=5)
    assert here.state is JobState.ELSEWHERE
    assert here.is_live
    assert not here.is_stale
    assert recover([here]) == []
    for force in (False, True):
        with pytest.raises(JobError, match="runs on the machine studio, which was heard 5 seconds ago"):
            adopt(here, force)
    assert here.stop(0.0) is JobState.ELSEWHERE
    assert here.folder.read("stop")["grace_s"] == 0
    assert Path(f"/proc/{pid(here, 'engine.json')}").exists(), "no signal is sent from here"
    os.killpg(pid(here, "wrapper.json"), signal.SIGKILL)


def test_a_job_of_a_machine_that_was_not_heard_for_long_is_lost_and_needs_force(tmp_path):
    here = launched(tmp_path, until_file(tmp_path / "go"))
    until(lambda: here.heard_s_ago is not None)
    kill(here, "runner.json", "wrapper.json", "engine.json")
    on_another_machine(here, heard_s_ago=GONE_S + 60)
    assert here.state is JobState.LOST
    assert "started on the machine studio, which has not been heard since 2" in here.diagnosis.cause
    assert recover([here]) == []
    with pytest.raises(JobError, match="was started on the machine studio") as refused:
        adopt(here)
    assert "--force" in refused.value.hint
    adopt(here, force=True)
    assert here.wait(LIMIT_S) is JobState.LOST
    assert here.result["diagnosis"]["id"] == "restarted"


def test_another_container_of_this_machine_is_another_machine(tmp_path):
    folder = tmp_path / "job"
    folder.mkdir()
    now = Origin.of(folder)
    assert now.whereabouts(folder) == "here"
    other = Origin(**{**now.as_dict(), "namespace": "pid:[1]"})
    assert other.whereabouts(folder) == "elsewhere"
    restarted = Origin(**{**now.as_dict(), "boot": "before", "namespace": "pid:[1]"})
    assert restarted.whereabouts(folder) == "here"
    assert restarted.is_past
    renamed = Origin(**{**now.as_dict(), "boot": "before", "host": "studio"})
    assert renamed.whereabouts(folder) == "elsewhere"


def test_a_folder_of_an_older_easel_behaves_as_before(tmp_path):
    here = launched(tmp_path, WAITS)
    record = here.folder.read("runner.json")
    here.folder.write("runner.json", {"pid": record["pid"], "started": record["started"]})
    (here.folder.path / "heartbeat.json").unlink(missing_ok=True)
    assert here.state is JobState.RUNNING
    kill(here)
    until(lambda: here.state is JobState.LOST)
    assert recover([here]) == [], "an old run is not judged without being asked for"
    assert here.stop(2.0) is JobState.CANCELLED
    until(lambda: nothing_left(here))


# What is shown is old


def test_a_supervisor_that_was_not_heard_makes_what_is_shown_old(tmp_path):
    here = launched(tmp_path, WAITS)
    until(lambda: here.heard_s_ago is not None)
    assert (here.heard_s_ago or 0.0) < STALE_S
    assert not here.is_stale
    os.kill(pid(here), signal.SIGSTOP)
    time.sleep(0.3)
    change(here, "heartbeat.json", uptime_s=here.folder.read("heartbeat.json")["uptime_s"] - 100)
    assert here.state is JobState.RUNNING
    assert here.is_stale
    command = [sys.executable, "-m", "trainer_core.cli", "jobs", "show", str(here.folder.path)]
    said = subprocess.run(command, capture_output=True, text=True, cwd=places.CHECKOUT, check=True).stdout
    assert "last heard 10" in said
    assert "no sign of life" in said
    assert here.stop(2.0) is JobState.CANCELLED
    assert not here.is_stale


def test_no_change_of_the_clock_makes_a_running_job_old_or_long(tmp_path, monkeypatch):
    run = ended(tmp_path, steps=5)
    here = launched(tmp_path, until_file(tmp_path / "go"))
    until(lambda: here.heard_s_ago is not None)
    change(here, "runner.json", began__time=time.time() + 5000)
    monkeypatch.setattr(time, "time", lambda: 4e9)
    assert (here.heard_s_ago or 0.0) < STALE_S
    lose(here)
    monkeypatch.undo()
    adopt(here)
    (tmp_path / "go").touch()
    assert here.wait(LIMIT_S) is JobState.COMPLETED
    assert 0 < here.result["seconds"] < 300
    assert 0 < run.result["seconds"] < 300


# Lists


def test_jobs_are_listed_by_the_time_at_which_they_were_started(tmp_path):
    first, second = prepared(tmp_path, ""), prepared(tmp_path, "")
    third = prepared(tmp_path, "")
    paths = [job.folder.path for job in (first, second, third)]
    paths[0] = paths[0].rename(tmp_path / "zzz")
    paths[2] = paths[2].rename(tmp_path / "aaa")
    assert [job.name for job in list_jobs(tmp_path)] == ["aaa", paths[1].name, "zzz"]
    Job.attach(paths[0]).launch()
    assert list_jobs(tmp_path)[0].name == "zzz", "it was started last"
    Job.attach(paths[0]).wait(LIMIT_S)


# Disks and permissions


def test_a_job_folder_is_private_and_what_is_delivered_is_not(tmp_path):
    run = ended(tmp_path, steps=3)
    assert stat.S_IMODE(run.folder.path.stat().st_mode) == 0o700
    assert stat.S_IMODE(Path(run.result["outputs"][0]).stat().st_mode) == 0o644


@pytest.mark.parametrize(
    ("number", "advice"),
    [(errno.ENOSPC, "disk is full"), (errno.EDQUOT, "share of the disk"), (errno.EROFS, "can only be read")],
)
def test_a_folder_that_cannot_be_written_is_explained(number, advice):
    assert advice in unwritable(Path("jobs"), OSError(number, os.strerror(number))).hint


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 256 KiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)], check=False)
    if mounted.returncode:
        pytest.skip("a file system can only be mounted as root")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def fill(disk: Path, left_kib: int) -> None:
    free = shutil.disk_usage(disk).free
    (disk / "filling").write_bytes(b"x" * (free - left_kib * 1024))


@pytest.mark.parametrize("left_kib", [0, 40, 60])
def test_a_job_that_is_started_on_a_full_disk_says_so_and_can_be_started_later(small_disk, left_kib):
    here = prepared(small_disk, "print('hello')")
    fill(small_disk, left_kib)
    with pytest.raises(JobError, match="No space left on device") as refused:
        here.launch()
    assert "The disk is full" in refused.value.hint
    (small_disk / "filling").unlink()
    assert here.state is JobState.PREPARED
    here.launch()
    assert here.wait(LIMIT_S) is JobState.COMPLETED


@pytest.mark.parametrize("left_kib", [0, 4, 40])
def test_a_job_that_ends_on_a_full_disk_has_its_result(small_disk, tmp_path, left_kib):
    here = launched(small_disk, until_file(tmp_path / "go", "raise SystemExit(4)"))
    until(lambda: here.heard_s_ago is not None and "waiting" in log(here))
    fill(small_disk, left_kib)
    (tmp_path / "go").touch()
    assert here.wait(LIMIT_S) is JobState.FAILED
    assert here.result["exit_code"] == 4


def test_a_lost_job_on_a_full_disk_is_adopted(small_disk, tmp_path):
    here = launched(small_disk, until_file(tmp_path / "go", "raise SystemExit(4)"))
    until(lambda: here.heard_s_ago is not None and "waiting" in log(here))
    lose(here)
    fill(small_disk, 8)
    adopt(here)
    (tmp_path / "go").touch()
    assert here.wait(LIMIT_S) is JobState.FAILED
    assert here.result["exit_code"] == 4


def test_a_job_on_a_read_only_file_system_says_so(small_disk):
    here = prepared(small_disk, "print('hello')")
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(JobError, match="Read-only file system") as refused:
        here.launch()
    assert "can only be read" in refused.value.hint
    with pytest.raises(JobError, match="Read-only file system"):
        JobFolder.create(small_disk, "next").write_spec(Spec("commands", (Step("x", ("true",)),), small_disk))


def test_a_result_that_cannot_be_written_does_not_make_a_job_lost(tmp_path):
    here = launched(tmp_path, until_file(tmp_path / "go"))
    (here.folder.path / "result.json" / "in the way").mkdir(parents=True)
    (tmp_path / "go").touch()
    assert here.wait(LIMIT_S) is JobState.COMPLETED
    assert here.result is None
    assert recover([here]) == []
    until(lambda: "result.json cannot be written" in here.folder.supervisor_log.read_text())


def test_a_run_of_which_only_its_events_tell_the_end_is_listed(tmp_path):
    run = start(tmp_path, steps=3)
    run.wait(LIMIT_S)
    (run.folder.path / "result.json").write_text("[]")
    until(lambda: not run.host.alive(run.folder.path, "supervisor"))
    assert run.state is JobState.COMPLETED
    assert run.result is None
    assert run.figures["step"] == 3


@pytest.mark.parametrize("again", [False, True])
def test_a_run_whose_folder_is_renamed_while_it_runs_completes_there(tmp_path, again):
    run = start(tmp_path, steps=60, steps_per_second=20.0, output={"save_every_steps": 10})
    old = run.folder.path
    until(lambda: run.summary.step > 15)
    # An engine that reads its own files before the supervisor has noticed would end.
    engine = record(run, "engine.json")["pid"]
    os.kill(engine, signal.SIGSTOP)
    new = old.rename(old.with_name("renamed"))
    until(old.is_symlink)
    if not again:
        os.kill(engine, signal.SIGCONT)
    assert [one.name for one in list_runs(tmp_path / "runs")] == ["renamed"]
    assert [one.run for one in history(tmp_path / "runs")] == ["renamed"]
    if again:
        new = new.rename(tmp_path / "elsewhere")
        until(lambda: old.resolve() == new)
        os.kill(engine, signal.SIGCONT)
    moved = Run.attach(new)
    assert moved.wait(LIMIT_S) is JobState.COMPLETED
    assert [row["ok"] for row in result(moved)["checkpoints"]] == [True] * len(result(moved)["checkpoints"])
    assert len(saved(moved)) >= 5
    until(lambda: not old.is_symlink())
    assert not old.exists()


def test_a_run_whose_path_is_taken_after_a_move_is_lost_and_judged_where_it_is(tmp_path):
    run = start(tmp_path, steps=4000, steps_per_second=20.0, output={"save_every_steps": 5})
    old = run.folder.path
    until(lambda: sum(one.ok for one in run.summary.checked.values()) >= 2)
    keep = tmp_path / "taken"
    keep.mkdir()
    pid = record(run, "runner.json")["pid"]
    os.kill(pid, signal.SIGSTOP)
    new = old.rename(tmp_path / "renamed")
    keep.rename(old)
    os.kill(pid, signal.SIGCONT)
    moved = Run.attach(new)
    until(lambda: moved.state is JobState.LOST)
    adopt(moved)
    # The engine does not find its files any more.
    assert moved.wait(LIMIT_S) is JobState.FAILED
    assert not (old / "result.json").exists()
    assert not (old / "heartbeat.json").exists()
    assert all(one.ok for one in saved(moved))
    assert use(moved, folder=tmp_path / "mine").delivered is not None


def test_a_checkpoint_that_was_once_refused_is_tested_again_when_it_is_taken(tmp_path):
    run = start(tmp_path, steps=20, output={"save_every_steps": 5})
    run.wait(LIMIT_S)
    run.folder.write(
        "result.json",
        {**result(run), "checkpoints": [{**row, "ok": False} for row in result(run)["checkpoints"]]},
    )
    assert use(Run.attach(run.folder.path), folder=tmp_path / "mine").delivered is not None

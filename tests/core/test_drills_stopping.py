"""Drills with real processes: a stop ends what runs, and harms nothing that is being finished."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.commands import WAITS, kill, launched, log, nothing_left, pid, prepared, until_file
from tests.support.played import LIMIT_S, start, told, until
from trainer_core import places
from trainer_core.errors import JobError
from trainer_core.events import Checkpoint, Notice, StateChange
from trainer_core.jobs import stopping
from trainer_core.jobs.job import Job
from trainer_core.jobs.state import JobState

STUBBORN = f"import signal; signal.signal(15, signal.SIG_IGN); {WAITS}"


@pytest.mark.parametrize("grace_s", [math.inf, math.nan, -1, 3601, "ten", True, 10**400])
def test_a_grace_that_is_no_number_of_seconds_is_refused(tmp_path, grace_s):
    here = prepared(tmp_path, WAITS)
    with pytest.raises(JobError, match="cannot get"):
        here.stop(grace_s)
    assert not here.folder.stop.exists()
    assert here.state is JobState.PREPARED


@pytest.mark.parametrize("grace", ["inf", "nan", "-1", "3601", "ten"])
def test_the_command_line_refuses_such_a_grace_as_wrong_use(tmp_path, grace):
    command = [sys.executable, "-m", "trainer_core.cli", "jobs", "stop", "--grace", grace, "last"]
    answer = subprocess.run(command, capture_output=True, text=True, cwd=places.CHECKOUT, check=False)
    assert answer.returncode == 2
    assert "Invalid value for '--grace'" in answer.stderr


def test_a_name_of_nothing_matches_no_job(tmp_path):
    prepared(tmp_path / "jobs", WAITS)
    environment = {**os.environ, "EASEL_HOME": str(tmp_path)}
    command = [sys.executable, "-m", "trainer_core.cli", "jobs", "stop", ""]
    answer = subprocess.run(command, capture_output=True, text=True, cwd=places.CHECKOUT, env=environment, check=False)
    assert answer.returncode == 2
    assert "No job is named." in answer.stderr


@pytest.mark.parametrize(
    "content", ["{}", "[]", "nonsense", '{"grace_s": "soon", "after": 7}', '{"grace_s": Infinity}']
)
def test_a_stop_file_of_any_content_is_a_stop(tmp_path, content):
    here = launched(tmp_path, WAITS)
    here.folder.stop.write_text(content)
    assert here.wait(LIMIT_S) is JobState.CANCELLED


def test_a_second_stop_with_less_time_counts(tmp_path):
    here = launched(tmp_path, STUBBORN)
    until(lambda: "waiting" in log(here))
    assert here.stop(600, wait=False) is JobState.STOPPING
    until(lambda: [event for event in told(here) if isinstance(event, StateChange) and event.state == "STOPPING"])
    began = time.monotonic()
    assert Job.attach(here.folder.path).stop(0.2) is JobState.CANCELLED
    assert time.monotonic() - began < 30
    until(lambda: nothing_left(here))


FINISHING = """
import time
from pathlib import Path
from trainer_core.jobs.kind import Commands, LineWatch, by_exit_code

def judge(folder, exit_code):
    (folder.path / "judging").touch()
    while not (folder.path / "judged").exists():
        time.sleep(0.02)
    return by_exit_code(folder, exit_code)

class Slow:
    id, title = "slow", "Slow to judge"
    def watch(self, folder, journal):
        return LineWatch(folder, journal, lambda _: None, judge)

kind = Slow()
"""


@pytest.fixture
def slow(tmp_path, monkeypatch):
    """A kind of job whose output takes as long to be judged as the test wants."""
    site = tmp_path / "site"
    about = site / "slow-1.0.dist-info"
    about.mkdir(parents=True)
    (site / "slow.py").write_text(FINISHING)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: slow\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[trainer_core.job_kinds]\nslow = slow:kind\n")
    monkeypatch.setenv("PYTHONPATH", str(site))
    monkeypatch.syspath_prepend(str(site))


def test_a_supervisor_that_has_the_output_judged_is_never_killed(slow, tmp_path, monkeypatch):
    monkeypatch.setattr(stopping, "FROZEN_S", 0.5)
    here = launched(tmp_path, "print('made')", kind="slow")
    until((here.folder.path / "judging").exists)
    first = (here.folder.read("heartbeat.json") or {})["count"]
    stopper = subprocess.Popen(
        [sys.executable, "-m", "trainer_core.cli", "jobs", "stop", "--grace", "0", str(here.folder.path)],
        cwd=places.CHECKOUT,
        stdout=subprocess.PIPE,
        text=True,
    )
    # It gives signs of life, although its main thread waits for the judgement.
    until(lambda: (here.folder.read("heartbeat.json") or {})["count"] > first + 1)
    assert here.host.alive(here.folder.path, "supervisor")
    assert here.folder.read("heartbeat.json")["doing"] == "finishing"
    (here.folder.path / "judged").touch()
    assert "COMPLETED" in stopper.communicate(timeout=LIMIT_S)[0]
    assert here.state is JobState.COMPLETED


def test_a_paused_supervisor_is_woken_by_a_stop(tmp_path):
    here = launched(tmp_path, WAITS)
    until(lambda: here.heard_s_ago is not None)
    supervisor = pid(here)
    os.kill(supervisor, signal.SIGSTOP)
    assert here.stop(2.0) is JobState.CANCELLED
    assert pid(here) == supervisor
    until(lambda: nothing_left(here))


def test_a_supervisor_that_hangs_is_replaced_by_one_that_stops_the_job(tmp_path, monkeypatch):
    monkeypatch.setattr(stopping, "FROZEN_S", 2.0)
    here = launched(tmp_path, WAITS)
    until(lambda: here.heard_s_ago is not None)
    supervisor = pid(here)
    # It is paused again each time that it is woken, as one whose disk does not answer.
    code = f"import os, signal, time\nwhile True:\n    os.kill({supervisor}, signal.SIGSTOP); time.sleep(0.001)"
    pausing = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    try:
        assert here.stop(5.0) is JobState.CANCELLED
    finally:
        pausing.kill()
        pausing.wait()
    assert pid(here) != supervisor
    assert here.result["exit_code"] == -15
    until(lambda: nothing_left(here))


def test_a_paused_program_is_stopped(tmp_path):
    here = launched(tmp_path, WAITS)
    until(lambda: "waiting" in log(here))
    os.kill(pid(here, "engine.json"), signal.SIGSTOP)
    assert here.stop(5.0) is JobState.CANCELLED
    assert here.result["exit_code"] == -15


def test_a_stop_after_the_next_save_waits_for_it(tmp_path):
    run = start(tmp_path, steps=4000, steps_per_second=8.0, output={"save_every_steps": 30})
    until(lambda: run.summary.step >= 2)
    assert run.stop(after="save") is JobState.RUNNING
    assert run.wait(LIMIT_S) is JobState.CANCELLED
    assert [event.step for event in told(run) if isinstance(event, Checkpoint)] == [30]
    assert any("after it has saved" in event.text for event in told(run) if isinstance(event, Notice))


def test_a_plain_stop_does_not_wait_for_a_save_that_was_asked_for(tmp_path):
    run = start(tmp_path, steps=40_000, output={"save_every_steps": 20_000})
    until(lambda: run.summary.step >= 2)
    assert run.stop(after="save") is JobState.RUNNING
    time.sleep(0.6)
    assert run.state is JobState.RUNNING
    assert run.stop(5.0) is JobState.CANCELLED
    assert run.stop(after="save") is JobState.CANCELLED


def test_a_run_that_saves_nothing_on_its_way_cannot_stop_after_a_save(tmp_path):
    run = start(tmp_path, steps=40_000)
    with pytest.raises(JobError, match="saves no checkpoint"):
        run.stop(after="save")
    assert run.state is JobState.RUNNING
    run.stop(1.0)
    here = launched(tmp_path / "jobs", WAITS)
    with pytest.raises(JobError, match="saves no checkpoint"):
        here.stop(after="save")
    here.stop(1.0)


def test_a_save_request_does_not_undo_a_stop(tmp_path):
    here = launched(tmp_path, STUBBORN)
    until(lambda: "waiting" in log(here))
    here.stop(1.0, wait=False)
    stopping.request(here, 10.0, "save")
    assert here.wait(LIMIT_S) is JobState.CANCELLED


def test_a_supervisor_whose_job_was_taken_over_ends_without_a_result(tmp_path: Path):
    here = launched(tmp_path, WAITS)
    until(lambda: here.heard_s_ago is not None)
    record, supervisor = here.folder.read("runner.json") or {}, pid(here)
    here.folder.write("runner.json", {**record, "token": "of another", "pid": 1, "started": "elsewhere"})
    until(lambda: not Path(f"/proc/{supervisor}").exists())
    assert here.result is None
    until(lambda: nothing_left(here))


def test_killed_supervisors_and_stops_in_a_row_leave_nothing_behind(tmp_path):
    for names in (("runner.json",), ("runner.json", "wrapper.json"), ("runner.json", "engine.json")):
        here = launched(tmp_path, until_file(tmp_path / "never"))
        kill(here, *names)
        here.stop(1.0)
        until(lambda here=here: nothing_left(here))

"""Drills with real processes: whatever is killed, a job is not lost, and neither is what it made."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path

import psutil
import pytest

from tests.support.commands import WAITS, adopting, kill, launched, log, lose, nothing_left, pid, prepared, until_file
from tests.support.played import LIMIT_S, start, steps, told, until
from trainer_core import places
from trainer_core.errors import JobError
from trainer_core.events import Checkpoint, Phase, StateChange, Step
from trainer_core.jobs.job import Job
from trainer_core.jobs.reading import is_judged
from trainer_core.jobs.recovery import adopt, recover
from trainer_core.jobs.state import JobState
from trainer_core.training.run import Run


def test_a_job_whose_supervisor_was_killed_is_adopted_and_completes(tmp_path):
    here = launched(tmp_path, until_file(tmp_path / "go", "print('done')"))
    lose(here)
    assert here.state is JobState.LOST
    assert recover([here]) == [here]
    assert here.state is JobState.RUNNING
    (tmp_path / "go").touch()
    assert here.wait(LIMIT_S) is JobState.COMPLETED
    assert here.result["exit_code"] == 0
    assert "done" in log(here)
    until(lambda: nothing_left(here))


def test_a_job_of_which_every_process_was_killed_is_never_said_to_run(tmp_path):
    here = start(tmp_path, steps=40_000)
    until(lambda: here.summary.step >= 1)
    kill(here, "runner.json", "wrapper.json", "engine.json")
    assert here.state is JobState.LOST
    assert recover([here]) == [here]
    seen = []
    until(lambda: seen.append((here.state, is_judged(here))) or here.result is not None)
    assert JobState.STOPPING in {state for state, _ in seen}
    assert JobState.RUNNING not in {state for state, _ in seen}
    assert all(judged for state, judged in seen if state is JobState.STOPPING)


def test_the_exit_code_of_a_program_that_ended_without_a_supervisor_is_known(tmp_path):
    here = launched(tmp_path, until_file(tmp_path / "go", "raise SystemExit(7)"))
    lose(here)
    (tmp_path / "go").touch()
    until((here.folder.path / "program-end.json").exists)
    adopt(here)
    assert here.wait(LIMIT_S) is JobState.FAILED
    assert (here.result["exit_code"], here.diagnosis.cause) == (7, "The program ended with exit code 7.")


def test_an_adopter_runs_the_remaining_commands_and_none_twice(tmp_path):
    names = tmp_path / "names"
    codes = [f"open({str(names)!r}, 'a').write('{number} ')" for number in (1, 2, 3)]
    here = launched(tmp_path, codes[0], until_file(tmp_path / "go", codes[1]), codes[2])
    until(lambda: "waiting" in log(here))
    lose(here)
    (tmp_path / "go").touch()
    adopt(here)
    assert here.wait(LIMIT_S) is JobState.COMPLETED
    assert names.read_text() == "1 2 3 "
    parts = [event.part for event in told(here) if isinstance(event, Phase) and event.part]
    assert parts == [1, 2, 3]


def test_no_step_is_missing_or_doubled_and_no_phase_repeats_when_a_run_is_adopted_twice(tmp_path):
    options = {"steps": 150, "steps_per_second": 20.0, "output": {"save_every_steps": 20}}
    run = start(tmp_path, **options)
    for at in (30, 90):
        until(lambda at=at: run.summary.step >= at)
        lose(run)
        time.sleep(0.5)
        assert recover([run]) == [run]
    assert run.wait(LIMIT_S) is JobState.COMPLETED, run.diagnosis
    assert steps(run) == list(range(1, 151))
    phases = [event.name for event in told(run) if isinstance(event, Phase)]
    assert not [pair for pair in pairwise(phases) if pair[0] == pair[1]]
    assert Counter(phases)["saving"] == 7
    files = [event.path for event in told(run) if isinstance(event, Checkpoint)]
    assert len(files) == len(set(files)) == 7
    assert None not in [event.loss for event in told(run) if isinstance(event, Step)]
    assert run.result["seconds"] > 7


def test_a_line_that_was_cut_by_a_crash_is_closed_before_others_follow(tmp_path):
    here = launched(tmp_path, until_file(tmp_path / "go"))
    lose(here)
    with here.folder.events.open("ab") as events:
        events.write(b'{"time": 1, "kind": "sta')
    adopt(here)
    (tmp_path / "go").touch()
    assert here.wait(LIMIT_S) is JobState.COMPLETED
    lines = here.folder.events.read_bytes().split(b"\n")
    assert lines[1] == b'{"time": 1, "kind": "sta'
    assert [event.state for event in told(here) if isinstance(event, StateChange)] == [
        "RUNNING",
        "RUNNING",
        "COMPLETED",
    ]


def test_of_two_adopters_one_works(tmp_path):
    here = launched(tmp_path, until_file(tmp_path / "go"))
    lose(here)
    both = [adopting(here), adopting(here)]
    assert sorted(each.wait(60) for each in both) == [0, 3], here.folder.supervisor_log.read_text()
    (tmp_path / "go").touch()
    assert here.wait(LIMIT_S) is JobState.COMPLETED
    assert sum(isinstance(event, StateChange) for event in told(here)) == 3


def test_a_job_with_a_living_supervisor_is_not_adopted(tmp_path):
    here = launched(tmp_path, WAITS)
    assert recover([here]) == []
    with pytest.raises(JobError, match="has a supervisor"):
        adopt(here)
    assert here.stop(1.0) is JobState.CANCELLED
    with pytest.raises(JobError, match="has ended"):
        adopt(here)


def test_a_program_is_followed_when_its_wrapper_alone_was_killed(tmp_path):
    here = launched(tmp_path, until_file(tmp_path / "go", "raise SystemExit(5)"))
    kill(here, "wrapper.json")
    time.sleep(0.5)
    assert here.state is JobState.RUNNING
    (tmp_path / "go").touch()
    assert here.wait(LIMIT_S) is JobState.FAILED
    assert here.result["exit_code"] == 5, "the supervisor has become its parent"


def test_an_end_that_nobody_saw_is_said_to_be_unknown(tmp_path):
    here = launched(tmp_path, until_file(tmp_path / "go"))
    kill(here, "runner.json", "wrapper.json")
    adopt(here)
    time.sleep(0.3)
    assert here.state is JobState.RUNNING
    (tmp_path / "go").touch()
    assert here.wait(LIMIT_S) is JobState.LOST
    assert here.result["exit_code"] is None
    assert "ended unexpectedly, at about" in here.diagnosis.cause
    assert recover([here]) == []


def test_a_restart_of_the_machine_is_named(tmp_path):
    here = launched(tmp_path, WAITS)
    kill(here, "runner.json", "wrapper.json", "engine.json")
    for name in ("runner.json", "wrapper.json", "engine.json"):
        record = here.folder.read(name) or {}
        record["started"] = "another-boot:1"
        if "origin" in record:
            record["origin"]["boot"] = "another-boot"
        here.folder.write(name, record)
    assert here.state is JobState.LOST
    assert "The machine was restarted while this job ran, at about" in here.diagnosis.cause
    assert recover([here]) == [here]
    assert here.wait(LIMIT_S) is JobState.LOST
    assert here.result["diagnosis"]["id"] == "restarted"


def test_a_process_that_got_the_id_of_a_lost_one_is_left_alone(tmp_path):
    here = launched(tmp_path, WAITS)
    kill(here, "runner.json", "wrapper.json", "engine.json")
    other = subprocess.Popen([sys.executable, "-c", WAITS], stdout=subprocess.DEVNULL)
    for name in ("runner.json", "wrapper.json", "engine.json"):
        here.folder.write(name, {**(here.folder.read(name) or {}), "pid": other.pid})
    assert here.state is JobState.LOST
    adopt(here)
    assert here.wait(LIMIT_S) is JobState.LOST
    assert other.poll() is None
    other.kill()
    other.wait()


def test_a_supervisor_that_has_become_a_zombie_counts_as_ended(tmp_path):
    here = prepared(tmp_path, "print('hello')")
    child = subprocess.Popen([sys.executable, "-c", ""])
    until(lambda: psutil.Process(child.pid).status() == psutil.STATUS_ZOMBIE)
    here.folder.write("runner.json", {"pid": child.pid, "started": "anything"})
    assert here.state is JobState.LOST
    child.wait()


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM])
def test_a_signal_that_asks_the_supervisor_to_end_is_a_stop(tmp_path, number):
    here = launched(tmp_path, WAITS)
    until(lambda: here.heard_s_ago is not None)
    os.kill(pid(here), number)
    assert here.wait(LIMIT_S) is JobState.CANCELLED
    until(lambda: nothing_left(here))


def test_a_signal_to_the_whole_group_ends_the_program_and_not_its_wrapper(tmp_path):
    code = "import signal, sys, time; signal.signal(15, lambda *_: sys.exit(9)); print('waiting', flush=True); time.sleep(60)"
    here = launched(tmp_path, code)
    until(lambda: "waiting" in log(here))
    os.killpg(pid(here, "wrapper.json"), signal.SIGTERM)
    assert here.wait(LIMIT_S) is JobState.FAILED
    assert json.loads((here.folder.path / "program-end.json").read_text())["exit_code"] == 9


def test_an_adopted_job_can_be_stopped_and_leaves_nothing_behind(tmp_path):
    child = f"subprocess.Popen([sys.executable, '-c', {WAITS!r}], start_new_session=True)"
    here = launched(tmp_path, f"import subprocess, sys; {child}; {WAITS}")
    until(lambda: log(here).count("waiting") == 2)
    lose(here)
    adopt(here)
    assert here.stop(5.0) is JobState.CANCELLED
    until(lambda: nothing_left(here))


def test_a_stop_of_a_lost_job_ends_its_program_and_has_it_judged(tmp_path):
    here = launched(tmp_path, WAITS)
    lose(here)
    assert here.stop(5.0) is JobState.CANCELLED
    assert here.result["started"] > 0, "written by a supervisor"
    assert nothing_left(here)


def test_many_lines_binary_output_and_no_line_end_are_read_by_an_adopter(tmp_path):
    code = (
        "import sys, time; out = sys.stdout.buffer\n"
        "out.write(b'line of the log\\n' * 1_000_000); out.write(bytes(range(256)) * 2000 + b'x' * 200_000); out.flush()\n"
    )
    here = launched(tmp_path, code + until_file(tmp_path / "go", "print('done', end='')"))
    until(lambda: here.folder.log.stat().st_size > 16_000_000)
    lose(here)
    adopt(here)
    (tmp_path / "go").touch()
    assert here.wait(LIMIT_S) is JobState.COMPLETED
    assert log(here).endswith("done")


def test_two_readers_see_the_same_events_while_the_job_is_adopted(tmp_path):
    run = start(tmp_path, steps=60, steps_per_second=15.0)
    readers = [Run.attach(run.folder.path) for _ in range(2)]
    seen: list[list[int]] = [[], []]

    def read(index: int) -> None:
        offset = 0
        while readers[index].state is not JobState.COMPLETED:
            found, offset = readers[index].events(offset)
            seen[index] += [event.step for event in found if isinstance(event, Step)]
            time.sleep(0.05)
        seen[index] += [event.step for event in readers[index].events(offset)[0] if isinstance(event, Step)]

    threads = [threading.Thread(target=read, args=(index,)) for index in range(2)]
    for thread in threads:
        thread.start()
    until(lambda: run.summary.step >= 20)
    kill(run)
    adopt(run)
    for thread in threads:
        thread.join(LIMIT_S)
    assert seen == [list(range(1, 61))] * 2


# The command line


def easel(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "trainer_core.cli", *words]
    environment = {**os.environ, "EASEL_HOME": str(home)}
    return subprocess.run(
        command, capture_output=True, text=True, cwd=places.CHECKOUT, env=environment, check=False, timeout=LIMIT_S
    )


def test_a_list_of_jobs_gives_a_lost_one_a_new_supervisor(tmp_path, monkeypatch):
    monkeypatch.setenv("EASEL_HOME", str(tmp_path))
    here = launched(tmp_path / "jobs", until_file(tmp_path / "go"))
    lose(here)
    assert "RUNNING" in easel(tmp_path, "jobs", "list").stdout
    (tmp_path / "go").touch()
    assert here.wait(LIMIT_S) is JobState.COMPLETED


def test_a_run_is_adopted_by_its_name_and_once(tmp_path, monkeypatch):
    # The Easel that goes on is the one that started the run.
    monkeypatch.setenv("EASEL_HOME", str(tmp_path))
    run = start(tmp_path, steps=40_000)
    lose(run)
    adopted = easel(tmp_path, "runs", "adopt", "last", "--json")
    assert json.loads(adopted.stdout)["state"] == "RUNNING", adopted.stderr
    again = easel(tmp_path, "runs", "adopt", "last")
    assert (again.returncode, "has a supervisor" in again.stderr) == (1, True)
    assert run.stop(2.0) is JobState.CANCELLED


# Easel is updated or removed while a job runs

STARTER = """
import sys
from pathlib import Path
import trainer_core
from trainer_core.jobs.job import Job
assert str(Path(trainer_core.__file__)).startswith(sys.argv[2]), trainer_core.__file__
Job.attach(Path(sys.argv[1])).launch()
"""


def started_from_a_copy(here: Job, copy: Path) -> None:
    for name in ("trainer_core", "backends"):
        shutil.copytree(places.CHECKOUT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-c", STARTER, str(here.folder.path), str(copy)]
    subprocess.run(command, check=True, cwd=copy, env={**os.environ, "PYTHONPATH": str(copy)})
    until((here.folder.path / "engine.json").exists)


def garbled(copy: Path) -> None:
    for file in copy.rglob("*"):
        if file.suffix in {".py", ".toml", ".pyc"}:
            file.write_bytes(b"garbled (")


@pytest.mark.parametrize("remove", [garbled, shutil.rmtree])
def test_a_job_completes_although_easel_is_removed_or_garbled_while_it_runs(tmp_path, remove):
    here = prepared(tmp_path, until_file(tmp_path / "go"), "print('second')")
    started_from_a_copy(here, tmp_path / "copy")
    remove(tmp_path / "copy")
    (tmp_path / "go").touch()
    assert here.wait(LIMIT_S) is JobState.COMPLETED, here.diagnosis
    assert "second" in log(here), "the next command was started, too"
    said = here.folder.supervisor_log
    if remove is garbled:
        # What is called after a job needs Easel, and says in one sentence that it is gone. A copy that was removed is
        # replaced by the Easel of this environment.
        until(lambda: "called after the job" in said.read_text())
    assert "Traceback" not in said.read_text()

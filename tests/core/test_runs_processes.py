"""A run's processes: they outlive their starter, a stop leaves none of them, and a lost runner is told from a living one."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from tests.core.played import LIMIT_S, diagnosis, ended, job, kill, processes_of, record, start, steps, until
from trainer_core import places, registry
from trainer_core.errors import RunError
from trainer_core.events import Step
from trainer_core.runs import processes
from trainer_core.runs.processes import Identity
from trainer_core.runs.run import FINAL_STATES, Run, RunState


@pytest.mark.parametrize(("ending", "grace_s"), [("hang", 10.0), ("stubborn", 0.3), ("fork", 10.0)])
def test_a_stop_leaves_no_process_behind(tmp_path, pictures, ending, grace_s):
    run = start(tmp_path, dataset=pictures, steps=40_000, ending=ending, at=10)
    until(lambda: run.summary.step >= 5)
    expected = 3 if ending == "fork" else 2
    assert len(processes_of(run)) == expected
    assert run.stop(grace_s) is RunState.CANCELLED
    assert processes_of(run) == []
    seen = steps(run)
    assert seen == list(range(1, len(seen) + 1))
    assert run.diagnosis is None


def test_a_run_that_ends_well_leaves_no_process_behind_either(tmp_path):
    run = ended(tmp_path, ending="fork")
    assert run.state is RunState.COMPLETED
    until(lambda: processes_of(run) == [])


def test_the_engine_gets_a_clean_environment_and_can_be_interrupted(tmp_path, monkeypatch):
    """Even when the starter lives in a background job, where SIGINT is ignored, or in somebody's hosted notebook."""
    unwanted = ("PYTHONPATH", "UV_SYSTEM_PYTHON", "MPLBACKEND", "VIRTUAL_ENV", "ACCELERATE_GRADIENT_ACCUMULATION_STEPS")
    for name in unwanted:
        monkeypatch.setenv(name, "of the starter")
    monkeypatch.setenv("HF_TOKEN", "of the user")
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        run = start(tmp_path, steps=40_000)
    finally:
        signal.signal(signal.SIGINT, before)
    until(lambda: run.summary.step >= 1)
    engine = psutil.Process(record(run, "engine.json")["pid"])
    environment = engine.environ()
    assert "of the starter" not in environment.values()
    assert environment["HF_TOKEN"] == "of the user"
    assert (environment["COLUMNS"], environment["PYTHONUNBUFFERED"]) == ("300", "1")
    os.kill(engine.pid, signal.SIGINT)
    assert run.wait(LIMIT_S) is RunState.FAILED
    assert os.getsid(0) not in (record(run, "runner.json")["pid"], engine.pid)


def test_sigterm_to_the_runner_is_a_stop(tmp_path):
    run = start(tmp_path, steps=40_000)
    until(lambda: run.summary.step >= 5)
    kill(run, "runner.json", signal.SIGTERM)
    assert run.wait(LIMIT_S) is RunState.CANCELLED
    until(lambda: processes_of(run) == [])


def test_a_run_whose_runner_is_gone_is_lost_and_can_still_be_stopped(tmp_path, pictures):
    run = start(tmp_path, dataset=pictures, steps=40_000, ending="fork")
    until(lambda: run.summary.step >= 5)
    kill(run, "runner.json")
    until(lambda: run.state is RunState.LOST)
    assert "still works" in diagnosis(run).advice
    assert run.stop(5.0) is RunState.CANCELLED
    assert processes_of(run) == []


def test_a_lost_run_with_nothing_left_of_it_stays_lost(tmp_path):
    run = start(tmp_path, steps=40_000)
    until((run.directory.path / "engine.json").exists)
    for name in ("runner.json", "engine.json"):
        kill(run, name)
    until(lambda: run.state is RunState.LOST)
    assert run.stop(1.0) is RunState.LOST
    assert "restarted" in diagnosis(run).advice


def test_a_stop_that_comes_before_the_runner_keeps_the_engine_from_starting(tmp_path):
    run = Run.prepare(job(tmp_path), registry.get("rehearsal"), folder=tmp_path / "runs")
    run.directory.write("stop", {"grace_s": 1.0})
    run.launch()
    assert run.wait(LIMIT_S) is RunState.CANCELLED
    assert not (run.directory.path / "engine.json").exists()


def test_a_stop_while_the_runner_is_only_starting_ends_the_run_for_good(tmp_path):
    run = Run.prepare(job(tmp_path, steps=40_000), registry.get("rehearsal"), folder=tmp_path / "runs")
    launching = threading.Thread(target=run.launch)
    launching.start()
    until((run.directory.path / "runner.log").exists)
    assert Run.attach(run.directory.path).stop() is RunState.CANCELLED
    launching.join()
    until(lambda: not record_lives(run))
    assert processes.of_run(run.directory.path) == []
    assert run.state is RunState.CANCELLED


def test_who_interrupts_the_launch_gets_no_run(tmp_path, monkeypatch):
    run = Run.prepare(job(tmp_path, steps=40_000), registry.get("rehearsal"), folder=tmp_path / "runs")

    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as while_launching:
        while_launching.setattr(subprocess.Popen, "wait", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run.launch()
    assert run.wait(LIMIT_S) is RunState.CANCELLED
    assert not (run.directory.path / "engine.json").exists()


def test_a_runner_that_nobody_could_find_starts_nothing(tmp_path):
    run = Run.prepare(job(tmp_path, steps=40_000), registry.get("rehearsal"), folder=tmp_path / "runs")
    (run.directory.path / "runner.json" / "in the way").mkdir(parents=True)
    with pytest.raises(RunError, match="could not be started"):
        run.launch()
    time.sleep(1)
    assert processes.of_run(run.directory.path) == []
    assert not (run.directory.path / "engine.json").exists()


def test_a_run_can_be_stopped_while_the_disk_is_full(tmp_path, monkeypatch):
    run = start(tmp_path, steps=40_000)
    until(lambda: run.summary.step >= 1)

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("trainer_core.runs.directory.write_text", full)
    assert run.stop() is RunState.CANCELLED
    assert processes_of(run) == []


def test_a_number_that_was_given_to_another_process_is_not_the_runner(tmp_path):
    run = ended(tmp_path)
    (run.directory.path / "result.json").unlink()
    run.directory.write("runner.json", {"pid": os.getpid(), "started": "another boot:1"})
    assert run.state is RunState.LOST


def record_lives(run: Run) -> bool:
    runner = Identity.from_dict(run.directory.read("runner.json"))
    return runner is not None and runner.alive


STARTER = """
import sys, time
from pathlib import Path
from tests.core.played import job
from trainer_core import registry
from trainer_core.datasets.scan import scan
from trainer_core.runs.run import Run
here = Path(sys.argv[1])
backend = registry.get("rehearsal")
dataset = scan(here / "pictures", backend.manifest.dataset)
run = Run.start(job(here, steps=60, steps_per_second=15.0), backend, dataset, folder=here / "runs")
print(run.directory.path, flush=True)
time.sleep(60)
"""


def test_a_run_outlives_a_starter_that_is_killed(tmp_path, pictures):
    """The starter dies by kill -9, this process attaches: every step is there once, and the run completes."""
    command = [sys.executable, "-c", STARTER, str(tmp_path)]
    starter = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=places.CHECKOUT)
    assert starter.stdout is not None
    run = Run.attach(Path(starter.stdout.readline().strip()))
    until(lambda: run.summary.step >= 3)
    starter.kill()
    starter.communicate()
    assert run.state is RunState.RUNNING
    collected, offset = [], 0
    while run.state not in FINAL_STATES:
        found, offset = run.events(offset)
        collected += found
        time.sleep(0.05)
    collected += run.events(offset)[0]
    assert run.state is RunState.COMPLETED
    assert [event.step for event in collected if isinstance(event, Step)] == list(range(1, 61))


def test_an_engine_killed_at_once_leaves_the_dataset_alone(tmp_path, pictures):
    run = start(tmp_path, dataset=pictures, steps=40_000)
    until((run.directory.path / "engine.json").exists)
    kill(run, "engine.json")
    assert run.wait(LIMIT_S) is RunState.FAILED

"""A run survives the process that started it, a stop ends all its processes, and a lost supervisor is detected."""

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

from tests.support.played import LIMIT_S, diagnosis, ended, job, kill, processes_of, record, start, steps, until
from trainer_core import places
from trainer_core.engines import registry
from trainer_core.errors import JobError
from trainer_core.events import Step
from trainer_core.jobs import processes
from trainer_core.jobs.processes import Identity
from trainer_core.jobs.state import FINAL_STATES, JobState
from trainer_core.training.run import Run


@pytest.mark.parametrize(("ending", "grace_s"), [("hang", 10.0), ("stubborn", 0.3), ("fork", 10.0)])
def test_a_stop_leaves_no_process_behind(tmp_path, images, ending, grace_s):
    run = start(tmp_path, dataset=images, steps=40_000, ending=ending, at=10)
    until(lambda: run.summary.step >= 5)
    expected = 4 if ending == "fork" else 3
    assert len(processes_of(run)) == expected
    assert run.stop(grace_s) is JobState.CANCELLED
    assert processes_of(run) == []
    seen = steps(run)
    assert seen == list(range(1, len(seen) + 1))
    assert run.diagnosis is None


def test_a_completed_run_leaves_no_process_behind(tmp_path):
    run = ended(tmp_path, ending="fork")
    assert run.state is JobState.COMPLETED
    until(lambda: processes_of(run) == [])


def test_the_engine_gets_a_clean_environment_and_can_be_interrupted(tmp_path, monkeypatch):
    """Even if the starting process is a background job, where SIGINT is ignored, or runs in a hosted notebook."""
    unwanted = (
        "PYTHONPATH", "UV_SYSTEM_PYTHON", "MPLBACKEND", "VIRTUAL_ENV", "ACCELERATE_GRADIENT_ACCUMULATION_STEPS",
        "PYTHONDONTWRITEBYTECODE",
    )  # fmt: skip
    for name in unwanted:
        monkeypatch.setenv(name, "of the starter")
    monkeypatch.setenv("HF_TOKEN", "of the starter")  # The plan needs nothing from the Hub.
    monkeypatch.setenv("HF_HOME", "of the user")
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        run = start(tmp_path, steps=40_000)
    finally:
        signal.signal(signal.SIGINT, before)
    until(lambda: run.summary.step >= 1)
    engine = psutil.Process(record(run, "engine.json")["pid"])
    environment = engine.environ()
    assert "of the starter" not in environment.values()
    assert environment["HF_HOME"] == "of the user"
    assert (environment["COLUMNS"], environment["PYTHONUNBUFFERED"]) == ("300", "1")
    os.kill(engine.pid, signal.SIGINT)
    assert run.wait(LIMIT_S) is JobState.FAILED
    assert os.getsid(0) not in (record(run, "runner.json")["pid"], engine.pid)


def test_sigterm_to_the_supervisor_stops_the_run(tmp_path):
    run = start(tmp_path, steps=40_000)
    until(lambda: run.summary.step >= 5)
    kill(run, "runner.json", signal.SIGTERM)
    assert run.wait(LIMIT_S) is JobState.CANCELLED
    until(lambda: processes_of(run) == [])


def test_a_run_whose_supervisor_was_killed_is_lost_and_can_still_be_stopped(tmp_path, images):
    run = start(tmp_path, dataset=images, steps=40_000, ending="fork")
    until(lambda: run.summary.step >= 5)
    kill(run, "runner.json")
    until(lambda: run.state is JobState.LOST)
    assert "still runs" in diagnosis(run).advice
    assert run.stop(5.0) is JobState.CANCELLED
    assert processes_of(run) == []


def test_a_lost_run_without_processes_stays_lost(tmp_path):
    run = start(tmp_path, steps=40_000)
    until((run.folder.path / "engine.json").exists)
    for name in ("runner.json", "engine.json"):
        kill(run, name)
    until(lambda: run.state is JobState.LOST)
    # A killed process may exist for another moment.
    until(lambda: processes.of_job(run.folder.path) == [])
    assert run.stop(1.0) is JobState.LOST
    assert "restarted" in diagnosis(run).advice


def test_a_stop_before_the_supervisor_starts_prevents_the_start_of_the_engine(tmp_path):
    run = Run.prepare(job(tmp_path), registry.get("rehearsal"), folder=tmp_path / "runs")
    run.folder.write("stop", {"grace_s": 1.0})
    run.launch()
    assert run.wait(LIMIT_S) is JobState.CANCELLED
    assert not (run.folder.path / "engine.json").exists()


def test_a_stop_while_the_supervisor_is_starting_cancels_the_run(tmp_path):
    run = Run.prepare(job(tmp_path, steps=40_000), registry.get("rehearsal"), folder=tmp_path / "runs")
    launching = threading.Thread(target=run.launch)
    launching.start()
    until((run.folder.path / "runner.log").exists)
    assert Run.attach(run.folder.path).stop() is JobState.CANCELLED
    launching.join()
    until(lambda: not supervisor_runs(run))
    assert processes.of_job(run.folder.path) == []
    assert run.state is JobState.CANCELLED


def test_an_interrupted_launch_cancels_the_run(tmp_path, monkeypatch):
    run = Run.prepare(job(tmp_path, steps=40_000), registry.get("rehearsal"), folder=tmp_path / "runs")

    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as while_launching:
        while_launching.setattr(subprocess.Popen, "wait", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run.launch()
    assert run.wait(LIMIT_S) is JobState.CANCELLED
    assert not (run.folder.path / "engine.json").exists()


def test_a_supervisor_whose_identity_cannot_be_written_starts_nothing(tmp_path):
    run = Run.prepare(job(tmp_path, steps=40_000), registry.get("rehearsal"), folder=tmp_path / "runs")
    (run.folder.path / "runner.json" / "in the way").mkdir(parents=True)
    with pytest.raises(JobError, match="cannot be written: Is a directory"):
        run.launch()
    time.sleep(1)
    assert processes.of_job(run.folder.path) == []
    assert not (run.folder.path / "engine.json").exists()


def test_a_run_can_be_stopped_while_the_disk_is_full(tmp_path, monkeypatch):
    run = start(tmp_path, steps=40_000)
    until(lambda: run.summary.step >= 1)

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("trainer_core.jobs.hosts.local.write_whole", full)
    assert run.stop() is JobState.CANCELLED
    assert processes_of(run) == []


def test_another_process_with_the_same_id_is_not_the_supervisor(tmp_path):
    run = ended(tmp_path)
    for name in ("result.json", "events.jsonl"):
        (run.folder.path / name).unlink()
    run.folder.write("runner.json", {"pid": os.getpid(), "started": "another boot:1"})
    assert run.state is JobState.LOST


def supervisor_runs(run: Run) -> bool:
    supervisor = Identity.from_dict(run.folder.read("runner.json"))
    return supervisor is not None and supervisor.alive


STARTER = """
import sys, time
from pathlib import Path
from tests.support.played import job
from trainer_core.engines import registry
from trainer_core.datasets.scan import scan
from trainer_core.training.run import Run
here = Path(sys.argv[1])
backend = registry.get("rehearsal")
dataset = scan(here / "images", backend.manifest.dataset)
run = Run.prepare(job(here, steps=60, steps_per_second=15.0), backend, dataset, folder=here / "runs")
run.launch()
print(run.folder.path, flush=True)
time.sleep(60)
"""


def test_a_run_survives_when_the_process_that_started_it_is_killed(tmp_path, images):
    """The starting process is killed and this process attaches: every step is reported once, and the run completes."""
    command = [sys.executable, "-c", STARTER, str(tmp_path)]
    starter = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=places.CHECKOUT)
    assert starter.stdout is not None
    run = Run.attach(Path(starter.stdout.readline().strip()))
    until(lambda: run.summary.step >= 3)
    starter.kill()
    starter.communicate()
    assert run.state is JobState.RUNNING
    collected, offset = [], 0
    while run.state not in FINAL_STATES:
        found, offset = run.events(offset)
        collected += found
        time.sleep(0.05)
    collected += run.events(offset)[0]
    assert run.state is JobState.COMPLETED
    assert [event.step for event in collected if isinstance(event, Step)] == list(range(1, 61))


def test_an_engine_that_is_killed_at_once_does_not_change_the_dataset(tmp_path, images):
    run = start(tmp_path, dataset=images, steps=40_000)
    until((run.folder.path / "engine.json").exists)
    kill(run, "engine.json")
    assert run.wait(LIMIT_S) is JobState.FAILED

"""The job that installs an engine: its phases, its survival without the process that started it, and its success."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import tiny_engine
from tests.support.played import LIMIT_S, diagnosis, result, told, until
from tests.support.tiny_engine import MINOR, wheel
from trainer_core.errors import InstallError
from trainer_core.events import Phase
from trainer_core.install import environments
from trainer_core.install import job as installation
from trainer_core.jobs import processes
from trainer_core.jobs.job import Job
from trainer_core.jobs.state import JobState

ROOT = Path(__file__).parents[2]
WAITS = "import time\nprint('waiting', flush=True)\ntime.sleep(600)\n"


tiny = tiny_engine.engine


@pytest.fixture
def engine(tiny, monkeypatch):
    """The tiny engine, available to other processes, too."""
    monkeypatch.setenv("PYTHONPATH", str(tiny.folder))
    return tiny


def slow(engine):
    """Makes the check of the tiny engine take longer than any test."""
    (engine.package / "tiny.txt").write_text(wheel(engine.package, "tinytrainer", "1.0", {"tinytrainer.py": WAITS}))


def checking(job: Job) -> bool:
    return (environments.engine_home("tiny") / "installing").exists() and job.summary.phase == "checking"


def test_an_installation_is_a_job_with_phases(engine):
    job, is_new = installation.start("tiny", "cpu")
    assert is_new
    assert job.wait(LIMIT_S) is JobState.COMPLETED, diagnosis(job)
    found = environments.installed("tiny")
    assert found is not None
    assert result(job)["outputs"] == [str(found.home)]
    phases = [event.name for event in told(job) if isinstance(event, Phase)]
    assert phases == ["creating the environment", "installing packages", "checking"]
    view = job.log
    view.read()
    assert "Tiny comes under a licence." in view.rows
    assert "Tiny 1.0 is ready" in view.rows[-1]
    again, is_new = installation.start("tiny", "cpu")
    assert is_new
    assert again.wait(LIMIT_S) is JobState.COMPLETED
    assert environments.installed("tiny") == found, "there was nothing to do"


def test_a_failure_has_the_message_of_the_installer(engine):
    engine.table(imports=("tinytrainer", "missing_part"))
    job, _ = installation.start("tiny", "cpu")
    assert job.wait(LIMIT_S) is JobState.FAILED
    assert "Tiny could not be installed" in diagnosis(job).cause
    assert "missing_part" in diagnosis(job).cause
    assert "install.log" in diagnosis(job).advice
    assert job.folder.supervisor_log.read_text() == ""


def test_a_failure_is_a_failure_even_if_an_older_engine_is_still_installed(engine):
    environments.install("tiny", "cpu", report=lambda _: None)
    engine.table(disk_gib=1e9)
    engine.pins("2.0")
    job, _ = installation.start("tiny", "cpu")
    assert job.wait(LIMIT_S) is JobState.FAILED
    assert "GiB are free" in diagnosis(job).cause
    assert environments.installed("tiny") is not None


def test_a_second_start_attaches_and_a_stop_leaves_no_partial_engine(engine):
    slow(engine)
    job, _ = installation.start("tiny", "cpu")
    until(lambda: checking(job))
    other, is_new = installation.start("tiny", "cpu")
    assert (other.name, is_new) == (job.name, False)
    assert other.stop() is JobState.CANCELLED
    assert processes.of_job(job.folder.path) == []
    assert environments.installed("tiny") is None
    engine.pins("1.0")
    repeated, is_new = installation.start("tiny", "cpu")
    assert is_new
    assert repeated.wait(LIMIT_S) is JobState.COMPLETED
    assert "interrupted" in repeated.folder.log.read_text()


def test_an_installation_survives_when_the_process_that_started_it_is_killed(engine):
    slow(engine)
    script = "import os, signal\nfrom trainer_core.install import job\njob.start('tiny', 'cpu')\nos.kill(os.getpid(), signal.SIGKILL)"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=False)
    assert done.returncode == -9
    (job,) = installation.known("tiny")
    until(lambda: checking(job))
    assert job.state is JobState.RUNNING
    job.stop()
    assert list(installation.known("kohya")) == []


def test_an_unknown_engine_starts_no_job(engine):
    with pytest.raises(InstallError, match="no engine called"):
        installation.start("nothing")
    assert list(installation.known()) == []


def test_jobs_are_listed_shown_followed_and_stopped_in_a_terminal(engine):
    def easel(*arguments: str, check: int = 0) -> str:
        environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{engine.folder}", "COLUMNS": "200"}
        command = [sys.executable, "-m", "trainer_core.cli", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=LIMIT_S)
        assert done.returncode == check, done.stdout + done.stderr
        return done.stdout

    assert "There is no job" in easel("jobs", "list")
    slow(engine)
    assert "Started" in easel("backends", "install", "tiny", "--accelerator", "cpu", "--detach")
    assert "Already running" in easel("backends", "install", "tiny", "--accelerator", "cpu", "--detach")
    (job,) = installation.known()
    until(lambda: checking(job))
    (row,) = json.loads(easel("jobs", "list", "--json"))
    assert (row["job"], row["kind"], row["state"], row["phase"]) == (job.name, "install", "RUNNING", "checking")
    assert "checking" in easel("jobs", "list")
    shown = easel("jobs", "show", "last")
    assert "| Checking that it works." in shown
    assert "RUNNING" in shown
    assert "CANCELLED" in easel("jobs", "stop", "tiny")
    engine.pins("1.0")
    easel("backends", "install", "tiny", "--accelerator", "cpu", "--detach")
    followed = easel("jobs", "follow", "last")
    assert "Tiny 1.0 is ready" in followed
    assert "COMPLETED" in followed
    assert json.loads(easel("jobs", "show", "last", "--json"))["result"]["exit_code"] == 0
    assert MINOR in str(environments.installed("tiny").interpreter)
    easel("jobs", "show", "nothing", check=2)

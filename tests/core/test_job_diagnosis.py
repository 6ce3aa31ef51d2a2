"""Jobs of every kind are diagnosed: installations, tools, programs, and kinds of other packages; only if they failed."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.support.failures import LOGS
from tests.support.played import LIMIT_S
from trainer_core.cli import easel
from trainer_core.engines import diagnosis, job_diagnosis
from trainer_core.jobs import kind as kinds
from trainer_core.jobs.folder import JobFolder
from trainer_core.jobs.job import Job
from trainer_core.jobs.spec import Spec, Step
from trainer_core.jobs.state import JobState


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def ended(home: Path, code: str, kind: str = "commands", **details) -> Job:
    """A job that ran this Python code."""
    folder = JobFolder.create(home / "jobs", kind)
    folder.write_spec(Spec(kind, (Step("run", (sys.executable, "-c", code)),), folder.path, details=details))
    job = Job(folder)
    job.launch()
    job.wait(LIMIT_S)
    return job


def failed_with(
    home: Path,
    log: str,
    kind: str = "commands",
    cause: str = "The program ended with exit code 1.",
    named: str = "failed",
    **details,
) -> Job:
    """The folder of a job that failed with this log."""
    folder = JobFolder.create(home / "jobs", kind)
    folder.write_spec(Spec(kind, (Step("run", ("true",)),), folder.path, details=details))
    folder.log.write_text(log)
    told = {"id": named, "cause": cause, "line": log.splitlines()[-1] if log else "", "advice": ""}
    folder.write("result.json", {"state": "FAILED", "exit_code": 1, "outputs": [], "diagnosis": told})
    return Job(folder)


def cause(job: Job) -> str:
    found = job_diagnosis.explained(job)
    return found.id if found else "none"


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("open('/nowhere/a')", "file-missing"),
        ("open('/dev/full','wb',buffering=0).write(b'x')", "disk-full"),
        ("import urllib.request as r; r.urlopen('http://127.0.0.1:9/x')", "network-unreachable"),
        ("raise RuntimeError('odd')", "failed"),
        ("import os; os.kill(os.getpid(), 9)", "out-of-memory"),
    ],
)
def test_a_program_that_failed_is_explained_by_what_every_program_can_meet(home, code, name):
    job = ended(home, code)
    assert job.state is JobState.FAILED
    assert cause(job) == name


def test_a_job_that_did_not_fail_has_no_diagnosis(home):
    job = ended(home, "print('OSError: [Errno 28] No space left on device')")
    assert job.state is JobState.COMPLETED
    assert cause(job) == "none"
    done = CliRunner().invoke(easel, ["diagnose", job.name])
    assert "did not fail: it is COMPLETED" in done.output


@pytest.mark.parametrize("name", sorted(path.stem for path in (LOGS / "install").glob("*.log")))
def test_an_installation_that_failed_is_explained_from_the_sentence_of_the_installer(home, name):
    """The installer keeps only the decisive line of uv, so that must be enough."""
    from trainer_core.install.uv import decisive_line

    output = (LOGS / "install" / f"{name}.log").read_text()
    sentence = f"Tiny could not be installed: {decisive_line(output)}."
    job = failed_with(home, sentence + "\n", "install", cause=sentence, named="not-installed", engine="tiny")
    found = job_diagnosis.explained(job)
    assert found is not None
    # Where uv gives the reason below its error, or in a hint, the innermost cause is what is left.
    also = {"registry-login": "package-not-found", "packages-conflict": "packages-conflict"}
    assert found.id in (name, also.get(name))
    assert found.advice
    assert "could not be installed" in found.line


@pytest.mark.parametrize(
    ("said", "name"),
    [
        (
            "Failed to fetch: https://packages.example/simple/torch/; failed to lookup address information: Name or service not known",
            "network-unreachable",
        ),
        (
            "Failed to install: torch-2.10.0.whl (torch==2.10.0); failed to copy file from /a to /b: No space left on device (os error 28)",
            "disk-full",
        ),
        (
            "Failed to install: six-1.17.0.whl; failed to create directory `/opt/x`: Read-only file system (os error 30)",
            "disk-read-only",
        ),
        (
            "Failed to install: six-1.17.0.whl; failed to create directory `/opt/x`: Permission denied (os error 13)",
            "file-forbidden",
        ),
        ("Failed to fetch: https://packages.example/simple/; invalid peer certificate: UnknownIssuer", "certificate"),
        ("Failed to fetch: https://packages.example/simple/; tunnel error: proxy authorization required", "proxy"),
        ("Failed to fetch: https://packages.example/simple/; operation timed out", "network-broken"),
    ],
)
def test_what_every_program_can_meet_explains_an_installation_too(home, said, name):
    sentence = f"Tiny could not be installed: {said}."
    assert cause(failed_with(home, sentence, "install", cause=sentence, named="not-installed", engine="tiny")) == name


def test_an_unknown_failure_of_an_installation_keeps_its_own_sentence(home):
    job = failed_with(home, "x\n", "install", cause="Tiny could not be installed: odd.", named="not-installed")
    found = job_diagnosis.explained(job)
    assert found is not None
    assert (found.id, found.cause) == ("not-installed", "Tiny could not be installed: odd.")


def test_a_kind_of_another_package_brings_its_own_signatures(home, tmp_path, monkeypatch):
    own = tmp_path / "mine.toml"
    own.write_text(
        '[[signature]]\nid = "mine"\npattern = "TheirError: no luck"\ncause = "No luck."\nadvice = "Try again."\n'
    )

    class Mine:
        id, title = "mine", "Mine"
        diagnosis = own

    real = kinds.get
    monkeypatch.setattr(kinds, "get", lambda name: Mine() if name == "mine" else real(name))
    assert cause(failed_with(home, "TheirError: no luck\n", "mine")) == "mine"
    assert cause(failed_with(home, "OSError: [Errno 28] No space left on device\n", "mine")) == "disk-full"


def test_a_kind_whose_package_was_removed_is_explained_by_what_every_program_can_meet(home):
    assert cause(failed_with(home, "OSError: [Errno 28] No space left on device\n", "no-such-kind")) == "disk-full"
    assert cause(failed_with(home, "OddError: y\n", "no-such-kind")) == "failed"


def test_the_messages_of_engines_do_not_explain_other_programs():
    """A program of a user may use torch as well, but Easel can only advise on its engines."""
    ids = {row.id for row in diagnosis.for_programs()}
    assert "disk-full" in ids
    assert "gpu-memory" not in ids


def test_the_command_explains_a_job_as_data(home):
    job = failed_with(home, "OSError: [Errno 28] No space left on device\n")
    done = CliRunner().invoke(easel, ["diagnose", "last", "--json"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.output)
    assert told["job"] == job.name
    assert told["cause"] == "disk-full"
    assert told["line"] == "OSError: [Errno 28] No space left on device"
    assert told["fixes"] == []


def test_a_log_needs_the_name_of_its_engine(tmp_path):
    log = tmp_path / "a.log"
    log.write_text("x\n")
    for arguments in (
        [str(log)],
        ["-"],
        [str(log), "--backend", "kohya", "--bundle", "a.zip"],
        ["last", "--with-captions"],
    ):
        assert CliRunner().invoke(easel, ["diagnose", *arguments]).exit_code == 2
    assert not os.path.lexists("a.zip")

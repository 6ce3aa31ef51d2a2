"""Damaged files in the folder of a run that goes on: it stays in sight, can be stopped, and its GPU counts as used."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.support import queued
from tests.support.played import processes_of, until
from trainer_core import places
from trainer_core.cli import easel
from trainer_core.errors import JobError
from trainer_core.jobs.folder import SCHEMA_VERSION
from trainer_core.jobs.job import list_jobs
from trainer_core.jobs.queueing import occupancy
from trainer_core.jobs.state import JobState
from trainer_core.training.history import history
from trainer_core.training.run import Run

bench = queued.bench
LONG = {"steps": 4000, "steps_per_second": 20.0}


def said(*words: str) -> str:
    found = CliRunner().invoke(easel, ["runs", *words])
    return f"{found.output}{found.exception or ''}"


def damaged(path: Path, how: str) -> None:
    path.unlink()
    if how == "folder":
        path.mkdir()
    elif how != "missing":
        path.write_text(how)


@pytest.fixture
def living(bench):
    run = bench.prepared(**LONG)
    run.launch()
    until(lambda: run.summary.step > 2)
    yield run
    run.stop(1.0)
    until(lambda: not processes_of(run))


@pytest.mark.parametrize("how", ['{"a', "", "[]", '{"schema_version": "x"}', "missing", "folder"])
def test_a_living_run_with_a_damaged_versions_file_is_shown_and_occupies_every_gpu(living, how):
    damaged(living.folder.path / "versions.json", how)
    assert living.name in said("list")
    [row] = json.loads(said("list", "--json"))
    assert (row["state"], "versions.json" in row["damage"]) == ("RUNNING", True)
    assert "versions.json" in said("history")
    assert [(run.state, run.damage) for run in history()] == [(JobState.RUNNING, row["damage"])]
    for gpu in ("0", "1"):
        user = occupancy.occupied(gpu)
        assert user is not None
        assert user.name == living.name
    assert living.name in said("queue", "list")
    assert occupancy.engine_users("another")
    assert said("stop", "last").strip().endswith("CANCELLED")
    assert Run.attach(living.folder.path).state is JobState.CANCELLED


def test_a_queued_run_waits_for_a_living_one_with_a_damaged_versions_file(living, bench):
    damaged(living.folder.path / "versions.json", "")
    waiting = bench.queued()
    with pytest.raises(AssertionError, match="waited too long"):
        until(lambda: waiting.state is not JobState.QUEUED, 3)
    living.stop(1.0)
    assert waiting.wait(60) is JobState.COMPLETED


def test_a_living_run_without_a_spec_file_is_shown_and_stopped(living):
    (living.folder.path / "spec.json").unlink()
    assert [job.name for job in list_jobs(places.runs())] == [living.name]
    assert "spec.json" in said("list")
    assert said("stop", str(living.folder.path)).strip().endswith("CANCELLED")


def test_a_lost_run_without_a_spec_file_keeps_no_process_after_a_stop(living):
    import os
    import signal

    os.kill((living.folder.read("runner.json") or {})["pid"], signal.SIGKILL)
    until(lambda: living.state is JobState.LOST)
    (living.folder.path / "spec.json").unlink()
    said("list")
    assert Run.attach(living.folder.path).state is JobState.LOST, "no supervisor could judge it"
    said("stop", "last")
    assert processes_of(living) == []


def test_a_living_run_of_a_newer_easel_is_refused_and_occupies_every_gpu(living):
    versions = {**living.folder.versions, "schema_version": SCHEMA_VERSION + 1}
    living.folder.write("versions.json", versions)
    with pytest.raises(JobError, match="newer Easel"):
        Run.attach(living.folder.path)
    assert "newer Easel" in said("stop", living.name)
    assert occupancy.occupied("0") is not None
    assert occupancy.occupied("1") is not None
    living.folder.write("versions.json", {**versions, "schema_version": SCHEMA_VERSION})


def test_a_run_whose_folder_is_damaged_is_not_started(bench):
    run = bench.prepared()
    damaged(run.folder.path / "versions.json", "missing")
    with pytest.raises(JobError, match=r"versions\.json"):
        Run.attach(run.folder.path).launch()

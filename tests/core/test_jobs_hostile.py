"""Anybody may have written a job's files: nothing in them raises anything but a JobError, and one of them hides no other job."""

from __future__ import annotations

import contextlib
import json
import math
import os
import time
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.support.played import ended
from trainer_core import events
from trainer_core.cli import jobs as commands
from trainer_core.errors import JobError
from trainer_core.jobs import recovery
from trainer_core.jobs.folder import JobFolder
from trainer_core.jobs.job import Job, list_jobs
from trainer_core.jobs.result import readable
from trainer_core.jobs.spec import Spec
from trainer_core.jobs.stop_request import StopRequest
from trainer_core.jobs.summary import Summary
from trainer_core.training.run import Run
from trainer_core.training.verdict import verdict

NAMES = (
    "spec.json", "result.json", "runner.json", "wrapper.json", "engine.json", "program-end.json", "heartbeat.json", "stop",
    "versions.json", "events.jsonl",
)  # fmt: skip
KEYS = (
    "kind", "state", "outputs", "notices", "diagnosis", "cause", "seconds", "steps", "step", "total", "loss", "path", "text",
    "severity", "time", "uptime_s", "boot", "origin", "began", "pid", "started", "total_steps", "summary", "number", "name",
    "argv", "environment", "working_directory", "details", "schema_version", "created", "grace_s", "after", "detail", "part",
    "parts", "peak_memory_bytes", "samples", "checkpoints", "phase", "reasons", "acceptance", "log", "events", "count", "token",
    "inode", "device", "host", "machine", "namespace", "stop_signal", "keeps", "learning_rate", "seconds_per_step", "epoch",
)  # fmt: skip
WORDS = st.sampled_from([
    "COMPLETED", "LOST", "RUNNING", "phase", "step", "progress", "sample", "checkpoint", "notice", "state", "epoch", "training",
    "commands", "SIGTERM", "\ud800", "\x00", "../..", "/",
])  # fmt: skip
NUMBERS = st.one_of(st.integers(), st.floats(), st.sampled_from([10**400, -1, 0, 1, 2**63, math.inf, math.nan]))
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, WORDS, st.text(max_size=20)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.one_of(st.sampled_from(KEYS), st.text(max_size=5)), inner, max_size=8),
    ),
    max_leaves=20,
)
OBJECTS = st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=20)

LISTED = commands.Jobs("job", list, Job.attach, Path, kinds=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """The folder of a real run that has ended."""
    run = ended(tmp_path_factory.mktemp("hostile"), steps=3)
    while run.host.alive(run.folder.path, "supervisor"):
        time.sleep(0.02)
    return run.folder.path


def look_at(path: Path) -> None:
    """All that a list, a page and the command line read of a job."""
    for kind in (Job, Run):
        try:
            job = kind.attach(path)
            _ = job.spec
        except JobError:
            continue
    for job in (Job(JobFolder(path)), Run(JobFolder(path))):
        _ = job.state, job.is_live, job.is_stale, job.heard_s_ago, job.result, job.figures, job.summary.figures()
        _ = job.summary.stage, job.summary.eta_s, job.events(), job.saves()
        with contextlib.suppress(JobError):
            _ = job.diagnosis
            verdict(job)
        with contextlib.suppress(JobError):
            job.stop(0.0, wait=False)
    for job in list_jobs(path.parent):
        json.dumps(LISTED.about(job))
        # Not `recover` itself, which would start a process for each example.
        recovery._is_ours(job)


@given(st.sampled_from(NAMES), VALUES)
@example("result.json", {"state": "COMPLETED", "outputs": 7, "seconds": "x", "diagnosis": [1], "summary": {"step": []}})
@example("events.jsonl", {"kind": "step", "step": 10**400, "loss": [1]})
@example("heartbeat.json", {"time": 1e308, "uptime_s": -1e308, "boot": 7})
@settings(max_examples=50)
def test_no_value_in_a_file_breaks_a_view(folder, name, value):
    _with_file(folder, name, json.dumps(value))


@given(st.sampled_from(NAMES), OBJECTS)
@settings(max_examples=100)
def test_no_object_in_a_file_breaks_a_view(folder, name, value):
    _with_file(folder, name, json.dumps(value))


@given(st.sampled_from(NAMES), st.binary(max_size=200))
@settings(max_examples=30)
def test_no_bytes_in_a_file_break_a_view(folder, name, value):
    _with_file(folder, name, value.decode("latin-1"))


def _with_file(folder: Path, name: str, content: str) -> None:
    """Looks at the folder with this file, with and without a result, and restores it."""
    kept = {each: (folder / each).read_bytes() for each in NAMES if (folder / each).is_file()}
    for missing in ((), ("result.json",)):
        try:
            for each in missing:
                (folder / each).unlink(missing_ok=True)
            (folder / name).write_text(content + "\n", encoding="latin-1", errors="replace")
            look_at(folder)
        finally:
            for each in NAMES:
                (folder / each).unlink(missing_ok=True)
            for each, data in kept.items():
                (folder / each).write_bytes(data)


@given(st.lists(OBJECTS, max_size=10))
def test_events_have_the_types_that_they_declare(lines):
    found = [event for line in lines if (event := events.from_dict(line)) is not None]
    for event in found:
        assert events.from_dict(json.loads(json.dumps(events.to_dict(event)))) is not None
        assert all(not isinstance(value, list | dict) for value in vars(event).values())
    seen = Summary()
    seen.take(found, [1.0] * len(found))
    json.dumps(seen.figures())


@pytest.mark.parametrize(
    "line",
    [
        {"kind": "step", "step": "7"},
        {"kind": "step", "step": True},
        {"kind": "step", "step": 2**60},
        {"kind": "sample", "path": 7, "step": 1},
        {"kind": "sample", "step": 1},
        {"kind": "epoch", "epoch": None, "total": 1},
        {"kind": ["step"], "step": 1},
    ],
)
def test_an_event_of_another_type_is_left_out(line):
    assert events.from_dict(line) is None


def test_an_optional_value_of_another_type_is_not_known():
    assert events.from_dict({"kind": "step", "step": 7, "loss": [1]}) == events.Step(7)


def test_an_event_of_a_newer_easel_keeps_what_this_one_knows():
    assert events.from_dict({"kind": "step", "step": 7, "new": {}}) == events.Step(7)
    assert events.from_dict({"kind": "notice", "severity": "grave", "text": "x"}) == events.Notice("info", "x")


def test_a_result_keeps_only_values_of_the_expected_types():
    made = {"state": "FAILED", "outputs": ["a", 7], "notices": "x", "seconds": "soon", "diagnosis": 3, "acceptance": {}}
    assert readable(made) == {
        "state": "FAILED", "outputs": ["a"], "notices": [], "seconds": None, "diagnosis": None, "acceptance": {}
    }  # fmt: skip
    assert readable({"state": "RUNNING"}) is None
    assert readable({"outputs": []}) is None


@given(OBJECTS)
def test_a_stop_request_is_always_within_bounds(data):
    assert 0 <= StopRequest.from_dict(data).grace_s <= 3600


@given(OBJECTS)
def test_a_spec_is_read_or_refused(data):
    try:
        spec = Spec.from_dict(data)
    except (KeyError, TypeError, ValueError):
        return
    assert all(isinstance(word, str) for step in spec.steps for word in step.argv)
    assert os.fspath(spec.working_directory)

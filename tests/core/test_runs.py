"""A run of real processes: how it ends, what it delivers, and what a process that attaches to it can read."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from tests.support.played import (
    LIMIT_S,
    diagnosis,
    ended,
    job,
    judged,
    processes_of,
    record,
    result,
    start,
    steps,
    told,
    until,
)
from trainer_core.engines import registry
from trainer_core.errors import EaselError, JobError
from trainer_core.events import Checkpoint, Notice, Sample, StateChange, Step
from trainer_core.jobs.folder import SCHEMA_VERSION
from trainer_core.jobs.state import JobState
from trainer_core.plan.sections import TrainingPlan
from trainer_core.training.run import Run, list_runs


def test_a_run_ends_with_an_accepted_lora_under_the_requested_name(tmp_path, images):
    output = {"save_every_steps": 5, "copy_to": str(tmp_path / "comfy")}
    run = ended(tmp_path, dataset=images, output=output, steps_per_second=40.0)
    assert run.state is JobState.COMPLETED
    outcome = result(run)
    expected = ["cg_mika.safetensors", "cg_mika.safetensors"]
    expected += [f"cg_mika-step{step:08d}.safetensors" for step in (5, 10, 15)]
    assert [Path(file).name for file in outcome["outputs"]] == expected
    assert [Path(file).parent.name for file in outcome["outputs"]] == ["out", "comfy", "out", "out", "out"]
    assert outcome["acceptance"]["rank"] == 4
    assert outcome["peak_memory_bytes"] > 1 << 20
    assert steps(run) == list(range(1, 21))
    assert [event.step for event in told(run) if isinstance(event, Checkpoint)] == [5, 10, 15]
    assert isinstance(told(run)[-1], StateChange)
    assert sorted(path.name for path in (run.folder.path / "dataset").glob("*.png"))


def test_an_existing_output_is_never_overwritten(tmp_path):
    for number in range(2):
        run = ended(tmp_path, output={"save_every_steps": 10})
        names = {Path(file).name for file in result(run)["outputs"]}
        stem = "cg_mika" if number == 0 else "cg_mika-2"
        assert names == {f"{stem}.safetensors", f"{stem}-step00000010.safetensors"}
    assert not list((tmp_path / "out").glob(".*"))


def test_a_lora_that_cannot_be_delivered_stays_in_the_run_folder(tmp_path):
    (tmp_path / "out").write_text("not a folder")
    run = ended(tmp_path)
    assert run.state is JobState.COMPLETED
    assert Path(result(run)["outputs"][0]).is_relative_to(run.folder.path)
    assert any(isinstance(event, Notice) and "stays in the run folder" in event.text for event in told(run))


FAILURES = {
    "oom": "oom_cuda",
    "crash": "unknown_optimizer",
    "empty": "no_data",
    "killed": "out-of-memory",
    "flawed": "output-refused",
}


@pytest.fixture(scope="module")
def failures(tmp_path_factory) -> dict[str, Run]:
    """One run for each way to fail, all started at once."""
    started = {ending: start(tmp_path_factory.mktemp(ending), ending=ending) for ending in FAILURES}
    for run in started.values():
        run.wait(LIMIT_S)
    return started


@pytest.mark.parametrize("ending", FAILURES)
def test_a_failure_is_explained_in_a_sentence_without_a_stack_trace(failures, ending):
    run = failures[ending]
    assert run.state is JobState.FAILED
    found = diagnosis(run)
    assert found.id == FAILURES[ending]
    assert found.cause.endswith(".")
    assert found.advice
    assert "Traceback" not in found.cause + found.line + found.advice
    assert result(run)["outputs"] == []
    assert not (run.folder.path.parents[1] / "out").exists()
    assert run.folder.supervisor_log.read_text() == ""


def test_a_lora_that_was_complete_before_the_engine_failed_is_delivered_with_a_notice(tmp_path):
    run = ended(tmp_path, ending="late")
    assert run.state is JobState.COMPLETED
    assert Path(result(run)["outputs"][0]).is_file()
    assert any("exit code 1" in notice for notice in result(run)["notices"])


def test_a_full_disk_is_diagnosed_even_if_the_log_could_not_be_written(tmp_path, monkeypatch):
    run = ended(tmp_path, ending="crash", at=1, steps=2)
    run.folder.log.write_text("steps:  50%|##")
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=4096))
    found = judged(run.folder, 1).diagnosis
    assert found is not None
    assert found.id == "disk-full"


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ("Error while deserializing header: HeaderTooLarge", "disk-full"),
        ("RuntimeError: [enforce fail at inline_container.cc:668] . unexpected pos 576 vs 534", "disk-full"),
        ("torch.OutOfMemoryError: CUDA out of memory.", "oom_cuda"),
    ],
)
def test_a_full_disk_outranks_what_follows_from_it_but_not_what_is_certain(tmp_path, monkeypatch, said, name):
    run = ended(tmp_path, ending="crash", at=1, steps=2)
    run.folder.log.write_text(f"Traceback (most recent call last):\n  File\n{said}\n")
    judge = lambda: judged(run.folder, 1).diagnosis  # noqa: E731
    assert getattr(judge(), "id", "") != "disk-full"
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=4096))
    assert getattr(judge(), "id", "") == name


def test_a_loss_of_nan_ends_the_run(tmp_path):
    run = ended(tmp_path, steps=40_000, ending="nan", at=10)
    assert run.state is JobState.FAILED
    assert diagnosis(run).id == "nan-loss"
    assert steps(run) == list(range(1, len(steps(run)) + 1))
    assert len(steps(run)) < 40_000
    until(lambda: processes_of(run) == [])


def test_nan_in_only_the_last_steps_fails_the_run_too(tmp_path):
    run = ended(tmp_path, steps=12, ending="nan", at=11)
    assert diagnosis(run).id == "output-refused"


def test_an_incomplete_line_of_events_is_left_for_the_next_call(tmp_path):
    run = ended(tmp_path)
    before, offset = run.events()
    half = json.dumps({"kind": "step", "step": 21, "loss": float("nan")}).encode()
    with run.folder.events.open("ab") as file:
        file.write(half[:9])
        file.flush()
        assert run.events(offset) == ([], offset)
        file.write(half[9:] + b"\n{damaged\n")
    found, end = run.events(offset)
    assert [type(event) for event in found] == [Step]
    assert end == run.folder.events.stat().st_size
    assert len(before) > 20


def test_all_handles_of_a_run_return_the_same_values(tmp_path):
    run = start(tmp_path, steps=40, steps_per_second=15.0)
    other = Run.attach(run.folder.path)
    until(lambda: other.summary.step >= 1)
    assert other.state is JobState.RUNNING
    assert other.summary.total == 40
    assert other.wait(LIMIT_S) is JobState.COMPLETED
    assert other.summary == run.summary
    assert other.summary.loss is not None
    assert other.summary.learning_rate == pytest.approx(1e-4)


def test_samples_are_reported_with_their_steps(tmp_path):
    plan = job(tmp_path).model_copy(update={"sampling": TrainingPlan().sampling.model_copy(update={"every_steps": 8})})
    run = Run.prepare(plan, registry.get("rehearsal"), folder=tmp_path / "runs")
    run.launch()
    run.wait(LIMIT_S)
    samples = [event for event in told(run) if isinstance(event, Sample)]
    assert [event.step for event in samples] == [8, 16]
    assert Image.open(run.folder.path / samples[-1].path).size == (64, 64)
    assert run.summary.newest_sample == samples[-1].path


def test_runs_are_listed_newest_first_under_their_own_names(tmp_path):
    first, second = ended(tmp_path, steps=2), ended(tmp_path, steps=2)
    (tmp_path / "runs" / "something").mkdir()
    assert [run.folder.path for run in list_runs(tmp_path / "runs")] == [second.folder.path, first.folder.path]
    assert list_runs(tmp_path / "none") == []
    assert first.folder.path.name.endswith("-cg_mika")


def test_a_run_can_be_started_only_once(tmp_path):
    run = ended(tmp_path, steps=2)
    with pytest.raises(JobError, match="already started"):
        run.launch()


def test_a_prepared_run_can_be_started_later_or_cancelled(tmp_path):
    run = Run.prepare(job(tmp_path, steps=2), registry.get("rehearsal"), folder=tmp_path / "runs")
    assert Run.attach(run.folder.path).state is JobState.PREPARED
    Run.attach(run.folder.path).launch()
    assert run.wait(LIMIT_S) is JobState.COMPLETED
    other = Run.prepare(job(tmp_path), registry.get("rehearsal"), folder=tmp_path / "runs")
    assert other.stop() is JobState.CANCELLED


def test_a_folder_of_a_newer_easel_and_an_unrelated_folder_are_refused(tmp_path):
    run = ended(tmp_path, steps=2)
    run.folder.write("versions.json", {**run.folder.versions, "schema_version": SCHEMA_VERSION + 1})
    with pytest.raises(JobError, match="newer Easel"):
        Run.attach(run.folder.path)
    with pytest.raises(JobError, match="not a job folder"):
        Run.attach(tmp_path)


def test_a_run_that_cannot_be_prepared_leaves_no_folder(tmp_path, images):
    images.images[0].path.rename(tmp_path / "away.png")
    with pytest.raises(EaselError, match="was removed"):
        start(tmp_path, dataset=images)
    assert list((tmp_path / "runs").iterdir()) == []
    (tmp_path / "away.png").rename(images.images[0].path)


def test_no_file_of_a_run_contains_a_token(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret_of_the_user")
    run = ended(tmp_path, steps=2)
    for path in run.folder.path.rglob("*"):
        assert not path.is_file() or b"hf_secret_of_the_user" not in path.read_bytes()


def test_an_engine_that_cannot_be_started_gives_a_diagnosis(tmp_path):
    run = Run.prepare(job(tmp_path), registry.get("rehearsal"), folder=tmp_path / "runs")
    spec = record(run, "spec.json")
    step = {**spec["steps"][0], "argv": [str(tmp_path / "nowhere" / "python")]}
    run.folder.write("spec.json", {**spec, "steps": [step]})
    run.launch()
    assert run.wait(LIMIT_S) is JobState.FAILED
    assert diagnosis(run).id == "not-started"
    assert run.folder.supervisor_log.read_text() == ""


def test_the_plan_of_a_run_can_be_read_again(tmp_path):
    run = Run.prepare(job(tmp_path), registry.get("rehearsal"), folder=tmp_path / "runs")
    assert TrainingPlan.model_validate(run.folder.plan) == job(tmp_path)
    assert run.folder.spec.total_steps == 20

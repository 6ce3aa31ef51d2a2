"""A run, played by real processes: how it ends, what it delivers, and what its folder tells to whoever attaches."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from tests.core.played import LIMIT_S, diagnosis, ended, job, processes_of, record, result, start, steps, told, until
from trainer_core import registry
from trainer_core.errors import EaselError, RunError
from trainer_core.events import Checkpoint, Notice, Sample, StateChange, Step
from trainer_core.plan.sections import TrainingPlan
from trainer_core.runs import outcome
from trainer_core.runs.directory import SCHEMA_VERSION
from trainer_core.runs.run import Run, RunState, list_runs


def test_a_run_ends_with_an_accepted_lora_under_the_asked_name(tmp_path, pictures):
    output = {"save_every_steps": 5, "copy_to": str(tmp_path / "comfy")}
    run = ended(tmp_path, dataset=pictures, output=output, steps_per_second=40.0)
    assert run.state is RunState.COMPLETED
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
    assert sorted(path.name for path in (run.directory.path / "dataset").glob("*.png"))


def test_an_output_that_is_there_is_never_overwritten(tmp_path):
    for number in range(2):
        run = ended(tmp_path, output={"save_every_steps": 10})
        names = {Path(file).name for file in result(run)["outputs"]}
        stem = "cg_mika" if number == 0 else "cg_mika-2"
        assert names == {f"{stem}.safetensors", f"{stem}-step00000010.safetensors"}
    assert not list((tmp_path / "out").glob(".*"))


def test_a_lora_that_cannot_be_delivered_stays_in_the_run_folder(tmp_path):
    (tmp_path / "out").write_text("not a folder")
    run = ended(tmp_path)
    assert run.state is RunState.COMPLETED
    assert Path(result(run)["outputs"][0]).is_relative_to(run.directory.path)
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
    """One run for each way to fail, all played at once."""
    started = {ending: start(tmp_path_factory.mktemp(ending), ending=ending) for ending in FAILURES}
    for run in started.values():
        run.wait(LIMIT_S)
    return started


@pytest.mark.parametrize("ending", FAILURES)
def test_a_failure_is_a_sentence_and_no_stack_trace(failures, ending):
    run = failures[ending]
    assert run.state is RunState.FAILED
    found = diagnosis(run)
    assert found.id == FAILURES[ending]
    assert found.cause.endswith(".")
    assert found.advice
    assert "Traceback" not in found.cause + found.line + found.advice
    assert result(run)["outputs"] == []
    assert not (run.directory.path.parents[1] / "out").exists()
    assert run.directory.runner_log.read_text() == ""


def test_a_lora_that_was_whole_before_its_engine_failed_is_delivered_and_that_is_said(tmp_path):
    run = ended(tmp_path, ending="late")
    assert run.state is RunState.COMPLETED
    assert Path(result(run)["outputs"][0]).is_file()
    assert any("exit code 1" in notice for notice in result(run)["notices"])


def test_a_full_disk_is_named_when_the_log_can_say_nothing_any_more(tmp_path, monkeypatch):
    run = ended(tmp_path, ending="crash", at=1, steps=2)
    run.directory.log.write_text("steps:  50%|##")
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=4096))
    found = outcome.judge(run.directory, run.directory.spec, registry.get("rehearsal").manifest, 1).diagnosis
    assert found is not None
    assert found.id == "disk-full"


def test_a_loss_that_is_no_number_any_more_ends_the_run(tmp_path):
    run = ended(tmp_path, steps=40_000, ending="nan", at=10)
    assert run.state is RunState.FAILED
    assert diagnosis(run).id == "nan-loss"
    assert steps(run) == list(range(1, len(steps(run)) + 1))
    assert len(steps(run)) < 40_000
    until(lambda: processes_of(run) == [])


def test_a_few_steps_of_nan_before_the_end_do_not_pass_either(tmp_path):
    run = ended(tmp_path, steps=12, ending="nan", at=11)
    assert diagnosis(run).id == "output-refused"


def test_a_line_that_is_half_written_is_left_for_the_next_reading(tmp_path):
    run = ended(tmp_path)
    before, offset = run.events()
    half = json.dumps({"kind": "step", "step": 21, "loss": float("nan")}).encode()
    with run.directory.events.open("ab") as file:
        file.write(half[:9])
        file.flush()
        assert run.events(offset) == ([], offset)
        file.write(half[9:] + b"\n{damaged\n")
    found, end = run.events(offset)
    assert [type(event) for event in found] == [Step]
    assert end == run.directory.events.stat().st_size
    assert len(before) > 20


def test_every_handle_sees_the_same(tmp_path):
    run = start(tmp_path, steps=40, steps_per_second=15.0)
    other = Run.attach(run.directory.path)
    until(lambda: other.summary.step >= 1)
    assert other.state is RunState.RUNNING
    assert other.summary.total == 40
    assert other.wait(LIMIT_S) is RunState.COMPLETED
    assert other.summary == run.summary
    assert other.summary.loss is not None
    assert other.summary.learning_rate == pytest.approx(1e-4)


def test_samples_are_told_by_step(tmp_path):
    plan = job(tmp_path).model_copy(update={"sampling": TrainingPlan().sampling.model_copy(update={"every_steps": 8})})
    run = Run.start(plan, registry.get("rehearsal"), folder=tmp_path / "runs")
    run.wait(LIMIT_S)
    samples = [event for event in told(run) if isinstance(event, Sample)]
    assert [event.step for event in samples] == [8, 16]
    assert Image.open(run.directory.path / samples[-1].path).size == (64, 64)
    assert run.summary.newest_sample == samples[-1].path


def test_runs_are_listed_newest_first_and_their_names_are_their_own(tmp_path):
    first, second = ended(tmp_path, steps=2), ended(tmp_path, steps=2)
    (tmp_path / "runs" / "something").mkdir()
    assert [run.directory.path for run in list_runs(tmp_path / "runs")] == [second.directory.path, first.directory.path]
    assert list_runs(tmp_path / "none") == []
    assert first.directory.path.name.endswith("-cg_mika")


def test_a_run_is_started_once(tmp_path):
    run = ended(tmp_path, steps=2)
    with pytest.raises(RunError, match="started before"):
        run.launch()


def test_a_prepared_run_can_be_started_later_or_called_off(tmp_path):
    run = Run.prepare(job(tmp_path, steps=2), registry.get("rehearsal"), folder=tmp_path / "runs")
    assert Run.attach(run.directory.path).state is RunState.PREPARED
    Run.attach(run.directory.path).launch()
    assert run.wait(LIMIT_S) is RunState.COMPLETED
    other = Run.prepare(job(tmp_path), registry.get("rehearsal"), folder=tmp_path / "runs")
    assert other.stop() is RunState.CANCELLED


def test_a_folder_of_a_newer_easel_says_so(tmp_path):
    run = ended(tmp_path, steps=2)
    run.directory.write("versions.json", {**run.directory.versions, "schema_version": SCHEMA_VERSION + 1})
    with pytest.raises(RunError, match="newer Easel"):
        Run.attach(run.directory.path)
    with pytest.raises(RunError, match="not a run folder"):
        Run.attach(tmp_path)


def test_a_run_that_cannot_be_prepared_leaves_no_folder(tmp_path, pictures):
    pictures.pictures[0].path.rename(tmp_path / "away.png")
    with pytest.raises(EaselError, match="gone"):
        start(tmp_path, dataset=pictures)
    assert list((tmp_path / "runs").iterdir()) == []
    (tmp_path / "away.png").rename(pictures.pictures[0].path)


def test_no_file_of_a_run_holds_a_token(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret_of_the_user")
    run = ended(tmp_path, steps=2)
    for path in run.directory.path.rglob("*"):
        assert not path.is_file() or b"hf_secret_of_the_user" not in path.read_bytes()


def test_an_engine_that_cannot_be_started_is_a_sentence(tmp_path):
    run = Run.prepare(job(tmp_path), registry.get("rehearsal"), folder=tmp_path / "runs")
    spec = record(run, "spec.json")
    run.directory.write("spec.json", {**spec, "command": [str(tmp_path / "nowhere" / "python")]})
    run.launch()
    assert run.wait(LIMIT_S) is RunState.FAILED
    assert diagnosis(run).id == "not-started"
    assert run.directory.runner_log.read_text() == ""


def test_the_plan_of_a_run_can_be_read_again(tmp_path):
    run = Run.prepare(job(tmp_path), registry.get("rehearsal"), folder=tmp_path / "runs")
    assert TrainingPlan.model_validate(run.directory.plan) == job(tmp_path)
    assert run.directory.spec.total_steps == 20

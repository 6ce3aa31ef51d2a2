"""A run, played by real processes: how it ends, that it outlives its starter, and that a stop leaves nothing behind."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from PIL import Image

from trainer_core import places, registry
from trainer_core.datasets.scan import Dataset, scan
from trainer_core.diagnosis import Diagnosis
from trainer_core.errors import RunError
from trainer_core.events import Checkpoint, Event, Notice, Sample, StateChange, Step
from trainer_core.plan.sections import TrainingPlan
from trainer_core.runs import processes
from trainer_core.runs.directory import SCHEMA_VERSION
from trainer_core.runs.run import FINAL_STATES, Run, RunState, list_runs

LIMIT_S = 20.0
FAST = 200.0


def job(tmp_path: Path, steps: int = 20, output: dict[str, Any] | None = None, **player: Any) -> TrainingPlan:
    tables = {
        "model": {"family": "sd15"},
        "network": {"rank": 4, "alpha": 2.0},
        "schedule": {"steps": steps},
        "output": {"name": "mika", "prefix": "cg_", "folder": str(tmp_path / "out"), **(output or {})},
        "native": {"rehearsal": {"steps_per_second": FAST, **player}},
    }
    return TrainingPlan.model_validate(tables)


def start(tmp_path: Path, dataset: Dataset | None = None, **more: Any) -> Run:
    return Run.start(job(tmp_path, **more), registry.get("rehearsal"), dataset, folder=tmp_path / "runs")


def ended(tmp_path: Path, **more: Any) -> Run:
    run = start(tmp_path, **more)
    assert run.wait(LIMIT_S) in FINAL_STATES
    return run


def result(run: Run) -> dict[str, Any]:
    assert run.result is not None
    return run.result


def diagnosis(run: Run) -> Diagnosis:
    assert run.diagnosis is not None
    return run.diagnosis


def record(run: Run, name: str) -> dict[str, Any]:
    data = run.directory.read(name)
    assert data is not None
    return data


def kill(run: Run, name: str, number: int = signal.SIGKILL) -> None:
    os.kill(record(run, name)["pid"], number)


def told(run: Run) -> list[Event]:
    return run.events()[0]


def steps(run: Run) -> list[int]:
    return [event.step for event in told(run) if isinstance(event, Step)]


def until(condition: Any, limit_s: float = LIMIT_S) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)


def processes_of(run: Run) -> list[int]:
    """The runner, the engine and what it started, as far as they live."""
    runner = processes.Identity.from_dict(record(run, "runner.json"))
    assert runner is not None
    found = [process.pid for process in processes.of_run(run.directory.path) if process.pid != runner.pid]
    return [runner.pid, *found] if runner.alive else found


@pytest.fixture
def pictures(tmp_path: Path) -> Iterator[Dataset]:
    """A dataset that must be byte for byte what it was, whatever a test does with it."""
    root = tmp_path / "pictures"
    root.mkdir()
    for number in range(3):
        Image.new("RGB", (256, 256), (40 * number, 90, 120)).save(root / f"{number}.png")
        (root / f"{number}.txt").write_text(f"mika, picture {number}")
    before = fingerprint(root)
    yield scan(root, registry.get("rehearsal").manifest.dataset, trigger="mika")
    assert fingerprint(root) == before


def fingerprint(folder: Path) -> dict[str, tuple[str, int]]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {
        str(path.relative_to(folder)): (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
        for path in files
    }


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


def test_a_loss_that_is_no_number_any_more_ends_the_run(tmp_path):
    run = ended(tmp_path, steps=4000, ending="nan", at=10)
    assert run.state is RunState.FAILED
    assert diagnosis(run).id == "nan-loss"
    assert steps(run) == list(range(1, len(steps(run)) + 1))
    assert len(steps(run)) < 4000
    until(lambda: processes_of(run) == [], 2)


def test_a_few_steps_of_nan_before_the_end_do_not_pass_either(tmp_path):
    run = ended(tmp_path, steps=12, ending="nan", at=11)
    assert diagnosis(run).id == "output-refused"


@pytest.mark.parametrize(("ending", "grace_s"), [("hang", 10.0), ("stubborn", 0.3), ("fork", 10.0)])
def test_a_stop_leaves_no_process_behind(tmp_path, pictures, ending, grace_s):
    run = start(tmp_path, dataset=pictures, steps=4000, ending=ending, at=10)
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
    until(lambda: processes_of(run) == [], 2)


def test_the_engine_gets_a_clean_environment_and_can_be_interrupted(tmp_path, monkeypatch):
    """Even when the starter lives in a background job, where SIGINT is ignored, or in somebody's hosted notebook."""
    for name in ("PYTHONPATH", "UV_SYSTEM_PYTHON", "MPLBACKEND", "VIRTUAL_ENV"):
        monkeypatch.setenv(name, "of the starter")
    monkeypatch.setenv("HF_TOKEN", "of the user")
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        run = start(tmp_path, steps=4000)
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
    run = start(tmp_path, steps=4000)
    until(lambda: run.summary.step >= 5)
    kill(run, "runner.json", signal.SIGTERM)
    assert run.wait(LIMIT_S) is RunState.CANCELLED
    until(lambda: processes_of(run) == [], 2)


def test_a_run_whose_runner_is_gone_is_lost_and_can_still_be_stopped(tmp_path, pictures):
    run = start(tmp_path, dataset=pictures, steps=4000, ending="fork")
    until(lambda: run.summary.step >= 5)
    kill(run, "runner.json")
    until(lambda: run.state is RunState.LOST, 2)
    assert "still works" in diagnosis(run).advice
    assert run.stop(5.0) is RunState.CANCELLED
    assert processes_of(run) == []


def test_a_lost_run_with_nothing_left_of_it_stays_lost(tmp_path):
    run = start(tmp_path, steps=4000)
    until((run.directory.path / "engine.json").exists)
    for name in ("runner.json", "engine.json"):
        kill(run, name)
    until(lambda: run.state is RunState.LOST, 2)
    assert run.stop(1.0) is RunState.LOST
    assert "restarted" in diagnosis(run).advice


def test_a_number_that_was_given_to_another_process_is_not_the_runner(tmp_path):
    run = ended(tmp_path)
    (run.directory.path / "result.json").unlink()
    run.directory.write("runner.json", {"pid": os.getpid(), "started": "another boot:1"})
    assert run.state is RunState.LOST


STARTER = """
import sys, time
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_runs import job
from trainer_core import registry
from trainer_core.datasets.scan import scan
from trainer_core.runs.run import Run
here = Path(sys.argv[1])
backend = registry.get("rehearsal")
dataset = scan(here / "pictures", backend.manifest.dataset)
run = Run.start(job(here, steps=60, steps_per_second=40.0), backend, dataset, folder=here / "runs")
print(run.directory.path, flush=True)
time.sleep(60)
"""


def test_a_run_outlives_a_starter_that_is_killed(tmp_path, pictures):
    """The starter dies by kill -9, this process attaches: every step is there once, and the run completes."""
    script = STARTER.format(tests=str(Path(__file__).parent))
    command = [sys.executable, "-c", script, str(tmp_path)]
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
    run = start(tmp_path, dataset=pictures, steps=4000)
    until((run.directory.path / "engine.json").exists)
    kill(run, "engine.json")
    assert run.wait(LIMIT_S) is RunState.FAILED


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
    run = start(tmp_path, steps=40, steps_per_second=40.0)
    other = Run.attach(run.directory.path)
    until(lambda: other.summary.step >= 5)
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
    with pytest.raises(Exception, match="gone"):
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

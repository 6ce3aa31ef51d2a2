"""A complete result is delivered whatever happened to the engine or to Easel, and nothing else counts as a result."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.ends import EVERY, FILES, SLOW, checks_of, prepared, rows, verdicts
from tests.support.played import LIMIT_S, ended, job, judged, record, result, start, until
from trainer_core.engines import contract, registry
from trainer_core.errors import RunError
from trainer_core.events import Checkpoint
from trainer_core.jobs.journal import Journal
from trainer_core.jobs.outcome import End
from trainer_core.jobs.state import JobState
from trainer_core.training import artefacts, checking, delivery
from trainer_core.training.basis import Basis
from trainer_core.training.checking import CheckpointTests
from trainer_core.training.exiting import DOES_NOT_END, EXIT_S
from trainer_core.training.outcome import Seen, conclude
from trainer_core.training.run import Run
from trainer_core.training.watch import EngineWatch

ROOT = Path(__file__).parents[2]


# Easel changes while a run goes on


def copy_of_easel(folder: Path) -> Path:
    """Easel in a folder of its own, as a checkout is."""
    for name in ("trainer_core", "backends", "tests/support"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


START = """
import sys
from pathlib import Path
from tests.support.played import start
assert str(Path(sys.modules["trainer_core"].__file__)).startswith(sys.argv[2])
run = start(Path(sys.argv[1]), steps=400, steps_per_second=20.0, output={"save_every_steps": 100})
print(run.folder.path)
"""


def test_a_run_is_completed_and_delivered_though_easel_is_removed_while_it_trains(tmp_path):
    copy = copy_of_easel(tmp_path / "easel")
    environment = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    words = [sys.executable, "-P", "-c", START, str(tmp_path), str(copy)]
    started = subprocess.run(words, cwd=copy, env=environment, capture_output=True, text=True, check=False)
    assert started.returncode == 0, started.stderr
    run = Run.attach(Path(started.stdout.strip()))
    # A checkpoint is tested as soon as everything is loaded that a test needs.
    until(lambda: run.summary.checked)
    assert run.is_live
    shutil.rmtree(copy)
    assert run.wait(LIMIT_S) is JobState.COMPLETED, (run.diagnosis, run.folder.supervisor_log.read_text())
    assert [Path(file).name for file in result(run)["outputs"]] == [
        "cg_mika.safetensors",
        *(f"cg_mika-step{step:08d}.safetensors" for step in (100, 200, 300)),
    ]
    assert verdicts(run) == {100: True, 200: True, 300: True}
    assert run.folder.supervisor_log.read_text() == ""


JUDGING = """
import json, os, sys
from pathlib import Path
from trainer_core import places
from trainer_core.jobs.journal import Journal
from trainer_core.jobs.outcome import End
from trainer_core.training.kind import kind
from trainer_core.training.folder import RunFolder

run = RunFolder(Path(sys.argv[1]))
watch = kind.watch(run, Journal(run.events))
watch.preloading.wait()
own = tuple(str(places.CHECKOUT / name) + os.sep for name in ("trainer_core", "backends"))
opened = []
sys.addaudithook(lambda event, values: opened.append(str(values[0])) if event == "open" and str(values[0]).startswith(own) else None)
watch.look()
watch.finish()
ended = watch.outcome(End(int(sys.argv[2]), sys.argv[3]))
print(json.dumps({"opened": opened, "ended": ended.as_dict()}))
"""


@pytest.mark.parametrize(
    ("name", "engine", "how", "code", "state"),
    [
        ("kohya-lora_sd3", "kohya", "by itself", 0, "COMPLETED"),
        ("simpletuner-lora-comfyui", "simpletuner", "by itself", 0, "COMPLETED"),
        ("kohya-lora_sd3", "kohya", "stop", 0, "CANCELLED"),
        ("", "kohya", "by itself", 1, "FAILED"),
        ("", "simpletuner", "unseen", 1, "LOST"),
        ("model", "rehearsal", "by itself", 0, "COMPLETED"),
        ("embedding", "rehearsal", "by itself", 0, "COMPLETED"),
    ],
)
def test_nothing_of_easel_is_read_from_the_disk_to_decide_how_a_run_ended(tmp_path, name, engine, how, code, state):
    run = prepared(tmp_path, engine, name)
    words = [sys.executable, "-c", JUDGING, str(run.path), str(code), how]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["ended"]["state"] == state, found["ended"]
    assert found["opened"] == []


@pytest.mark.parametrize("change", ["deleted", "edited"])
def test_a_plan_that_changes_while_the_run_goes_on_does_not_change_what_its_result_is_tested_against(tmp_path, change):
    run = start(tmp_path, steps=40, steps_per_second=SLOW)
    until(lambda: run.summary.step >= 5)
    file = run.folder.path / "plan.toml"
    if change == "deleted":
        file.unlink()
    else:
        file.write_text(file.read_text().replace("rank = 4", "rank = 64").replace(str(tmp_path / "out"), "/nowhere"))
    assert run.wait(LIMIT_S) is JobState.COMPLETED, run.diagnosis
    assert Path(result(run)["outputs"][0]).parent == tmp_path / "out"
    assert run.folder.plan["network"]["rank"] == 4


def test_the_plan_of_an_older_run_folder_is_that_of_its_plan_file(tmp_path):
    run = ended(tmp_path)
    spec = record(run, "spec.json")
    del spec["details"]["plan"], spec["details"]["controls"]
    run.folder.write("spec.json", spec)
    assert run.folder.plan["network"]["rank"] == 4
    assert not run.folder.rendered.controls
    (run.folder.path / "plan.toml").unlink()
    with pytest.raises(RunError, match="cannot be read"):
        _ = run.folder.plan


# A result that is complete although the engine did not end well


def test_an_engine_that_hangs_after_it_has_saved_is_ended_and_its_run_completed(tmp_path):
    run = prepared(tmp_path, name="kohya-lora_sd3")
    now = 0.0
    watch = EngineWatch(Basis.of(run), Journal(run.events), lambda: now)
    watch.preloading.wait()

    def looks(seconds: float) -> Any:
        nonlocal now
        found = None
        for _ in range(round(seconds)):
            now += 1.0
            found = watch.look()
            time.sleep(0.02)
        return found

    assert looks(2 * EXIT_S) is None, "nothing says that the training is at its end"
    with run.log.open("a") as log:
        log.write("2026-11-20 12:19:08 INFO     model saved.\n")
    assert looks(EXIT_S - 2) is None
    (run.output / "toy.safetensors").write_bytes((run.output / "toy.safetensors").read_bytes() + b" ")
    assert looks(EXIT_S - 2) is None, "something has come"
    shutil.copy(run.output / "toy-step00000004.safetensors", run.output / "toy.safetensors")
    found = None
    deadline = time.monotonic() + LIMIT_S
    while found is None and time.monotonic() < deadline:
        found = looks(1)
    assert found == DOES_NOT_END
    watch.finish()
    ended = watch.outcome(End(-15, "watch", found))
    assert ended.state is JobState.COMPLETED
    assert ended.diagnosis is None
    assert "did not end after its LoRA was complete" in ended.notices[-1]


def test_a_refused_result_does_not_end_an_engine_that_is_silent(tmp_path):
    run = prepared(tmp_path, name="lycoris-loha")
    now = 0.0
    watch = EngineWatch(Basis.of(run), Journal(run.events), lambda: now)
    watch.preloading.wait()
    with run.log.open("a") as log:
        log.write("2026-11-20 12:19:08 INFO     model saved.\n")
    for _ in range(100):
        now += 2.0
        assert watch.look() is None
        time.sleep(0.01)
    watch.finish()


@pytest.mark.parametrize("ending", ["stays", "lingers"])
def test_a_stop_after_the_result_is_complete_gives_a_completed_run_with_a_notice(tmp_path, ending):
    run = start(tmp_path, ending=ending, output=EVERY)
    until(lambda: run.summary.step >= 20 and (run.folder.output / "cg_mika.safetensors").is_file())
    assert run.stop(grace_s=2) is JobState.COMPLETED
    assert "The stop came after the LoRA was complete" in result(run)["notices"][-1]
    assert Path(result(run)["outputs"][0]) == tmp_path / "out" / "cg_mika.safetensors"
    assert rows(run)["File"]


def test_a_stop_on_the_way_never_counts_a_checkpoint_as_the_result(tmp_path):
    """The result of SimpleTuner is its last checkpoint; with the pattern of its checkpoints any of them looks like it."""
    run = prepared(tmp_path, name="kohya-lora_sd3")
    every = dataclasses.replace(FILES, final=FILES.checkpoints)
    spec = dataclasses.replace(run.rendered, artefacts=every)
    basis = Basis(run, spec, run.plan, registry.get("rehearsal"))
    for how, state in (("stop", JobState.CANCELLED), ("unseen", JobState.LOST)):
        tests = CheckpointTests(run.path, lambda path: checking.tested(path, run.plan))
        tests.add(Checkpoint("output/toy-step00000004.safetensors", 4))
        found = conclude(basis, End(None, how), Seen(last_step=False), tests, lambda *_: None)
        assert (found.state, found.outputs) == (state, [])
        assert found.newest_good == {"path": "output/toy-step00000004.safetensors", "step": 4}


def test_simpletuner_names_the_checkpoint_of_the_last_step_and_no_other_as_its_result():
    engine = registry.get("simpletuner")
    spec = engine.render(contract.plan_of(engine, "sdxl", "lora"), contract.place())
    half = "checkpoint-5/pytorch_lora_weights.safetensors"
    last = half.replace("5", "10")
    assert not artefacts.re.search(spec.artefacts.final.pattern, half)
    assert artefacts.re.search(spec.artefacts.final.pattern, last)


def test_a_result_that_nobody_saw_being_finished_is_accepted_with_a_notice(tmp_path):
    found = judged(prepared(tmp_path, name="kohya-lora_sd3"), None, how="unseen")
    assert found.state is JobState.COMPLETED
    assert "Nobody saw how the engine ended" in found.notices[-1]
    assert Path(found.outputs[0]).is_file()


def test_a_lost_run_says_what_is_known_which_checkpoint_is_usable_and_what_to_do(tmp_path):
    run = prepared(tmp_path, name="kohya-lora_sd3")
    (run.output / "toy.safetensors").unlink()
    basis = Basis(run, run.rendered, run.plan, registry.get("rehearsal"))
    tests = checks_of(run, lambda path: checking.tested(path, run.plan))
    found = conclude(basis, End(None, "unseen"), Seen(last_step=False), tests, lambda *_: None)
    assert found.state is JobState.LOST
    assert found.diagnosis is not None
    assert found.diagnosis.cause.startswith("The engine ended while no supervisor of Easel watched it")
    assert "memory" in found.diagnosis.cause
    assert "step 4" in found.diagnosis.advice
    assert f"easel runs use {run.path.name}" in found.diagnosis.advice


# Names and folders, checked by the functions themselves


@pytest.mark.parametrize("stem", ["../stray", "a/b", "..", "a\\b", "", "a\0b"])
def test_a_result_cannot_be_delivered_under_a_name_that_is_a_path(tmp_path, stem):
    (final := tmp_path / "last.safetensors").write_bytes(b"final")
    with pytest.raises(RunError, match="must be a name"):
        list(delivery.deliver(final, (), tmp_path / "out", stem))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ({"prefix": "../../"}, "file name"),
        ({"name": "../stray"}, "file name"),
        ({"name": "a" * 130}, "120 bytes"),
        ({"folder": "{images}/out"}, "in a folder with your images"),
        ({"copy_to": "{images}"}, "in a folder with your images"),
    ],
)
def test_a_run_is_refused_whoever_prepares_it(tmp_path, images, output, words):
    made = {name: text.format(images=tmp_path / "images") for name, text in output.items()}
    plan = job(tmp_path, output=made)
    plan = plan.model_copy(update={"dataset": plan.dataset.model_copy(update={"path": str(tmp_path / "images")})})
    with pytest.raises(RunError, match=words):
        Run.prepare(plan, registry.get("rehearsal"), images, folder=tmp_path / "runs")
    assert not list((tmp_path / "runs").glob("*"))


def test_a_run_with_a_blocking_problem_of_its_engine_is_refused_whoever_prepares_it(tmp_path):
    with pytest.raises(RunError, match="no option nonsense"):
        Run.prepare(job(tmp_path, nonsense=1), registry.get("rehearsal"), folder=tmp_path / "runs")


def test_a_folder_that_stops_taking_files_on_the_way_keeps_what_arrived_and_loses_nothing(tmp_path, monkeypatch):
    run = prepared(tmp_path, name="kohya-lora_sd3")
    linked = os.link

    def full(source: Any, target: Any, **more: Any) -> None:
        if "-step" in str(target):
            raise OSError(30, "Read-only file system")
        linked(source, target, **more)

    monkeypatch.setattr(os, "link", full)
    monkeypatch.setattr(shutil, "copyfile", full)
    found = judged(run)
    assert found.state is JobState.COMPLETED
    assert [Path(path).name for path in found.outputs] == ["toy.safetensors"]
    assert "Some checkpoints stay in the run folder." in found.notices[0]
    assert "Read-only file system" in found.notices[0]
    (row,) = found.checkpoints
    assert (row["ok"], row["delivered"]) == (True, "")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["toy.safetensors"]

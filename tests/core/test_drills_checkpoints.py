"""Whatever way a run ends: its checkpoints are tested, the newest good one is named and can be taken, and nothing is lost."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from safetensors.numpy import save_file

from tests.support import recorded_networks, trained_models
from tests.support.played import LIMIT_S, diagnosis, ended, job, judged, kill, record, result, start, told, until
from trainer_core.cli import easel
from trainer_core.engines import contract, registry
from trainer_core.engines.seam import Place
from trainer_core.errors import RunError
from trainer_core.events import Checked, Checkpoint, Notice, Step
from trainer_core.jobs import processes
from trainer_core.jobs.folder import STOP
from trainer_core.jobs.journal import Journal
from trainer_core.jobs.outcome import End
from trainer_core.jobs.state import FINAL_STATES, JobState
from trainer_core.training import artefacts, checking, controls, delivery
from trainer_core.training.basis import Basis
from trainer_core.training.checking import NOT_TESTED, CheckpointTests
from trainer_core.training.exiting import DOES_NOT_END, EXIT_S
from trainer_core.training.folder import RunFolder
from trainer_core.training.forked import Forked
from trainer_core.training.outcome import Seen, conclude
from trainer_core.training.run import Run
from trainer_core.training.use import newest_good, saved, use
from trainer_core.training.verdict import verdict
from trainer_core.training.watch import EngineWatch

ROOT = Path(__file__).parents[2]
SLOW = 40.0
EVERY = {"save_every_steps": 5}


def verdicts(run: Run) -> dict[int, bool | None]:
    """The recorded verdicts by step."""
    return {row["step"]: row["ok"] for row in result(run)["checkpoints"]}


def rows(run: Run) -> dict[str, str]:
    return {row["label"]: row["text"] for row in verdict(run)}


def easel_says(run: Run, *words: str) -> Any:
    """What `easel runs` prints about a run, with the exit code."""
    return CliRunner().invoke(easel, ["runs", words[0], str(run.folder.path), *words[1:]], catch_exceptions=True)


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
run = start(Path(sys.argv[1]), steps=80, steps_per_second=20.0, output={"save_every_steps": 20})
print(run.folder.path)
"""


def test_a_run_is_completed_and_delivered_though_easel_is_removed_while_it_trains(tmp_path):
    copy = copy_of_easel(tmp_path / "easel")
    environment = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    words = [sys.executable, "-P", "-c", START, str(tmp_path), str(copy)]
    started = subprocess.run(words, cwd=copy, env=environment, capture_output=True, text=True, check=False)
    assert started.returncode == 0, started.stderr
    run = Run.attach(Path(started.stdout.strip()))
    until(lambda: run.summary.step >= 30)
    shutil.rmtree(copy)
    assert run.wait(LIMIT_S) is JobState.COMPLETED, (run.diagnosis, run.folder.supervisor_log.read_text())
    assert [Path(file).name for file in result(run)["outputs"]] == [
        "cg_mika.safetensors",
        *(f"cg_mika-step{step:08d}.safetensors" for step in (20, 40, 60)),
    ]
    assert verdicts(run) == {20: True, 40: True, 60: True}
    assert run.folder.supervisor_log.read_text() == ""


FILES = artefacts.Artefacts(
    artefacts.ArtefactPattern("toy.safetensors", "^toy.safetensors$"),
    artefacts.ArtefactPattern("toy-step*.safetensors", r"^toy-step(?P<step>\d{8})\.safetensors$"),
    artefacts.ArtefactPattern("none", "^none$"),
)


def prepared(tmp_path: Path, engine: str = "rehearsal", name: str = "") -> RunFolder:
    """A run whose engine has ended, with this result and the same as the checkpoint of step 4; without a name nothing."""
    run, backend = RunFolder.create(tmp_path / "runs", "stage"), registry.get(engine)
    spec = backend.render(contract.plan_of(backend, "sdxl", "lora"), contract.place(str(run.path)))
    run.output.mkdir()
    run.log.write_text("torch.OutOfMemoryError: CUDA out of memory.\n")
    (base := tmp_path / "base").mkdir()
    tables: dict[str, Any] = {"network": {"algorithm": "lora", "rank": 4, "alpha": 2.0}}
    if name == "model":
        save_file(trained_models.sd15(), base / "base.safetensors")
        tables = trained_models.asked(base / "base.safetensors")
        save_file(trained_models.trained(trained_models.sd15()), run.output / "toy.safetensors")
    elif name == "embedding":
        save_file(trained_models.sd15(), base / "base.safetensors")
        tables = trained_models.wanted(base / "base.safetensors")
        save_file(trained_models.words_of(trained_models.sd15()), run.output / "toy.safetensors")
    elif name:
        recorded_networks.write(name, run.output).rename(run.output / "toy.safetensors")
    if name:
        shutil.copy(run.output / "toy.safetensors", run.output / "toy-step00000004.safetensors")
    output = {"name": "toy", "folder": str(tmp_path / "out")}
    run.write_job({**tables, "output": output}, dataclasses.replace(spec, artefacts=FILES), {}, {})
    return run


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


# Every end


def stopped(tmp_path: Path) -> Run:
    run = start(tmp_path, steps=4000, steps_per_second=SLOW, output=EVERY)
    until(lambda: 10 in [event.step for event in told(run) if isinstance(event, Checkpoint)])
    run.stop()
    return run


ENDS = {
    "success": (JobState.COMPLETED, {5: True, 10: True, 15: True}),
    "killed": (JobState.FAILED, {5: True}),
    "crash": (JobState.FAILED, {5: True}),
    "cut": (JobState.FAILED, {5: True, 10: False}),
    "nan": (JobState.FAILED, {5: True, 10: True, 15: False}),
}


@pytest.fixture(scope="module")
def ends(tmp_path_factory) -> dict[str, Run]:
    """A run for each way to end, all started at once."""
    found = {}
    for ending in ENDS:
        steps = 4000 if ending == "nan" else 20
        found[ending] = start(
            tmp_path_factory.mktemp(ending), ending=ending, at=10, steps=steps, steps_per_second=SLOW, output=EVERY
        )
    for run in found.values():
        assert run.wait(LIMIT_S) in FINAL_STATES
    return found


@pytest.mark.parametrize("ending", ENDS)
def test_every_checkpoint_of_a_run_is_tested_however_it_ends(ends, ending):
    run, (state, expected) = ends[ending], ENDS[ending]
    assert run.state is state
    found = verdicts(run)
    assert {step: found[step] for step in expected} == expected
    assert None not in found.values()
    events = {event.step: event.ok for event in told(run) if isinstance(event, Checked)}
    assert events == found
    assert {one["step"]: one["ok"] for one in run.summary.figures()["checked"]} == found
    assert run.folder.supervisor_log.read_text() == ""


def test_a_stopped_run_has_its_checkpoints_tested_too(tmp_path):
    run = stopped(tmp_path)
    assert run.state is JobState.CANCELLED
    assert verdicts(run)
    assert set(verdicts(run).values()) == {True}
    assert result(run)["newest_good"]["step"] == max(verdicts(run))


def test_half_a_checkpoint_is_never_good_and_the_one_before_it_is_named(ends):
    run = ends["cut"]
    assert result(run)["newest_good"] == {"path": "output/cg_mika-step00000005.safetensors", "step": 5}
    half = next(row for row in result(run)["checkpoints"] if row["step"] == 10)
    assert half["reasons"]
    said = rows(run)
    assert said["Newest usable checkpoint"] == f"step 5, {run.folder.output / 'cg_mika-step00000005.safetensors'}"
    assert said["To take it"] == f"easel runs use {run.name}"
    shown = easel_says(run, "show").output
    assert "newest usable checkpoint: step 5" in shown.replace("\n", " ").replace("  ", " ")


def test_a_nan_loss_names_the_last_good_checkpoint_from_before_it(ends):
    run = ends["nan"]
    assert diagnosis(run).id == "nan-loss"
    assert result(run)["newest_good"]["step"] == 5
    assert "before the loss became NaN is that of step 5" in diagnosis(run).advice
    by_step = {row["step"]: row for row in result(run)["checkpoints"]}
    assert by_step[5]["notes"] == []
    assert "its values are finite" in by_step[10]["notes"][0]
    assert "NaN or infinity" in by_step[15]["reasons"][0]


def test_a_complete_run_names_no_checkpoint_in_its_verdict_and_says_where_each_was_delivered(ends):
    run = ends["success"]
    assert "Newest usable checkpoint" not in rows(run)
    places = [Path(row["delivered"]) for row in result(run)["checkpoints"]]
    assert [path.name for path in places] == [f"cg_mika-step{step:08d}.safetensors" for step in (5, 10, 15)]
    assert all(path.is_file() for path in places)


def test_a_bad_checkpoint_of_a_complete_run_is_not_delivered_and_that_is_said(tmp_path):
    run = prepared(tmp_path, name="kohya-lora_sd3")
    good = (run.output / "toy-step00000004.safetensors").read_bytes()
    (run.output / "toy-step00000006.safetensors").write_bytes(good[: len(good) // 2])
    found = judged(run)
    assert [Path(path).name for path in found.outputs] == ["toy.safetensors", "toy-step00000004.safetensors"]
    assert any(notice.startswith("The checkpoint of step 6 was not delivered.") for notice in found.notices)
    assert [row["ok"] for row in found.checkpoints] == [True, False]


def test_a_run_without_a_supervisor_still_names_what_was_tested(tmp_path):
    run = start(tmp_path, steps=4000, steps_per_second=SLOW, output=EVERY)
    until(lambda: any(one.ok for one in run.summary.checked.values()))
    kill(run, "runner.json")
    kill(run, "engine.json")
    until(lambda: run.state is JobState.LOST)
    newest = newest_good(run)
    assert newest is not None
    assert rows(run)["Newest usable checkpoint"].startswith(f"step {newest.step}, ")


# The tests of checkpoints


def checks_of(run: RunFolder, test: Any) -> CheckpointTests:
    tests = CheckpointTests(run.path, test)
    tests.add(*artefacts.checkpoints(run.path, run.output, FILES))
    return tests


def fine(path: Path) -> dict[str, Any]:
    return {"ok": True, "reasons": [path.name], "moved": None}


def dies(path: Path) -> dict[str, Any]:
    os.kill(os.getpid(), signal.SIGKILL)
    return fine(path)


def takes_long(path: Path) -> dict[str, Any]:
    time.sleep(3600)
    return fine(path)


def test_a_test_that_dies_is_no_failure_of_the_run_and_the_checkpoint_counts_as_not_tested(tmp_path):
    run = prepared(tmp_path, name="kohya-lora_sd3")
    tests = checks_of(run, dies)
    basis = Basis(run, run.rendered, run.plan, registry.get("rehearsal"))
    found = conclude(basis, End(1), Seen(last_step=False), tests, lambda *_: None)
    assert found.state is JobState.COMPLETED, "the result itself is good"
    assert [(row["ok"], row["reasons"]) for row in found.checkpoints] == [(None, [NOT_TESTED])]
    assert any("not tested" in notice for notice in found.notices)


def test_a_slow_test_never_delays_the_watch_and_is_not_counted_as_a_program_of_the_job(tmp_path):
    run = prepared(tmp_path, name="kohya-lora_sd3")
    tests = checks_of(run, takes_long)
    began = time.monotonic()
    assert tests.look() == []
    assert tests.look() == []
    assert time.monotonic() - began < 1
    child = tests._current[1]._pid  # type: ignore[index]
    until(lambda: os.getpriority(os.PRIO_PROCESS, child) == 19)
    assert child not in [process.pid for process in processes.descendants()]
    processes.reap()
    tests.close()
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


def test_a_second_stop_ends_the_tests_and_names_what_was_not_tested(tmp_path):
    run = prepared(tmp_path, name="kohya-lora_sd3")
    (run.output / "toy.safetensors").unlink()
    shutil.copy(run.output / "toy-step00000004.safetensors", run.output / "toy-step00000008.safetensors")
    run.write(STOP, {"grace_s": 1.0})
    order = tmp_path / "order"

    def test(path: Path) -> dict[str, Any]:
        order.write_text(path.name)
        return takes_long(path)

    again = threading.Timer(0.5, lambda: run.write(STOP, {"grace_s": 1.0}))
    again.start()
    basis, began = Basis(run, run.rendered, run.plan, registry.get("rehearsal")), time.monotonic()
    found = conclude(basis, End(None, "stop"), Seen(last_step=False), checks_of(run, test), lambda *_: None)
    again.join()
    assert time.monotonic() - began < 5
    assert order.read_text() == "toy-step00000008.safetensors", "the newest is tested first"
    assert found.state is JobState.CANCELLED
    assert [(row["step"], row["ok"]) for row in found.checkpoints] == [(4, None), (8, None)]
    run.write("result.json", found.as_dict())
    assert rows(Run(run))["Checkpoints"].startswith("2 of 2 were not tested.")


def test_a_checkpoint_that_grows_after_its_test_is_tested_again(tmp_path):
    run = prepared(tmp_path, name="kohya-lora_sd3")
    path = run.output / "toy-step00000004.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    tests = checks_of(run, lambda path: checking.tested(path, run.plan))
    until(tests.look)
    assert not tests.checked["output/toy-step00000004.safetensors"].ok
    path.write_bytes(whole)
    tests.doubt(all_of_them=False)
    until(tests.look)
    assert tests.checked["output/toy-step00000004.safetensors"].ok


def test_the_result_of_a_child_process_may_be_larger_than_a_pipe():
    child = Forked(lambda: "x" * (1 << 20))
    until(child.ended)
    assert child.result == "x" * (1 << 20)


def test_a_new_watch_of_the_same_run_neither_reports_nor_tests_again(tmp_path):
    run = ended(tmp_path, steps=20, steps_per_second=SLOW, output=EVERY)
    before = [event for event in told(run) if isinstance(event, Step | Checkpoint | Checked)]
    watch = EngineWatch(Basis.of(run.folder), Journal(run.folder.events))
    watch.look()
    watch.finish()
    watch.outcome(End(None, "unseen"))
    assert [event for event in told(run) if isinstance(event, Step | Checkpoint | Checked)] == before


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


# Taking a checkpoint


def test_a_checkpoint_of_a_running_run_is_listed_and_delivered_and_the_run_goes_on(tmp_path):
    run = start(tmp_path, steps=60, steps_per_second=20.0, output={"save_every_steps": 10})
    until(lambda: any(one.ok for one in run.summary.checked.values()))
    taken = json.loads(easel_says(run, "use", "--json").output)
    place = Path(taken["delivered"])
    assert place == tmp_path / "out" / f"cg_mika-step{taken['step']:08d}.safetensors"
    assert place.is_file()
    listed = json.loads(easel_says(run, "checkpoints", "--json").output)
    mine = next(one for one in listed if one["step"] == taken["step"])
    assert (mine["ok"], mine["delivered"], mine["size_bytes"]) == (True, str(place), place.stat().st_size)
    assert run.is_live
    assert run.wait(LIMIT_S) is JobState.COMPLETED
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    steps = [f"cg_mika-step{step:08d}.safetensors" for step in range(10, 60, 10)]
    assert names == [*steps, "cg_mika.safetensors"]
    assert json.loads(easel_says(run, "use", "--step", str(taken["step"]), "--json").output)["delivered"] == str(place)


def test_a_checkpoint_is_delivered_to_a_chosen_folder_and_never_overwrites(ends, tmp_path):
    run = ends["killed"]
    (tmp_path / "cg_mika-step00000005.safetensors").write_bytes(b"mine")
    answer = easel_says(run, "use", "--to", str(tmp_path))
    assert answer.exit_code == 0, answer.output
    assert (tmp_path / "cg_mika-step00000005.safetensors").read_bytes() == b"mine"
    assert (tmp_path / "cg_mika-step00000005-2.safetensors").is_file()
    for folder, words in ((run.folder.output, "inside the run folder"), (Path("out"), "not an absolute path")):
        with pytest.raises(RunError, match=words):
            use(run, folder=folder)


@pytest.mark.parametrize(("step", "words"), [(10, "cannot be used"), (7, "no checkpoint of step 7")])
def test_a_bad_or_missing_checkpoint_is_refused_with_the_reason(ends, step, words):
    with pytest.raises(RunError, match=words):
        use(ends["cut"], step)
    assert not (ends["cut"].folder.path.parents[1] / "out" / f"cg_mika-step{step:08d}.safetensors").exists()


def test_a_checkpoint_of_an_older_run_is_tested_before_it_is_taken(ends, tmp_path):
    shutil.copytree(ends["cut"].folder.path, tmp_path / "older")
    older = Run.attach(tmp_path / "older")
    older.folder.write("result.json", {"state": "FAILED", "outputs": []})
    lines = older.folder.events.read_text().splitlines(keepends=True)
    older.folder.events.write_text("".join(line for line in lines if '"checked"' not in line))
    assert [one.ok for one in saved(older)] == [None, None]
    assert newest_good(older) is None
    assert rows(older)["Checkpoints"].startswith("2 of 2 were not tested")
    with pytest.raises(RunError, match="cannot be used"):
        use(older, 10, tmp_path / "taken")
    taken = use(older, folder=tmp_path / "taken")
    assert (taken.step, taken.ok) == (5, True), "the half one is left out"
    assert Path(str(taken.delivered)).parent == tmp_path / "taken"


def test_a_run_without_checkpoints_says_how_to_get_some(tmp_path):
    run = ended(tmp_path, ending="crash")
    with pytest.raises(RunError, match="save_every_steps"):
        use(run)
    assert "has no checkpoint" in easel_says(run, "checkpoints").output


# Asking the engine


def test_a_running_engine_saves_and_samples_when_it_is_asked(tmp_path):
    run = start(tmp_path, steps=4000, steps_per_second=SLOW)
    until(lambda: run.summary.step >= 3)
    answer = easel_says(run, "save", "--json")
    assert json.loads(answer.output)["effect"].endswith("after the current step.")
    until(lambda: run.summary.checked)
    (one,) = run.summary.checked.values()
    assert one.ok
    assert easel_says(run, "sample").exit_code == 0
    until(lambda: run.summary.samples)
    easel_says(run, "save")
    until(lambda: len(run.summary.checkpoints) == 2)
    run.stop()
    assert len(run.summary.samples) == 1
    assert sum("Request" in event.text for event in told(run) if isinstance(event, Notice)) == 3
    answer = easel_says(run, "save")
    assert isinstance(answer.exception, RunError)
    assert "does not run" in str(answer.exception)


@pytest.mark.parametrize(
    ("engine", "sampling", "request_", "words"),
    [
        ("kohya", True, "save", "saves no checkpoint on request"),
        ("kohya", True, "sample", "generates no samples on request"),
        ("simpletuner", False, "sample", "only if the plan has samples"),
    ],
)
def test_what_cannot_be_asked_for_is_said_beforehand(tmp_path, engine, sampling, request_, words):
    run, backend = RunFolder.create(tmp_path, "stage"), registry.get(engine)
    spec = backend.render(contract.plan_of(backend, "sdxl", "lora", sampling=sampling), contract.place(str(run.path)))
    run.write_job({}, spec, {}, {})
    answer = controls.can(Run(run), request_)
    assert not answer.possible
    assert words in answer.sentence
    with pytest.raises(RunError, match=words):
        controls.ask(Run(run), request_)


@pytest.mark.parametrize(("version", "offered"), [("4.10.1", {"save", "sample"}), ("3.1.6", set())])
def test_only_a_simpletuner_that_reads_the_file_of_requests_gets_one(version, offered):
    engine = registry.get("simpletuner")
    where: Place = dataclasses.replace(contract.place(), version=version)
    spec = engine.render(contract.plan_of(engine, "sdxl", "lora", sampling=True), where)
    assert set(spec.controls) == offered
    variable = spec.steps[0].environment.get("SIMPLETUNER_ACCELERATE_SIGNAL_FILE", "")
    assert bool(variable) == bool(offered)
    if variable:
        assert json.loads(spec.files[spec.controls["save"].file]) == {"manual_checkpoint": 0, "manual_validation": 0}
        assert variable == str(where.run / spec.controls["save"].file)


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
        ({"folder": "{images}/out"}, "in the dataset"),
        ({"copy_to": "{images}"}, "in the dataset"),
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


@pytest.mark.parametrize(
    ("glob", "pattern", "words"),
    [("../../*", "x", "not inside"), ("*", "(", "damaged"), ("", "x", "damaged"), ("/*", "x", "not inside")],
)
def test_a_run_folder_of_somebody_else_cannot_make_easel_look_elsewhere(ends, tmp_path, glob, pattern, words):
    shutil.copytree(ends["cut"].folder.path, tmp_path / "hostile")
    spec = json.loads((tmp_path / "hostile" / "spec.json").read_text())
    spec["details"]["artefacts"]["checkpoints"] = {"glob": glob, "pattern": pattern}
    (tmp_path / "hostile" / "spec.json").write_text(json.dumps(spec))
    hostile = Run.attach(tmp_path / "hostile")
    with pytest.raises(RunError, match=words):
        saved(hostile)
    assert "Newest usable checkpoint" not in rows(hostile)

"""Whatever way a run ends, each of its checkpoints is tested, and the newest good one is named."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.ends import ENDS, EVERY, SLOW, checks_of, easel_says, prepared, rows, verdicts
from tests.support.played import diagnosis, ended, judged, kill, result, start, told, until
from trainer_core.engines import registry
from trainer_core.events import Checked, Checkpoint, Step
from trainer_core.jobs import processes
from trainer_core.jobs.folder import STOP
from trainer_core.jobs.journal import Journal
from trainer_core.jobs.outcome import End
from trainer_core.jobs.state import JobState
from trainer_core.training import checking
from trainer_core.training.basis import Basis
from trainer_core.training.checking import NOT_TESTED
from trainer_core.training.forked import Forked
from trainer_core.training.outcome import Seen, conclude
from trainer_core.training.run import Run
from trainer_core.training.use import newest_good
from trainer_core.training.verdict import verdict
from trainer_core.training.watch import EngineWatch


def stopped(tmp_path: Path) -> Run:
    run = start(tmp_path, steps=4000, steps_per_second=SLOW, output=EVERY)
    until(lambda: 10 in [event.step for event in told(run) if isinstance(event, Checkpoint)])
    run.stop()
    return run


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
    assert "easel runs" not in str(verdict(run, is_for_page=True)), "a notebook has buttons for that"
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

    def stop_again() -> None:
        # Once the first test goes on: on a busy machine that takes a while.
        while not order.exists():
            time.sleep(0.02)
        run.write(STOP, {"grace_s": 1.0})

    again = threading.Thread(target=stop_again)
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

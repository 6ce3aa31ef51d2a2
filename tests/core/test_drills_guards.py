"""Guards: what Easel does by itself when a run has ended too early, with real processes of the rehearsal engine."""

from __future__ import annotations

import shutil
import signal

import pytest
from click.testing import CliRunner

from tests.support import recorded_headers
from tests.support.played import LIMIT_S, kill, steps, told, until
from trainer_core import places
from trainer_core.cli import easel
from trainer_core.events import Checkpoint, Notice, Step
from trainer_core.jobs.state import FINAL_STATES, JobState
from trainer_core.prepare import guards, mending
from trainer_core.prepare.workbench import PLAIN, Workbench
from trainer_core.training.folder import INTERRUPTED
from trainer_core.training.run import Run, list_runs

USUAL = {"schedule.steps": 20, "sampling.every_steps": 0, "output.save_every_steps": 5, "output.keep_states": 4}


@pytest.fixture
def start(tmp_path, monkeypatch, images):
    """Starts a run of the rehearsal with a real model header, its guards and the player's options."""
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "home"))
    model = recorded_headers.write("sd15", tmp_path)

    def run(values, notes=None, **player) -> Run:
        bench = Workbench(engine="rehearsal")
        bench.use_profile(PLAIN)
        native = {"rehearsal": {"steps_per_second": 100.0, **player}}
        given = {"model.path": str(model), "dataset.path": str(images.root), "dataset.trigger": "mika"}
        bench.set({**given, "output.name": "mika", "native": native, **USUAL, **values})
        return bench.start(notes=notes or {})

    return run


def others(run: Run) -> list[Run]:
    return [each for each in list_runs(places.runs()) if each.name != run.name]


def follow_up(run: Run) -> Run:
    until(lambda: others(run) and others(run)[-1].state in FINAL_STATES)
    return others(run)[-1]


def first_notice(run: Run) -> str:
    return next(event.text for event in told(run) if isinstance(event, Notice))


def test_after_out_of_memory_a_run_is_started_again_with_less_and_says_so(start):
    values = {"guards.cheaper_after_oom": True, "memory.gradient_checkpointing": False, "schedule.batch_size": 4}
    run = start(values, ending="oom")
    until(lambda: len(list_runs(places.runs())) == 3)
    newest_first = list_runs(places.runs())
    until(lambda: all(each.state in FINAL_STATES for each in newest_first))
    again = next(each for each in newest_first if each.folder.versions.get("retries") == run.name)
    assert "ran out of memory" in first_notice(again)
    assert "started with a change" in first_notice(again)
    for each in newest_first:
        schedule = each.folder.plan["schedule"]
        assert schedule["batch_size"] * schedule["gradient_accumulation"] == 4, "the effective batch size stays"
    plans = [each.folder.plan for each in newest_first]
    assert all(plans.count(plan) == 1 for plan in plans), "each attempt needs less than the one before"


def test_a_run_is_started_again_with_less_three_times_at_most(start):
    less = {"memory.gradient_checkpointing": False, "schedule.batch_size": 4}
    first = start(less, ending="oom")
    second = start(less, {"retries": first.name, guards.GUARD: guards.CHEAPER}, ending="oom")
    on = {**less, "guards.cheaper_after_oom": True}
    start(on, {"retries": second.name, guards.GUARD: guards.CHEAPER}, ending="oom")
    until(lambda: len(list_runs(places.runs())) == 1 + guards.ATTEMPTS)
    last = list_runs(places.runs())[0]
    last.wait(LIMIT_S)
    assert any(fix.lowers for fix in mending.fixes_for(last)), "there would be another change"
    assert guards.after_failure(last) is None
    assert len(list_runs(places.runs())) == 1 + guards.ATTEMPTS
    assert "3 times" in last.folder.read("guard.json")["why"]


def test_without_the_guard_nothing_is_started(start):
    run = start({"memory.gradient_checkpointing": False}, ending="oom")
    run.wait(LIMIT_S)
    assert guards.after_failure(run) is None
    assert others(run) == []


def test_a_failure_of_another_kind_starts_nothing(start):
    run = start({"guards.cheaper_after_oom": True, "guards.back_after_nan": True}, ending="crash")
    run.wait(LIMIT_S)
    assert guards.after_failure(run) is None
    assert others(run) == []


def test_after_nan_a_run_goes_on_from_its_last_good_state_with_half_the_rate_once(start):
    values = {"guards.back_after_nan": True, "schedule.steps": 400, "optimizer.learning_rate": 1e-3}
    run = start(values, ending="nan", at=18, steps_per_second=20.0)
    again = follow_up(run)
    good = (run.result or {})["newest_good"]["step"]
    assert good < 18
    assert again.folder.origin.step == good
    assert "half the learning rate" in first_notice(again)
    assert steps(again)[0] == good + 1
    rates = {event.learning_rate for event in told(again) if isinstance(event, Step)}
    assert rates == {5e-4}
    assert again.state is JobState.FAILED
    assert len(list_runs(places.runs())) == 2, "it goes back once, not for ever"


def test_the_newest_good_state_outlasts_one_that_is_saved_after_the_loss_became_nan(start):
    values = {"guards.back_after_nan": True, "schedule.steps": 400, "output.keep_states": 1}
    run = start(values, ending="nan", at=18, steps_per_second=20.0)
    again = follow_up(run)
    saved = [event.step for event in told(run) if isinstance(event, Checkpoint)]
    assert max(saved) > 18, "a state was saved after the loss became NaN"
    assert again.folder.origin.step == 15
    assert steps(again)[0] == 16


def test_a_run_that_ends_well_keeps_as_many_states_as_its_plan_says(start):
    run = start({"guards.back_after_nan": True, "output.keep_states": 1}, steps_per_second=20.0)
    assert run.wait(LIMIT_S) is JobState.COMPLETED
    assert len(list(run.folder.output.glob("*-state"))) == 1


def test_states_without_checkpoints_are_good_if_a_later_loss_was_finite(start):
    values = {"guards.back_after_nan": True, "schedule.steps": 60, "output.save_every_steps": 0}
    run = start({**values, "output.keep_states": 1}, steps_per_second=20.0)
    run.wait(LIMIT_S)
    older = run.folder.output / "mika-step00000030-state"
    assert guards._last_good_step(run) is None
    shutil.copytree(next(run.folder.output.glob("*-state")), older)
    assert guards._last_good_step(run) == 30


def test_a_guard_that_can_do_nothing_says_why(start):
    values = {"guards.back_after_nan": True, "schedule.steps": 400, "output.keep_states": 0}
    run = start(values, ending="nan", at=18, steps_per_second=20.0)
    run.wait(LIMIT_S)
    until((run.folder.path / "guard.json").exists)
    shown = " ".join(CliRunner().invoke(easel, ["runs", "show", run.name]).output.split())
    assert "easel did not go on by itself: After NaN, go back and halve the rate: " in shown
    assert "has no whole state to continue from" in shown


def test_a_run_that_the_machine_ends_saves_first_and_is_resumed_when_easel_is_used_again(start):
    values = {"guards.resume_after_shutdown": True, "output.save_every_steps": 79, "schedule.steps": 80}
    run = start(values, steps_per_second=5.0)
    until(lambda: run.summary.step >= 5)
    kill(run, "runner.json", signal.SIGTERM)
    assert run.wait(LIMIT_S) is JobState.CANCELLED
    saved = [event.step for event in told(run) if isinstance(event, Checkpoint)]
    assert saved
    assert saved[-1] < 79, "a checkpoint was asked for before the end"
    assert (run.folder.path / INTERRUPTED).exists()
    [again] = guards.resume_interrupted(list_runs(places.runs()))
    assert again.wait(LIMIT_S) is JobState.COMPLETED, again.diagnosis
    assert steps(again)[0] == saved[-1] + 1
    assert steps(again)[-1] == 80
    assert guards.resume_interrupted(list_runs(places.runs())) == [], "each run is resumed once"


def test_a_notice_that_the_machine_is_taken_away_counts_like_a_signal(start, tmp_path, monkeypatch):
    notice = tmp_path / "notice"
    monkeypatch.setenv("EASEL_SHUTDOWN_NOTICE", str(notice))
    run = start({"guards.resume_after_shutdown": True}, steps_per_second=5.0)
    until(lambda: run.summary.step >= 6)
    notice.touch()
    assert run.wait(LIMIT_S) is JobState.CANCELLED
    assert (run.folder.path / INTERRUPTED).exists()


def test_a_stop_by_a_person_is_not_resumed(start):
    run = start({"guards.resume_after_shutdown": True}, steps_per_second=5.0)
    until(lambda: run.summary.step >= 6)
    assert run.stop() is JobState.CANCELLED
    assert guards.resume_interrupted(list_runs(places.runs())) == []

"""A failed run offers changes that were tried, and can be started again with one of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.support import recorded_headers
from tests.support.played import LIMIT_S
from trainer_core.cli import easel
from trainer_core.engines.diagnosis import Amendment
from trainer_core.errors import RunError
from trainer_core.jobs.queueing import requests
from trainer_core.jobs.state import FINAL_STATES, JobState
from trainer_core.prepare import mending
from trainer_core.prepare.workbench import PLAIN, Workbench
from trainer_core.remote.runs import starting
from trainer_core.training.run import Run, list_runs

HEAVY = {
    "memory.gradient_checkpointing": False,
    "memory.cache_latents": False,
    "schedule.batch_size": 4,
    "schedule.steps": 6,
    "sampling.every_steps": 0,
}


@pytest.fixture
def failed(tmp_path, monkeypatch, images):
    """Starts a run of the rehearsal with a real model header, and waits for its end."""
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "home"))
    model = recorded_headers.write("sd15", tmp_path)

    def start(ending: str, **values) -> Run:
        bench = Workbench(engine="rehearsal")
        bench.use_profile(PLAIN)
        native = {"rehearsal": {"ending": ending, "steps_per_second": 200.0}}
        bench.set(
            {
                "model.path": str(model),
                "dataset.path": str(images.root),
                "dataset.trigger": "mika",
                "output.name": "mika",
                "native": native,
                **HEAVY,
                **values,
            }
        )
        run = bench.start()
        assert run.wait(LIMIT_S) in FINAL_STATES
        return run

    return start


def easel_json(*arguments: str):
    done = CliRunner().invoke(easel, [*arguments, "--json"])
    assert done.exit_code in (0, 1), done.output
    return json.loads(done.output)


def test_after_too_little_memory_each_change_needs_less_and_differs_from_the_plan(failed):
    run = failed("oom")
    found = mending.fixes_for(run)
    changes = [dict(one.changes) for one in found]
    assert {"memory.gradient_checkpointing": True} in changes
    assert {"schedule.batch_size": 1, "schedule.gradient_accumulation": 4} in changes
    assert found[-1].title == mending.ALL
    single = [one for one in found if one.title != mending.ALL and not one.title.startswith("Together: ")]
    assert "dataset.resolution" in {path for one in single for path in one.changes}
    assert dict(found[-1].changes) == {path: value for one in single for path, value in one.changes.items()}
    gentle = found[-2]
    assert gentle.title.startswith("Together: ")
    assert "dataset.resolution" not in gentle.changes
    assert all(one.title in gentle.title for one in single if "dataset.resolution" not in one.changes)
    before = mending.bench_from(run).state
    for one in found:
        after = before.set(one.changes)
        assert mending._need(after, "gpu") < mending._need(before, "gpu"), one.title
        for path, value in one.changes.items():
            section, name = path.split(".")
            assert getattr(getattr(one.plan, section), name) == value


def test_a_change_that_the_plan_already_has_is_not_offered(failed):
    run = failed(
        "oom", **{"memory.gradient_checkpointing": True, "memory.cache_latents": True, "schedule.batch_size": 1}
    )
    offered = {path for one in mending.fixes_for(run) for path in one.changes}
    assert not offered & {"memory.gradient_checkpointing", "memory.cache_latents", "schedule.batch_size"}


def test_a_change_that_does_not_lower_the_estimate_is_not_offered_against_too_little_memory(failed):
    bench = mending.bench_from(failed("oom"))
    seed = Amendment("schedule.seed", 7)
    assert mending._Trial(bench, "gpu").mended(seed) is None
    assert mending._Trial(bench, "").mended(seed) is not None


def test_changes_that_exclude_each_other_are_not_offered_together(failed):
    trial = mending._Trial(mending.bench_from(failed("oom")), "gpu")
    halves = [trial.mended(Amendment("schedule.batch_size", value)) for value in (1, 2)]
    assert None not in halves
    assert trial.together(halves, halves) is None


def test_a_run_is_not_repeated_while_another_repeats_it(failed):
    run = failed("oom")
    requests.pause()
    told = easel_json("runs", "retry", run.name, "--queue")
    assert told["position"] == 1
    queued = Run.attach(Path(told["folder"]))
    assert (queued.state, queued.folder.versions["retries"]) == (JobState.QUEUED, run.name)
    with pytest.raises(RunError, match=queued.name):
        starting.again(run)
    queued.stop()
    assert mending.bench_again(run).state.draft.values["output.name"] == "mika"


def test_a_change_that_causes_a_problem_is_not_offered(failed, monkeypatch):
    from backends.rehearsal import Rehearsal
    from trainer_core.problems import Problem

    run = failed("oom")

    def refuses(self, plan, machine, status):
        on = plan.memory.gradient_checkpointing
        return [Problem("memory.gradient_checkpointing", "error", "Not here.")] if on else []

    monkeypatch.setattr(Rehearsal, "problems", refuses)
    found = mending.fixes_for(run)
    assert found
    assert not any("memory.gradient_checkpointing" in one.changes for one in found)


def test_a_lower_rate_is_offered_after_nan(failed):
    run = failed("nan", **{"schedule.steps": 120, "optimizer.learning_rate": 1e-3})
    assert run.diagnosis.id in ("nan-loss", "output-refused")
    assert {"optimizer.learning_rate": 2e-4} in [dict(one.changes) for one in mending.fixes_for(run)]


def test_a_run_that_did_not_fail_needs_no_change(failed):
    run = failed("success")
    assert run.state is JobState.COMPLETED
    assert mending.fixes_for(run) == []
    told = easel_json("diagnose", run.name)
    assert (told["cause"], told["fixes"], told["state"]) == (None, [], "COMPLETED")


def test_the_command_lists_the_changes_and_starts_a_new_run_with_one(failed, tmp_path):
    run = failed("oom")
    told = easel_json("diagnose", run.name)
    assert told["cause"] == "oom_cuda"
    assert told["line"].startswith("torch.OutOfMemoryError")
    number = next(
        one["number"] for one in told["fixes"] if one["changes"][0]["path"] == "memory.gradient_checkpointing"
    )
    shown = CliRunner().invoke(easel, ["diagnose", "last"]).output
    assert f"  {number}. Gradient checkpointing: on" in shown
    assert f"easel runs retry {run.name} --fix 1" in shown

    again = easel_json("runs", "retry", run.name, "--fix", str(number), "--detach")
    assert again["retries"] == run.name
    new = Run.attach(tmp_path / "home" / "runs" / again["run"])
    assert new.wait(LIMIT_S) in FINAL_STATES
    assert new.folder.versions["retries"] == run.name
    was, now = run.folder.plan, new.folder.plan
    assert now["memory"].pop("gradient_checkpointing") is True
    assert was["memory"].pop("gradient_checkpointing") is False
    assert now == was, "nothing else changed"
    assert len(list_runs(tmp_path / "home" / "runs")) == 2, "the failed run is kept"


def test_a_fix_that_is_not_listed_is_refused(failed):
    run = failed("oom")
    done = CliRunner().invoke(easel, ["runs", "retry", run.name, "--fix", "99"])
    assert done.exit_code == 2
    assert "There is no fix 99" in done.output


def test_without_a_fix_the_same_plan_is_started(failed, tmp_path):
    run = failed("crash")
    again = easel_json("runs", "retry", run.name, "--detach")
    new = Run.attach(tmp_path / "home" / "runs" / again["run"])
    assert new.wait(LIMIT_S) is JobState.FAILED
    assert new.folder.plan == run.folder.plan

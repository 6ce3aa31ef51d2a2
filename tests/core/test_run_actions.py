"""What can be done with a run says beforehand what it does; how a run stands is said once; reports and searches are safe."""

import json

import pytest
from click.testing import CliRunner

from tests.support import played, written_runs
from trainer_core import places
from trainer_core.cli import easel
from trainer_core.events import Checkpoint, Phase, StateChange, Step
from trainer_core.jobs import spec
from trainer_core.jobs.folder import JobFolder
from trainer_core.jobs.job import Job
from trainer_core.plan.sections import TrainingPlan
from trainer_core.prepare import mending
from trainer_core.training import actions, bundle, controls, proposal, resume, standing
from trainer_core.training.run import Run


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "easel"))
    return tmp_path / "easel"


def by_id(found):
    return {each.id: each for each in found}


def test_a_running_run_says_what_each_action_does(home, tmp_path):
    run = played.start(tmp_path, steps=4000, steps_per_second=30, output={"save_every_steps": 20})
    try:
        first = by_id(actions.of_live(run))
        assert first["stop"].brief == "nothing is saved yet"
        played.until(lambda: run.summary.checkpoints)
        found = by_id(actions.of_live(run))
        assert found["stop"].brief.startswith("keeps ")
        assert "up to step 20" in found["stop"].sentence or "up to step" in found["stop"].sentence
        assert found["save"].brief == "after this step"
        assert found["save"].sentence == controls.can(run, "save").sentence
        assert found["stop-after-save"].possible
        assert found["stop-after-save"].brief == f"at step {actions.next_save(run):,}"
        run.stop(after="save")
        assert not by_id(actions.of_live(run))["stop-after-save"].possible
    finally:
        run.stop(1.0)
    assert actions.of_live(run) == ()


def test_what_is_not_possible_says_why(home):
    path = written_runs.write_run("20261101-120000-mika", state="")
    run = Run.attach(path)
    assert [each.title for each in actions.of_live(run)] == ["Cancel"], "it has not begun"
    ended = Run.attach(written_runs.write_run("20261101-120001-mika", state="FAILED"))
    (again,) = actions.of_ended(ended)
    assert (again.id, again.possible) == ("resume", False)
    assert "no whole state" in again.sentence
    assert again.brief == "no whole state was kept"


def test_a_stopped_run_is_resumed_and_a_finished_one_extended_with_the_same_words_everywhere(home, tmp_path):
    run = played.ended(tmp_path, steps=20, output={"keep_states": 2, "save_every_steps": 10})
    (extend,) = actions.of_ended(run)
    assert (extend.id, extend.possible, extend.brief) == ("extend", True, "more steps after 20")
    found = resume.propose(run, added=30)
    assert proposal.headline(found) == f"Extends {run.name} after step 20: steps 21 to 50."
    rows = proposal.lines(found)
    assert ("learning rate", resume.learning_rate(found)) in rows
    assert [text for label, text in rows if label == "continues"] == ["the weights, the step"]


def test_the_actions_are_printed_for_programs_too(home):
    path = written_runs.write_run("20261101-120001-mika", state="FAILED")
    told = json.loads(CliRunner().invoke(easel, ["runs", "actions", path.name, "--json"]).stdout)
    assert told["actions"][0]["id"] == "resume"


@pytest.mark.parametrize(
    ("state", "result", "title", "tone"),
    [
        ("FAILED", {"diagnosis": {"id": "oom", "cause": "The GPU is full.", "line": "CUDA", "advice": "Less."}}, "The GPU is full.", "danger"),
        ("FAILED", {}, "This run failed", "danger"),
        ("CANCELLED", {}, "This run was stopped at step 3 of 100", "warn"),
        ("COMPLETED", {}, "The training is finished", "ok"),
    ],
)  # fmt: skip
def test_an_ended_run_says_once_what_happened(home, state, result, title, tone):
    path = written_runs.write_run("20261101-120001-mika", state=state, result=result)
    written_runs.write_events(path, StateChange("RUNNING"), Step(1, 0.1), Step(3, 0.1))
    stands = standing.of(Run.attach(path))
    assert stands is not None
    assert (stands.title, stands.tone) == (title, tone)
    assert title not in (stands.text, stands.line, stands.advice)


@pytest.mark.parametrize(
    ("kind", "done", "title", "text"),
    [
        ("tag", 6, "6 images are tagged", "Nothing is written yet. It took 3 seconds."),
        ("caption", 1, "1 caption is ready", "Nothing is written yet. It took 3 seconds."),
        ("merge", 0, "Merging checkpoints is finished", "It took 3 seconds."),
        ("nobody-knows-it", 0, "The job is finished", "It took 3 seconds."),
    ],
)
def test_a_finished_job_of_another_kind_says_what_it_did(home, kind, done, title, text):
    folder = JobFolder.create(places.jobs(), kind)
    folder.write_spec(spec.Spec(kind, (spec.Step(kind, ("true",), {}),), folder.path))
    folder.write("report.json", {"done": done, "failed": []})
    folder.write("result.json", {"state": "COMPLETED", "seconds": 3.0})
    stands = standing.of(Job(folder))
    assert stands is not None
    assert (stands.title, stands.text) == (title, text)


def test_a_run_that_failed_early_names_the_stage_of_its_engine(home):
    result = {"diagnosis": {"id": "oom", "cause": "The GPU is full.", "line": "CUDA", "advice": "Less."}}
    path = written_runs.write_run("20261101-120001-mika", state="FAILED", result=result)
    written_runs.write_events(path, StateChange("RUNNING"), Phase("loading model"), Phase("checking the result"))
    stands = standing.of(Run.attach(path))
    assert stands is not None
    assert stands.text == "It ended before its first step, in the stage “Model”."


def test_a_prepared_run_and_a_run_before_its_first_step_say_so(home):
    prepared = standing.of(Run.attach(written_runs.write_run("20261101-120001-mika", state="")))
    assert prepared is not None
    assert "not started" in prepared.title
    early = written_runs.write_run("20261101-120002-mika", state="CANCELLED")
    stands = standing.of(Run.attach(early))
    assert stands is not None
    assert stands.title == "This run was stopped before its first step"


def test_what_is_left_of_a_run_is_its_newest_usable_checkpoint_or_the_reason_why_there_is_none(home, tmp_path):
    none = Run.attach(written_runs.write_run("20261101-120002-mika", state="FAILED"))
    assert standing.kept(none).sentence == "No checkpoint was saved."
    run = played.ended(tmp_path, steps=40, ending="crash", at=30, output={"save_every_steps": 10})
    assert run.summary.checkpoints
    assert all(isinstance(each, Checkpoint) for each in run.summary.checkpoints)
    left = standing.kept(run)
    assert (left.is_usable, left.step) == (True, 20)
    assert left.size_bytes > 0


def test_a_fix_says_what_it_changes_from_and_to(home, tmp_path):
    run = played.ended(tmp_path, steps=20, ending="oom", at=5)
    plan = TrainingPlan.model_validate(run.folder.plan)
    fix = mending.Mended(plan, {"schedule.batch_size": 1, "network.rank": 2}, "x")
    lines = mending.changes_of(run, fix)
    assert lines[1] == "Rank: 4 → 2"
    assert lines[0].startswith("Batch size: ")


def test_a_report_gets_a_name_of_its_own_and_only_its_owner_may_read_it(home, tmp_path):
    run = played.ended(tmp_path, steps=10, ending="crash", at=5)
    first, second = bundle.save_report(run), bundle.save_report(run)
    assert first.parent == home / "reports"
    assert first != second
    assert first.stat().st_mode & 0o077 == 0

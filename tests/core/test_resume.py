"""Runs are resumed from their states and extended, with real processes of the rehearsal engine."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import time
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from PIL import Image

from tests.support.played import LIMIT_S, ended, fingerprint, start, steps, told, until
from trainer_core.cli import easel as program
from trainer_core.datasets.scan import scan
from trainer_core.engines import registry
from trainer_core.errors import RunError
from trainer_core.events import Checkpoint, Step
from trainer_core.jobs import seal
from trainer_core.jobs.queueing import requests
from trainer_core.jobs.state import JobState
from trainer_core.prepare import guards
from trainer_core.training import resume, states
from trainer_core.training.folder import INTERRUPTED
from trainer_core.training.run import Run

KEPT = {"save_every_steps": 5, "keep_states": 2}


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A home of its own, because the runs and the key of the states are in it."""
    monkeypatch.setenv("EASEL_HOME", str(tmp_path))


def interrupted(tmp_path, at: int, **more) -> Run:
    """A run that crashed at a step."""
    output = {**KEPT, **more.pop("output", {})}
    run = ended(tmp_path, output=output, ending="crash", at=at, **more)
    assert run.state is JobState.FAILED
    return run


def resumed(found: resume.Proposal, **player) -> Run:
    """The run that continues; `player` are options of the player that differ from those of the first run."""
    native = {"rehearsal": {**found.plan.native["rehearsal"], "ending": "success", **player}}
    run = resume.start(dataclasses.replace(found, plan=found.plan.model_copy(update={"native": native})))
    run.launch()
    run.wait(LIMIT_S)
    return run


def names(run: Run) -> list[str]:
    return sorted(path.name for path in run.folder.output.glob("*-state"))


def rates(run: Run) -> dict[int, float | None]:
    return {event.step: event.learning_rate for event in told(run) if isinstance(event, Step)}


def test_a_run_keeps_the_newest_states_and_every_checkpoint(tmp_path):
    run = ended(tmp_path, output=KEPT)
    assert names(run) == ["cg_mika-state", "cg_mika-step00000015-state"]
    assert [event.step for event in told(run) if isinstance(event, Checkpoint)] == [5, 10, 15]
    assert len(list(run.folder.output.glob("*-step*.safetensors"))) == 3
    assert set(states.records(run.folder)) == set(names(run))


def test_a_run_without_states_says_what_would_have_kept_them(tmp_path):
    run = interrupted(tmp_path, 7, output={"keep_states": 0})
    with pytest.raises(RunError, match="has no whole state") as refused:
        resume.propose(run)
    assert "output.keep_states" in refused.value.hint


def test_a_run_that_is_interrupted_three_times_ends_at_the_planned_step(tmp_path, images):
    runs, whole = [interrupted(tmp_path, 7, dataset=images)], ended(tmp_path)
    for at in (12, 17, 0):
        found = resume.propose(runs[-1])
        assert (found.total, found.distrust, found.warnings) == (20, "", ())
        runs.append(resumed(found, ending="crash" if at else "success", at=at))
    assert [run.folder.done_steps for run in runs] == [0, 5, 10, 15]
    assert [steps(run) for run in runs] == [[*range(1, 8)], [*range(6, 13)], [*range(11, 18)], [*range(16, 21)]]
    last = runs[-1]
    assert last.state is JobState.COMPLETED
    assert (last.summary.step, last.summary.total) == (20, 20)
    assert [run.name for run in resume.chain(last)] == [run.name for run in runs]
    assert {step: rate for run in runs for step, rate in rates(run).items()} == rates(whole)
    kept = [{path.name for path in run.folder.dataset.iterdir()} for run in runs]
    assert kept[-1] == kept[0]
    assert last.folder.plan["schedule"] == runs[0].folder.plan["schedule"]


def test_the_checkpoints_of_every_part_are_delivered(tmp_path):
    run = interrupted(tmp_path, 12)
    last = resumed(resume.propose(run))
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == [*(f"cg_mika-step{step:08d}.safetensors" for step in (5, 10, 15)), "cg_mika.safetensors"]
    assert last.folder.done_steps == 10


def test_the_caches_of_the_first_run_are_used_again(tmp_path, images):
    run = interrupted(tmp_path, 7, dataset=images)
    cache = run.folder.dataset / "0-x_sd.npz"
    cache.write_bytes(b"latents")
    again = resumed(resume.propose(run))
    assert (again.folder.dataset / cache.name).samefile(cache)


def test_a_state_that_is_cut_off_is_not_offered(tmp_path):
    run = interrupted(tmp_path, 12)
    optimizer = run.folder.output / "cg_mika-step00000010-state" / "optimizer.bin"
    optimizer.write_bytes(optimizer.read_bytes()[:20])
    found = resume.propose(run)
    assert found.step == 5
    assert found.notes == ("The state of step 10 is not used: optimizer.bin is cut off.",)
    optimizer.unlink()
    assert resume.propose(run).notes == ("The state of step 10 is not used: optimizer.bin is missing.",)
    with pytest.raises(RunError, match=r"no whole state of step 10"):
        resume.propose(run, step=10)


def test_a_state_that_was_changed_is_used_only_if_the_user_trusts_it(tmp_path):
    run = interrupted(tmp_path, 7)
    state = run.folder.output / "cg_mika-step00000005-state"
    with zipfile.ZipFile(state / "optimizer.bin", "w") as archive:
        archive.writestr("data", "something else")
    found = resume.propose(run)
    assert "optimizer.bin is not the file that the run saved" in found.distrust
    with pytest.raises(RunError, match=r"changed since"):
        resume.start(found)
    assert resume.start(found, trusted=True).folder.done_steps == 5


def test_samples_that_the_engine_adds_to_a_state_later_need_no_trust_and_code_does(tmp_path):
    run = interrupted(tmp_path, 7)
    state = resume.propose(run).state.path
    (state / "assets").mkdir()
    (state / "assets" / "image_0.png").write_bytes(b"a sample")
    (state / "README.md").write_text("a model card")
    assert resume.propose(run).distrust == ""
    (state / "assets" / "more.json").write_text("{}")
    assert "is not the file that the run saved" in resume.propose(run).distrust


def test_a_state_from_another_easel_is_used_only_if_the_user_trusts_it(tmp_path, monkeypatch):
    run = interrupted(tmp_path, 7)
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "another"))
    found = resume.propose(run)
    assert "comes from somebody else" in found.distrust
    with pytest.raises(RunError, match=r"pickle files"):
        resume.start(found)
    assert not list((tmp_path / "another").glob("runs/*"))
    key = seal.of(b"something") and tmp_path / "another" / seal.FILE
    assert "recorded with another key" in resume.propose(run).distrust
    key.write_bytes(b"")
    assert "is damaged: it has 0 bytes" in resume.propose(run).distrust
    key.unlink()
    assert "is missing" in resume.propose(run).distrust
    assert not key.exists(), "to look makes no new key"


def test_a_newer_state_that_is_not_trusted_is_passed_over(tmp_path):
    run = interrupted(tmp_path, 12)
    state = run.folder.output / "cg_mika-step00000010-state"
    (state / "extra.bin").write_bytes((state / "optimizer.bin").read_bytes())
    found = resume.propose(run)
    assert (found.step, found.distrust) == (5, "")
    assert "step 10 is not used: extra.bin" in found.notes[0]


def test_a_link_in_a_state_is_never_followed(tmp_path):
    run = interrupted(tmp_path, 7)
    state = run.folder.output / "cg_mika-step00000005-state"
    (state / "weights.safetensors").symlink_to(tmp_path / "elsewhere.safetensors")
    with pytest.raises(RunError, match="it contains a link"):
        resume.propose(run)


def test_images_that_are_gone_or_changed_are_named_before_anything_starts(tmp_path):
    root = tmp_path / "originals"
    root.mkdir()
    for number in range(2):
        Image.new("RGB", (64, 64), (40 * number, 90, 120)).save(root / f"{number}.png")
    dataset = scan(root, registry.get("rehearsal").manifest.dataset, trigger="mika")
    run = interrupted(tmp_path, 7, dataset=dataset)
    assert resume.propose(run).warnings == ()
    os.utime(root / "0.png", (time.time() + 60, time.time() + 60))
    assert f"Images were changed since the run started: {root / '0.png'}." in resume.propose(run).warnings[0]
    (root / "1.png").unlink()
    with pytest.raises(RunError, match=rf"Images of this run are no longer there: {re.escape(str(root / '1.png'))}\."):
        resume.propose(run)
    assert len(list((tmp_path / "runs").iterdir())) == 1


def test_a_finished_run_is_extended_with_a_new_schedule(tmp_path):
    run = ended(tmp_path, output=KEPT)
    with pytest.raises(RunError, match="is finished"):
        resume.propose(run)
    found = resume.propose(run, added=10)
    assert (found.step, found.total, found.extends) == (20, 30, True)
    assert "steps 21 to 30" in resume.learning_rate(found)
    longer = resumed(found, ending="crash", at=27)
    assert steps(longer) == list(range(21, 28))
    # The extension is interrupted too: its schedule still began at step 20.
    again = resume.propose(longer)
    assert (again.step, again.total, again.schedule_from, again.extends) == (25, 30, 20, False)
    last = resumed(again)
    assert last.state is JobState.COMPLETED
    assert steps(last) == list(range(26, 31))
    assert names(last)[0] == "cg_mika-state"


def test_a_run_is_not_continued_while_it_runs_and_not_extended_before_its_end(tmp_path):
    run = start(tmp_path, output=KEPT, ending="hang", at=7)
    until(lambda: run.is_live)
    with pytest.raises(RunError, match="has not ended"):
        resume.propose(run)
    run.stop(grace_s=1)
    with pytest.raises(RunError, match="is not finished"):
        resume.propose(run, added=5)


def test_the_new_run_does_not_touch_the_files_of_the_one_before(tmp_path, images):
    run = interrupted(tmp_path, 7, dataset=images)
    # Its supervisor removes this at its very end.
    while run.folder.reserve.exists():
        time.sleep(0.02)
    before = fingerprint(run.folder.path)
    resumed(resume.propose(run))
    assert fingerprint(run.folder.path) == before


def test_a_chain_ends_where_a_folder_is_gone(tmp_path):
    first = interrupted(tmp_path, 7)
    second = resumed(resume.propose(first))
    shutil.rmtree(first.folder.path)
    assert resume.chain(second) == [second]


def easel(*words: object) -> Result:
    return CliRunner().invoke(program, ["runs", *map(str, words)])


def test_the_command_line_shows_what_it_will_do_and_starts_nothing_with_dry_run(tmp_path):
    run = interrupted(tmp_path, 7)
    shown = easel("resume", run.folder.path, "--dry-run")
    assert shown.exit_code == 0
    for text in ("after step 5: steps 6 to 20", "Continues: the weights", "Differs: nothing", "Free disk space"):
        assert text in shown.output
    data = json.loads(easel("resume", run.folder.path, "--dry-run", "--json").output)
    assert (data["step"], data["total"], data["exact"], data["distrust"]) == (5, 20, True, "")
    assert len(list((tmp_path / "runs").iterdir())) == 1


def test_a_dry_run_of_a_state_without_trust_exits_with_problems(tmp_path):
    run = interrupted(tmp_path, 7)
    (run.folder.path / states.FILE).unlink()
    assert easel("resume", run.folder.path, "--dry-run").exit_code == 3
    assert easel("resume", run.folder.path, "--dry-run", "--json").exit_code == 3
    assert easel("resume", run.folder.path, "--dry-run", "--trust-state").exit_code == 0


def test_a_continuation_can_wait_in_the_queue_and_is_then_known_to_the_guards(tmp_path):
    requests.pause()
    run = interrupted(tmp_path, 7)
    done = easel("resume", run.folder.path, "--queue", "--json")
    assert done.exit_code == 0, done.output
    row = json.loads(done.output)
    waiting = Run.attach(Path(row["folder"]))
    assert (row["position"], waiting.state, waiting.folder.done_steps) == (1, JobState.QUEUED, 5)
    assert [each.folder.versions["subject_version"] for each in (run, waiting)] == [1, 2]
    (run.folder.path / INTERRUPTED).touch()
    assert guards.resume_interrupted([run]) == []
    waiting.stop()
    (run.folder.path / INTERRUPTED).touch()
    (again,) = guards.resume_interrupted([run])
    again.stop(1.0)


def test_the_command_line_resumes_and_extends(tmp_path):
    run = interrupted(tmp_path, 12, output={"keep_states": 2})
    spec = run.folder.path / "spec.json"
    spec.write_text(spec.read_text().replace('"ending": "crash"', '"ending": "success"'))
    done = easel("resume", run.folder.path, "--step", 5, "--json")
    assert done.exit_code == 0, done.output
    longer = easel("extend", json.loads(done.output)["folder"], "--steps", 4, "--json")
    assert longer.exit_code == 0, longer.output
    last = Run.attach(Path(json.loads(longer.output)["folder"]))
    assert (last.folder.done_steps, last.summary.total) == (20, 24)


def test_the_command_line_asks_for_trust_by_name_and_for_warnings(tmp_path, images):
    run = interrupted(tmp_path, 7, dataset=images)
    os.utime(next(run.folder.dataset.glob("*.png")), (1, 1), follow_symlinks=False)
    asked = easel("resume", run.folder.path, "--detach")
    assert asked.exit_code == 1
    assert "--yes" in str(asked.exception)
    (run.folder.path / states.FILE).unlink()
    refused = easel("resume", run.folder.path, "--yes")
    assert refused.exit_code == 1
    assert "--trust-state" in str(refused.exception)
    assert len(list((tmp_path / "runs").iterdir())) == 1


def test_a_second_continuation_is_started_only_after_a_warning_while_the_first_one_runs(tmp_path):
    run = interrupted(tmp_path, 7)
    found = resume.propose(run)
    native = {"rehearsal": {**found.plan.native["rehearsal"], "ending": "hang"}}
    first = resume.start(dataclasses.replace(found, plan=found.plan.model_copy(update={"native": native})))
    first.launch()
    until(lambda: first.is_live)
    [warning] = resume.propose(run).warnings
    assert f"{first.name} continues this run already (running)" in warning
    answer = CliRunner().invoke(program, ["runs", "resume", run.name])
    assert isinstance(answer.exception, RunError)
    assert len(list((tmp_path / "runs").iterdir())) == 2
    first.stop(1.0)
    assert resume.propose(run).warnings == ()

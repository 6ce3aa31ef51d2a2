"""A plan that keeps only the newest checkpoints: the engine deletes the older ones, as was said, and nothing calls them damaged."""

import json

import pytest
from click.testing import CliRunner

from tests.support.played import LIMIT_S, ended, result, start, until
from trainer_core.cli.run_commands.checkpoints import command
from trainer_core.errors import RunError
from trainer_core.jobs.state import JobState
from trainer_core.training import actions, use
from trainer_core.training.results import results_of
from trainer_core.training.verdict import verdict

KEPT = {"save_every_steps": 20, "keep_last": 1}


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A run of 80 steps whose engine saved three checkpoints and a result, and the copy of step 20 that was taken meanwhile."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("kept")
        patch.setenv("EASEL_HOME", str(folder / "easel"))
        # An engine's checkpoint is there for minutes; this one for the time of 20 steps.
        run = start(folder, steps=80, steps_per_second=7.0, output=KEPT)
        until(lambda: any(one.step == 20 for one in use.saved(run)))
        taken = use.use(run, 20, folder / "mine")
        assert run.wait(LIMIT_S) is JobState.COMPLETED
        yield run, taken


@pytest.fixture
def run(kept):
    return kept[0]


def said(run, *words):
    """What `easel runs checkpoints` says of a run."""
    found = CliRunner().invoke(command, [str(run.folder.path), *words], catch_exceptions=False)
    assert found.exit_code == 0, found.output
    return found.output


def test_the_newest_checkpoint_and_the_result_stay(run):
    made = results_of(run).made
    assert [(one.step, one.is_final, one.saved.ok) for one in made] == [(60, False, True), (80, True, True)]


def test_a_copy_that_was_taken_stays(kept):
    run, taken = kept
    assert 20 in [one.step for one in use.removed(run)]
    assert taken.delivered is not None
    assert taken.delivered.is_file()


def test_the_deleted_checkpoints_are_told_as_deleted_and_not_as_damaged(run):
    assert [one.step for one in use.removed(run)] == [20, 40]
    sentence = use.removal(run)
    assert "of steps 20, 40" in sentence
    assert "output.keep_last" in sentence
    assert {"label": "Deleted checkpoints", "text": sentence} in verdict(run)
    assert not any("not delivered" in notice or "cannot be used" in notice for notice in result(run)["notices"])


def test_a_deleted_checkpoint_cannot_be_taken_and_the_error_says_why(run):
    with pytest.raises(RunError, match=r"no checkpoint of step 40\. It has: 60\.") as caught:
        use.use(run, 40)
    assert caught.value.hint == use.removal(run)


def test_the_command_line_tells_what_was_deleted(run):
    assert "The engine deleted the checkpoints of steps 20, 40" in said(run)
    assert [row["step"] for row in json.loads(said(run, "--json"))] == [60]


def test_a_stop_promises_only_what_is_there(run):
    assert actions.stop_of(run, JobState.RUNNING).brief == "keeps 1 checkpoint"


def test_a_run_that_keeps_all_never_speaks_of_deleted_ones(tmp_path):
    run = ended(tmp_path, output={"save_every_steps": 5})
    next(run.folder.output.glob("*-step00000005.safetensors")).unlink()
    assert use.removal(run) == ""

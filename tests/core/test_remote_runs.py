"""A run on another machine is a run: it is followed, stopped, fetched, accepted and delivered here."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.remote_runs import Homes, kill, lines, notices, of_kind, until, wait
from trainer_core import places
from trainer_core.cli import main
from trainer_core.errors import JobError
from trainer_core.jobs.processes import Identity
from trainer_core.jobs.recovery import recover
from trainer_core.jobs.state import JobState
from trainer_core.remote import hastening
from trainer_core.remote.runs import attaching, starting
from trainer_core.remote.runs.known import Known
from trainer_core.remote.runs.target import Remote
from trainer_core.training import controls, history, results, standing
from trainer_core.training.run import list_runs


@pytest.fixture
def homes(tmp_path, monkeypatch):
    made = Homes(tmp_path, monkeypatch)
    yield made
    made.close()


def whole(run, steps=20):
    """Whether a run has everything of its remote run, each once."""
    assert run.state is JobState.COMPLETED, (run.result, run.folder.log.read_text()[-3000:])
    assert [line["step"] for line in of_kind(run, "step")] == list(range(1, steps + 1))
    saved = [line["path"] for line in of_kind(run, "checkpoint")]
    assert saved == sorted(set(saved))
    assert saved
    shown = [line["path"] for line in of_kind(run, "sample")]
    assert len(shown) == len(set(shown))
    places_ = [line["place"] for line in lines(run) if "place" in line]
    assert places_ == sorted(set(places_)), "an event was copied twice"
    log = run.folder.log.read_bytes()
    assert log.count(b"running training") == 1
    return True


def shown_of(run, capsys):
    capsys.readouterr()
    with pytest.raises(SystemExit):
        main(["runs", "show", run.name])
    return capsys.readouterr().out


def follower(run):
    return Identity.from_dict(run.folder.read("engine.json"))


def test_a_remote_run_ends_with_a_delivered_network_and_all_that_a_run_has(homes, capsys):
    run = homes.ended()
    assert whole(run)
    assert (homes.out / "elena.safetensors").is_file()
    assert (homes.out / "elena-step00000010.safetensors").is_file()
    assert run.result["outputs"][0] == str(homes.out / "elena.safetensors")
    assert run.result["acceptance"]["ok"]
    found = results.results_of(run)
    assert [made.step for made in found.made][-1] == 20
    assert found.rows
    assert len(homes.runs_there()) == 1
    past = history.history()
    assert (past[0].run, past[0].images, past[0].versions["where"]) == (run.name, 3, "the home there")
    # Nothing that a trainer may not know has left this machine, and no path of this machine is in its plan.
    plan = (homes.remote_of(run).folder.path / "plan.toml").read_text()
    assert str(homes.images) not in plan
    assert str(homes.out) not in plan
    for words in (["list"], ["history"]):
        with pytest.raises(SystemExit):
            main(["runs", *words])
        heads, row = capsys.readouterr().out.splitlines()[:2]
        assert "on" in heads.split()
        assert "the home there" in row
    assert standing.of(run).text.startswith("It was a run on the home there.")
    # The commands treat it as a run.
    for words in (("show", run.name, "--json"), ("checkpoints", run.name, "--json"), ("history", "--json")):
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(["runs", *words])
        assert (ended.value.code or 0) == 0
        assert json.loads(capsys.readouterr().out)


def test_a_training_that_fails_there_fails_here_with_the_same_cause(homes):
    run = homes.ended(ending="oom", at=5, steps_per_second=0)
    there = homes.remote_of(run)
    assert run.state is JobState.FAILED
    assert run.diagnosis == there.diagnosis
    assert run.diagnosis.id == "cuda-oom" or "memory" in run.diagnosis.cause
    assert run.diagnosis.line


def test_a_stop_arrives_there_and_what_was_saved_is_here(homes):
    run = homes.start(steps=4000, steps_per_second=2.0)
    until(lambda: run.summary.checkpoints)
    run.stop()
    assert run.state is JobState.CANCELLED
    assert homes.remote_of(run).state is JobState.CANCELLED
    assert run.result["newest_good"]


def test_a_run_that_is_stopped_while_data_is_brought_never_begins(homes, capsys):
    homes.faults.set(bring=("slow", 1))
    run = homes.start()
    until(lambda: run.summary.transfer)
    assert shown_of(run, capsys).count("sending 3 images to there: 3.0 MiB of 4.0 MiB, 2.0 MiB per second") == 1
    run.stop()
    assert run.state is JobState.CANCELLED
    assert run.summary.transfer is None
    assert not homes.runs_there()


@pytest.mark.parametrize(
    "victims", [("engine.json",), ("runner.json",), ("runner.json", "wrapper.json", "engine.json")]
)
def test_a_killed_follower_or_supervisor_loses_nothing(homes, victims):
    run = homes.start(steps=60, steps_per_second=4.0)
    until(lambda: len(of_kind(run, "step")) >= 5)
    for name in victims:
        kill(run, name)
    if "runner.json" in victims:
        until(lambda: run.state is JobState.LOST)
        assert recover([run])
    wait(run)
    assert whole(run, 60)
    assert len(homes.runs_there()) == 1


@pytest.mark.parametrize("verb", ["bring", "begin", "state", "read", "files", "fetch"])
def test_a_follower_that_dies_at_any_stage_is_started_again(homes, verb):
    homes.faults.set(**{verb: ("die", 1)})
    run = homes.ended(steps_per_second=0)
    assert whole(run)
    assert len(homes.runs_there()) == 1


def test_an_answer_that_is_lost_starts_no_second_run(homes):
    homes.faults.set(begin=("after", 2))
    assert whole(homes.ended(steps_per_second=0))
    assert len(homes.runs_there()) == 1


def test_a_trainer_out_of_reach_is_told_once_and_the_run_goes_on(homes):
    run = homes.start(steps=60, steps_per_second=4.0)
    until(lambda: len(of_kind(run, "step")) >= 5)
    homes.faults.down()
    until(lambda: "does not answer since" in notices(run))
    assert homes.remote_of(run).wait(100) is JobState.COMPLETED
    assert run.state is JobState.RUNNING
    homes.faults.down(False)
    # By now it waits for up to a minute between two questions; a webhook ends the pause.
    hastening.mark(run.folder.path)
    until(lambda: not hastening.is_marked(run.folder.path))
    wait(run)
    assert whole(run, 60)
    assert notices(run).count("does not answer since") == 1
    assert "answers again" in notices(run)


def test_a_trainer_that_stays_out_of_reach_is_given_up_with_the_command_that_attaches_again(homes, monkeypatch):
    monkeypatch.setenv("EASEL_TEST_PATIENCE_S", "2")
    run = homes.start(steps=60, steps_per_second=4.0)
    until(lambda: len(of_kind(run, "step")) >= 1)
    homes.faults.down()
    assert wait(run) is JobState.LOST
    assert f"easel remote attach home:{homes.there} {Remote.of(run.folder.path).id}" in run.diagnosis.advice
    homes.faults.down(False)
    assert homes.remote_of(run).wait(100) is JobState.COMPLETED
    monkeypatch.setenv("EASEL_TEST_PATIENCE_S", "600")
    again = attaching.attach(homes.target, Remote.of(run.folder.path).id)
    assert again.name != run.name
    wait(again)
    assert whole(again, 60)


def test_a_run_is_started_again_where_it_trained(homes, capsys):
    first = homes.ended(steps_per_second=0)
    again = starting.again(first)
    wait(again)
    assert whole(again)
    assert again.folder.where == first.folder.where
    assert len(homes.runs_there()) == 2
    with pytest.raises(SystemExit) as ended:
        main(["runs", "retry", first.name, "--queue"])
    assert ended.value.code == 2
    assert "the queue is for this machine" in capsys.readouterr().err


def test_a_run_that_is_lost_here_is_stopped_there(homes, monkeypatch, capsys):
    monkeypatch.setenv("EASEL_TEST_PATIENCE_S", "2")
    run = homes.start(steps=4000, steps_per_second=4.0)
    until(lambda: len(of_kind(run, "step")) >= 1)
    homes.faults.down()
    assert wait(run) is JobState.LOST
    with pytest.raises(SystemExit) as ended:
        main(["runs", "stop", run.name])
    assert ended.value.code == 1
    assert "It may still train there" in capsys.readouterr().err
    homes.faults.down(False)
    with pytest.raises(SystemExit) as ended:
        main(["runs", "stop", run.name])
    assert ended.value.code == 0
    assert "was asked to stop there" in capsys.readouterr().out
    assert homes.remote_of(run).wait(100) is JobState.CANCELLED


def test_a_checkpoint_that_was_replaced_there_after_its_test_is_tested_again(homes):
    run = homes.start(steps=100, steps_per_second=8.0)
    until(lambda: of_kind(run, "checked"))
    path = of_kind(run, "checked")[0]["path"]
    there = homes.remote_of(run).folder.path / path
    whole_file = there.read_bytes()
    header = 8 + int.from_bytes(whole_file[:8], "little")
    there.write_bytes(whole_file[:header] + b"\xff" * (len(whole_file) - header))
    wait(run)
    (row,) = [one for one in run.result["checkpoints"] if one["path"] == path]
    assert (row["ok"], row["delivered"]) == (False, "")


def test_a_run_whose_folder_is_gone_there_before_its_first_event_is_lost(homes):
    run = starting.prepared(homes.bench(), homes.target)
    # As after a start, and before anything was told: the trainer has nothing of the run.
    Known(begun=True).write(run.folder.path)
    run.launch()
    assert wait(run) is JobState.LOST
    assert "the home there has lost the run. It has nothing of it any more" in run.diagnosis.cause


def test_a_file_damaged_on_its_way_is_refused_and_fetched_again(homes):
    homes.faults.set(fetch=("bytes", 2))
    run = homes.ended(steps_per_second=0)
    assert whole(run)
    assert "was damaged on its way" in notices(run)
    for path in (homes.remote_of(run).folder.output).rglob("*.safetensors"):
        here = run.folder.path / path.relative_to(homes.remote_of(run).folder.path)
        assert here.read_bytes() == path.read_bytes()


@pytest.mark.parametrize(("times", "is_told"), [(2, False), (5, True)])
def test_a_file_that_the_trainer_refuses_is_asked_for_again_and_never_left_out_silently(homes, times, is_told):
    homes.faults.set(fetch=("refused", times))
    run = homes.ended(steps_per_second=0)
    assert ("was not fetched, and stays on the trainer" in notices(run)) is is_told
    assert is_told or whole(run)


def test_a_fetch_that_is_cut_goes_on_where_it_was(homes):
    homes.faults.set(fetch=("half", 3))
    assert whole(homes.ended(steps_per_second=0))


def test_another_computer_attaches_while_the_first_one_follows(homes, monkeypatch, tmp_path):
    run = homes.start(steps=60, steps_per_second=4.0)
    until(lambda: len(of_kind(run, "step")) >= 5)
    identifier = Remote.of(run.folder.path).id
    assert attaching.attach(homes.target, identifier).name == run.name, "this computer has it already"
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "laptop"))
    with ThreadPoolExecutor(2) as pool:
        other, same = pool.map(lambda _: attaching.attach(homes.target, identifier), range(2))
    assert other.name == same.name, "two programs attached it at the same moment"
    assert len(list_runs(places.runs())) == 1
    wait(other)
    wait(run)
    assert whole(other, 60)
    assert whole(run, 60)
    assert (tmp_path / "laptop" / "outputs" / "elena.safetensors").is_file()
    assert len(homes.runs_there()) == 1
    with pytest.raises(JobError, match="has no run with the id"):
        attaching.attach(homes.target, "20260101-000000-nobody-00000000")


def test_a_run_goes_on_there_from_its_state(homes):
    more = {"output.keep_states": 2}
    run = homes.start(steps=400, more=more, steps_per_second=2.0)
    until(lambda: run.summary.checkpoints)
    run.stop()
    after = starting.resume(run)
    until(lambda: of_kind(after, "step"))
    assert of_kind(after, "step")[0]["step"] > 1
    assert Remote.of(after.folder.path).resumes == Remote.of(run.folder.path).id
    with pytest.raises(JobError, match="continues this run already"):
        starting.resume(run)
    # Another computer knows nothing of that; the trainer does.
    elsewhere = dataclasses.replace(Remote.of(after.folder.path), id="20260101-000000-laptop-00000000")
    with pytest.raises(JobError, match=f"continues this one already.*: {Remote.of(after.folder.path).id}"):
        elsewhere.carrier(homes.folder).resume(elsewhere.resumes, print)
    after.stop()
    assert len(homes.runs_there()) == 2


def test_a_run_without_a_state_there_says_plainly_why_it_does_not_go_on(homes):
    run = homes.start(steps=400, steps_per_second=2.0)
    until(lambda: run.summary.checkpoints)
    run.stop()
    after = starting.resume(run)
    assert wait(after) is JobState.FAILED
    assert "has no whole state to continue from" in after.diagnosis.cause


def test_the_engine_there_is_asked_for_a_checkpoint(homes):
    run = homes.start(
        steps=4000, more={"output.save_every_steps": 3000, "sampling.every_steps": 3000}, steps_per_second=2.0
    )
    until(lambda: len(of_kind(run, "step")) >= 5)
    controls.ask(run, "save")
    until(lambda: run.summary.checkpoints)
    run.stop()


def test_a_machine_that_shuts_down_leaves_the_remote_run_alone(homes):
    run = homes.start(steps=60, steps_per_second=4.0)
    until(lambda: len(of_kind(run, "step")) >= 5)
    supervisor = Identity.from_dict(run.folder.read("runner.json"))
    os.kill(supervisor.pid, signal.SIGTERM)
    until(lambda: not supervisor.alive)
    assert run.result is None
    assert run.state is JobState.LOST
    assert homes.remote_of(run).state is JobState.RUNNING
    assert recover([run])
    wait(run)
    assert whole(run, 60)


def test_a_plan_that_the_trainer_refuses_says_so(homes):
    run = homes.start()
    homes.faults.set()
    wait(run)
    assert run.state is JobState.COMPLETED
    bench = homes.bench()
    refused = starting.prepared(bench, homes.target)
    (homes.folder / "sd15.safetensors").unlink()
    refused.launch()
    assert wait(refused) is JobState.FAILED
    assert "The trainer refuses the plan" in refused.diagnosis.cause
    assert len(homes.runs_there()) == 1


def test_the_command_line_trains_on_another_machine(homes, capsys):
    words = [
        *("--model", homes.folder / "sd15.safetensors", "--dataset", homes.images, "--trigger", "elena"),
        *("--name", "elena", "--output", homes.out, "--steps", "6", "--engine", "rehearsal"),
    ]
    for words_, code in (
        (("remote", "train", f"home:{homes.there}", *words, "--json"), 0),
        (("train", *words, "--on", f"home:{homes.there}", "--queue"), 2),
        (("train", *words, "--on", "carrier-pigeon:x"), 2),
        (("train", *words, "--dataset", homes.folder / "nothing", "--on", f"home:{homes.there}"), 3),
    ):
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([*map(str, words_)])
        said = capsys.readouterr()
        assert (ended.value.code or 0) == code, said.out + said.err
        if not code:
            assert json.loads(said.out)["state"] == "COMPLETED"
    assert len(list_runs(places.runs())) == 1

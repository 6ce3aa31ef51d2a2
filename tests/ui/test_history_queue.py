"""The place History without a page: deletion, trash, queue and sweeps."""

import pytest

from tests.support.histories import ask, names, shown, written
from tests.support.page import click, enter, on_page, prepare, wait_for
from tests.support.written_runs import write_run
from trainer_core import places
from trainer_core.jobs.queueing import entries, requests
from trainer_core.jobs.state import FINAL_STATES, JobState
from trainer_core.training.folder import RunFolder
from trainer_core.training.run import Run, list_runs


@pytest.fixture
def quiet(home):
    """No run is started by the queue; its owner, if one was started, ends with the test."""
    requests.pause()
    yield home
    for run in list_runs(places.runs()):
        if run.state not in FINAL_STATES:
            run.stop(0.5)


def test_a_deletion_asks_says_the_size_and_can_be_undone(open_app, home):
    path = written(1)[0]
    (path / "output" / "mika-step00000010.safetensors").write_bytes(b"x" * 3_000_000)
    history = shown(open_app())
    ask(history, "open", run=path.name)
    click(history.card.buttons["delete"])
    assert path.exists()
    question = history.deleter.question.value
    assert "(3 MB)" in question
    assert "Only in this folder: mika-step00000010.safetensors" in question
    click(history.deleter.keep)
    assert not on_page(history.deleter.widget)
    click(history.card.buttons["delete"])
    click(history.deleter.sure)
    assert not path.exists()
    wait_for(lambda: names(history) == [])
    assert not on_page(history.card.widget)
    click(history.deleter.undo)
    assert path.exists()
    wait_for(lambda: names(history) == [path.name])


def test_a_waiting_run_is_not_deleted_and_the_sentence_of_the_core_says_why(open_app, home, quiet):
    path = write_run("20260105-100000-mika", state="")
    requests.add([path])
    app = open_app()
    history = shown(app)
    ask(history, "choose", run=path.name)
    click(history.bar.delete)
    assert "waits in the queue" in app.session.message
    assert path.exists()


def test_the_trash_lists_restores_and_is_emptied_after_a_question(open_app, home):
    one, two, three = written(3)
    history = shown(open_app())
    for path in (one, two, three):
        ask(history, "choose", run=path.name)
    click(history.bar.delete)
    click(history.deleter.sure)
    wait_for(lambda: len(history.reader.seen.trash) == 3)
    click(history.trash.turn)
    assert {item["id"] for item in history.trash.list.items} == {one.name, two.name, three.name}
    history.trash.list._handle_custom_msg({"kind": "act", "item": one.name, "act": "back"}, [])
    assert one.exists()
    wait_for(lambda: len(history.reader.seen.trash) == 2)
    history.trash.list._handle_custom_msg({"kind": "act", "item": "../runs", "act": "remove"}, [])
    click(history.trash.empty)
    assert "cannot be undone" in history.trash.question.value
    assert len(list(places.trash().iterdir())) == 2
    click(history.trash.sure)
    wait_for(lambda: not list(places.trash().iterdir()))
    assert one.exists()


def test_the_queue_is_moved_cancelled_paused_and_told_what_a_failure_does(open_app, home, quiet):
    paths = [write_run(f"2026010{number}-100000-w{number}", state="") for number in (1, 2, 3)]
    requests.add(paths)
    history = shown(open_app())
    queue = history.queue
    assert [item["text"] for item in queue.list.items] == [f"waits at position {number}" for number in (1, 2, 3)]
    assert "paused" in queue.state.value
    queue.list._handle_custom_msg({"kind": "act", "item": paths[2].name, "act": "up"}, [])
    assert [entry.run for entry in entries.read().entries] == [paths[0].name, paths[2].name, paths[1].name]
    queue.list._handle_custom_msg({"kind": "act", "item": paths[0].name, "act": "up"}, [])
    assert entries.read().entries[0].run == paths[0].name, "the first cannot go up"
    queue.list._handle_custom_msg({"kind": "act", "item": paths[0].name, "act": "cancel"}, [])
    wait_for(lambda: len(entries.read().entries) == 2)
    assert Run.attach(paths[0]).state is JobState.CANCELLED
    enter(queue.stops, True)
    assert entries.read().stops_on_failure
    wait_for(lambda: len(queue.list.items) == 2)
    ask(history, "open", run=paths[2].name)
    assert "position 1 for GPU 0" in history.card.facts.value
    for entry in entries.read().entries:
        requests.cancel(entry.run)
    wait_for(lambda: queue.pause.description == "Continue")
    click(queue.pause)
    assert not entries.read().paused


def test_a_run_is_queued_beside_one_that_trains_and_is_not_started_at_once(open_app, home, quiet):
    settings = prepare(home, 5000, steps_per_second=20)
    app = open_app(settings)
    assert not on_page(app.launch.queue_it.widget)
    click(app.launch.start)
    wait_for(lambda: app.session.run is not None or app.session.message)
    wait_for(lambda: on_page(app.launch.queue_it.widget))
    click(app.launch.queue_it.widget)
    wait_for(lambda: entries.read().entries)
    wait_for(lambda: "position 1" in app.session.message)
    assert Run.attach(entries.read().entries[0].path).state is JobState.QUEUED
    history = shown(app)
    wait_for(lambda: len(history.queue.list.items) == 2)
    assert history.queue.list.items[0]["share"] is not None


def test_a_sweep_is_checked_before_it_is_offered_and_makes_a_run_for_each_combination(open_app, home, quiet):
    app = open_app(prepare(home))
    history = shown(app)
    sweep = history.sweep
    click(history.queue.sweep)
    assert on_page(sweep.widget)
    click(sweep.check)
    assert "There is no change yet." in app.session.message
    enter(sweep.rows[0][0], "network.rank")
    enter(sweep.rows[0][1], "8, many")
    click(sweep.check)
    assert "is not a whole number" in app.session.message
    assert not on_page(sweep.start)
    enter(sweep.rows[0][0], "schedule.warmup_steps")
    enter(sweep.rows[0][1], "10, 500")
    click(sweep.check)
    wait_for(lambda: sweep.checked is not None)
    wait_for(lambda: "1 of 2 cannot be started" in sweep.said.value)
    assert not on_page(sweep.start)
    enter(sweep.rows[0][0], "network.rank")
    enter(sweep.rows[0][1], "8, 16")
    click(sweep.more)
    enter(sweep.rows[1][0], "optimizer.learning_rate")
    enter(sweep.rows[1][1], "1e-4, 5e-5")
    click(sweep.check)
    wait_for(lambda: on_page(sweep.start))
    assert sweep.start.description == "Queue 4 runs"
    assert places.runs().is_dir() is False or not list(places.runs().iterdir()), "nothing is written before"
    click(sweep.start)
    wait_for(lambda: len(entries.read().entries) == 4)
    wait_for(lambda: "4 runs wait" in app.session.message)
    wait_for(lambda: len(names(history)) == 4)
    ask(history, "open", run=names(history)[0])
    assert on_page(history.card.buttons["sweep"])
    click(history.card.buttons["sweep"])
    wait_for(lambda: len(history.comparison.view.content["runs"]) == 4)


def test_a_run_is_queued_again_with_a_change(open_app, home, quiet):
    app = open_app(prepare(home, 20, steps_per_second=400))
    click(app.launch.start)
    wait_for(lambda: app.session.run is not None and app.session.run.state in FINAL_STATES)
    history = shown(app)
    first = names(history)[0]
    ask(history, "open", run=first)
    click(history.card.buttons["queue"])
    enter(history.sweep.rows[0][0], "network.rank")
    enter(history.sweep.rows[0][1], "4")
    click(history.sweep.check)
    wait_for(lambda: on_page(history.sweep.start))
    assert history.sweep.start.description == "Queue this run"
    click(history.sweep.start)
    wait_for(lambda: entries.read().entries)
    folder = RunFolder(entries.read().entries[0].path)
    assert (folder.versions["like"], folder.plan["network"]["rank"]) == (first, 4)

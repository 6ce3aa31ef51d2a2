"""The place History without a page: table, card, comparison, queue, sweep and trash."""

import json
import time

import pytest

from tests.support.page import button, click, enter, go, markup, on_page, prepare, wait_for
from tests.support.written_runs import write_events, write_images, write_run
from trainer_core import events, places
from trainer_core.jobs.queueing import entries, requests
from trainer_core.jobs.state import FINAL_STATES, JobState
from trainer_core.training import labels
from trainer_core.training.folder import RunFolder
from trainer_core.training.run import Run, list_runs

OLD = "20250101-100000-old"


def written(count=3):
    return [
        write_run(
            f"202601{number + 1:02}-100000-mika-{number}", network__rank=number + 1, dataset__trigger=f"M{number % 2}"
        )
        for number in range(count)
    ]


def shown(app):
    """The history when it has been read."""
    go(app, "history")
    wait_for(lambda: app.history.reader.seen is not None and len(app.history.reader.seen.sizes) == app.history.number)
    wait_for(lambda: "loading" not in app.history.table.content)
    return app.history


def names(history):
    return [row["run"] for row in history.table.content["rows"] if "run" in row]


def ask(history, kind, **more):
    """What the page sends when something in the table was used."""
    history.table._handle_custom_msg({"kind": kind, **more}, [])


@pytest.fixture
def quiet(home):
    """No run is started by the queue; its owner, if one was started, ends with the test."""
    requests.pause()
    yield home
    for run in list_runs(places.runs()):
        if run.state not in FINAL_STATES:
            run.stop(0.5)


def test_nothing_of_the_history_is_made_before_it_is_shown(open_app):
    app = open_app()
    assert app.history.widget.children == app.history.bar.widget.children == ()
    go(app, "history")
    assert on_page(app.history.none)
    assert not on_page(app.history.list_card)


def test_runs_are_listed_newest_first_with_their_figures(open_app, home):
    write_run(OLD, is_old=True)
    path = write_run(
        "20260105-100000-mika",
        result={"summary": {"loss": 0.0983, "step": 100, "total": 100}},
        versions={"profile": "sd15-character"},
    )
    labels.write(RunFolder(path), labels.Labels("elena", "first line\nsecond", ("good",)))
    history = shown(open_app())
    assert names(history) == [path.name, OLD]
    first, old = history.table.content["rows"]
    assert (first["name"], first["note"], first["tags"]) == ("elena", "first line", ["good"])
    assert (first["word"], first["loss"], first["images"], first["profile"]) == (
        "Finished",
        "0.0983",
        "3 images",
        "Character",
    )
    assert (first["steps"], first["took"], first["when"]) == ("100 steps", "1 min", "5 Jan 2026")
    assert first["size"].endswith("kB")
    assert old["images"] == "images unknown"


def test_filters_by_text_state_model_tag_and_time(open_app, home):
    *_, last = written(3)
    labels.write(RunFolder(last), labels.Labels(tags=("good",)))
    write_run("20260110-100000-burnt", state="FAILED", model__family="sdxl")
    write_run(time.strftime("%Y%m%d-%H%M%S-now"))
    history = shown(open_app())
    assert [button.description for button in history.bar.groups.values() if on_page(button)] == [
        "All 5",
        "Finished 4",
        "Failed 1",
    ]
    enter(history.bar.find, "rank=2")
    assert names(history) == ["20260102-100000-mika-1"]
    enter(history.bar.find, "")
    enter(history.bar.groups["failed"], True)
    assert names(history) == ["20260110-100000-burnt"]
    assert not history.bar.groups[""].value
    enter(history.bar.groups[""], True)
    enter(history.family, "sdxl")
    assert names(history) == ["20260110-100000-burnt"]
    enter(history.family, "")
    enter(history.tag, "good")
    assert names(history) == [last.name]
    enter(history.tag, "")
    enter(history.since, "Today")
    assert len(names(history)) == 1


def test_a_click_on_a_column_sorts_and_unknown_values_come_last(open_app, home):
    for number, loss in enumerate((0.2, None, 0.1)):
        summary = {"loss": loss, "step": 1, "total": 1} if loss else None
        write_run(f"2026010{number + 1}-100000-r{number}", result={"summary": summary})
    history = shown(open_app())
    ask(history, "sort", text="loss")
    assert [name[-1] for name in names(history)] == ["0", "2", "1"]
    ask(history, "sort", text="loss")
    assert [name[-1] for name in names(history)] == ["2", "0", "1"]
    ask(history, "sort", text="path")
    assert history.listing.sort == "loss"


def test_a_thousand_runs_are_paged_and_no_action_waits_for_their_files(open_app, home):
    first = write_run("20260101-000000-run")
    for number in range(1, 1000):
        path = places.runs() / f"2026{number % 12 + 1:02}{number % 28 + 1:02}-{number % 24:02}0000-run-{number}"
        path.mkdir()
        for name in ("spec.json", "versions.json", "result.json", "plan.toml"):
            (path / name).write_bytes((first / name).read_bytes())
    app = open_app()
    start = time.perf_counter()
    go(app, "history")
    assert time.perf_counter() - start < 1.5
    history = shown(app)
    content = history.table.content
    assert (content["total"], len(content["rows"])) == (1000, 25)
    assert len(json.dumps(content)) < 20_000, "one page is a small message"
    ask(history, "page", number=975)
    assert history.table.content["first"] == 975
    start = time.perf_counter()
    ask(history, "sort", text="name")
    assert time.perf_counter() - start < 1.0
    assert history.table.content["first"] == 0


def test_runs_of_a_subject_are_grouped_as_versions(open_app, home):
    written(4)
    history = shown(open_app())
    enter(history.versions, True)
    rows = history.table.content["rows"]
    assert [row.get("group") or row["version"] for row in rows] == ["M0", "v2", "v1", "M1", "v2", "v1"]
    assert rows[0]["more"] == "2 runs"


def test_a_name_is_changed_in_its_row_and_a_bad_one_is_refused_with_a_sentence(open_app, home):
    path = written(1)[0]
    app = open_app()
    history = shown(app)
    ask(history, "name", run=path.name, text="the sharp one")
    assert labels.read(RunFolder(path)).name == "the sharp one"
    assert history.table.content["rows"][0]["name"] == "the sharp one"
    ask(history, "name", run=path.name, text="x" * 101)
    assert "This name cannot be used." in app.session.message
    ask(history, "name", run="../elsewhere", text="x")
    assert not (places.runs() / "../elsewhere").exists()


def test_the_card_of_a_run_shows_its_facts_and_saves_note_and_tags_at_once(open_app, home):
    path = write_run(
        "20260105-100000-mika",
        network__rank=7,
        result={"peak_gpu_memory_bytes": 8 << 30, "outputs": ["/x/mika.safetensors"]},
    )
    app = open_app()
    history = shown(app)
    ask(history, "open", run=path.name)
    assert on_page(history.card.widget)
    told = markup(history.card.widget)
    for text in ("Peak GPU memory", "8.0 GB", "mika.safetensors", "rehearsal", "Rank", "settings differ"):
        assert text in told
    before = told.count("<div><b>")
    click(history.card.all)
    assert "All " in history.card.settings_title.value
    assert markup(history.card.widget).count("<div><b>") > before + 50
    enter(history.card.note, "rank 7 was enough")
    enter(history.card.tags, "good, draft")
    known = labels.read(RunFolder(path))
    assert (known.note, known.tags) == ("rank 7 was enough", ("good", "draft"))
    enter(history.card.tags, "draft")
    assert labels.read(RunFolder(path)).tags == ("draft",)
    enter(history.card.tags, "two/parts")
    assert "cannot be a tag" in app.session.message
    ask(history, "open", run=path.name)
    assert not on_page(history.card.widget)


def test_another_run_that_is_opened_does_not_take_the_note_of_the_one_before(open_app, home):
    one, two = written(2)
    history = shown(open_app())
    ask(history, "open", run=one.name)
    enter(history.card.note, "of the first")
    ask(history, "open", run=two.name)
    assert history.card.note.value == ""
    assert labels.read(RunFolder(one)).note == "of the first"
    assert labels.read(RunFolder(two)).note == ""


def test_a_run_of_an_older_easel_opens_and_says_what_is_not_known(open_app, home):
    path = write_run(OLD, is_old=True)
    write_images(path, a="x", b="y")
    history = shown(open_app())
    ask(history, "open", run=OLD)
    assert "did not record the number of its images" in history.card.unknown.value
    assert "2 images are in its folder" in history.card.settings_title.value
    assert "unknown" in history.card.facts.value


def test_the_plan_of_a_run_is_saved_and_none_is_replaced(open_app, home):
    path = written(1)[0]
    app = open_app()
    history = shown(app)
    ask(history, "open", run=path.name)
    for _ in range(2):
        click(history.card.buttons["plan"])
    assert {file.name for file in places.outputs().iterdir()} == {"mika.plan.toml", "mika-2.plan.toml"}
    assert "easel train" in app.session.message


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


def test_two_runs_are_compared_with_differences_caveats_and_curves(open_app, home):
    one = write_run("20260101-100000-a", network__rank=8, schedule__batch_size=1)
    two = write_run("20260102-100000-b", network__rank=16, schedule__batch_size=2, state="FAILED")
    for path in (one, two):
        write_events(path, *(events.Step(step, 0.2 - step / 1000, 1e-4) for step in range(1, 101)))
    write_images(one, x="a cat")
    write_images(two, x="a dog")
    history = shown(open_app())
    ask(history, "choose", run=one.name)
    assert history.bar.compare.disabled
    ask(history, "choose", run=two.name)
    click(history.bar.compare)
    content = wait_for(lambda: history.comparison.view.content if history.comparison.view.content["runs"] else None)
    assert content["runs"] == ["a", "b"]
    assert content["parts"][0]["title"].startswith("2 settings differ, ")
    assert ["Rank", ["8", "16"]] in content["parts"][0]["rows"]
    assert content["parts"][-1]["title"] == "Results"
    said = " ".join(content["caveats"])
    for words in (
        "differ in batch size",
        "different images or captions",
        "Not finished: 20260102-100000-b",
        "averages of 50 steps",
    ):
        assert words in said
    assert [curve[-1][0] for curve in content["curves"]] == [100, 100]
    history.comparison.view._handle_custom_msg({"kind": "swap"}, [])
    wait_for(lambda: history.comparison.view.content["runs"] == ["b", "a"])
    history.comparison.view._handle_custom_msg({"kind": "close"}, [])
    assert history.comparison.view.content["runs"] == []


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


def test_a_run_is_shown_in_watch_results_and_prepare(open_app, home):
    app = open_app(prepare(home, 20, steps_per_second=400))
    click(app.launch.start)
    wait_for(lambda: app.session.run is not None and app.session.run.state in FINAL_STATES)
    name = app.session.run.name
    click(button(app.root, "Close"))
    history = shown(app)
    ask(history, "open", run=name)
    click(history.card.buttons["watch"])
    assert (app.places.chosen, app.session.run.name) == ("watch", name)
    go(app, "history")
    app.session.watch(None)
    click(history.card.buttons["results"])
    assert (app.places.chosen, app.session.run.name) == ("results", name)
    go(app, "history")
    click(history.card.buttons["again"])
    assert app.places.chosen == "prepare"


def test_a_sample_that_leads_out_of_the_run_folder_is_no_thumbnail(open_app, home):
    path = write_run(
        "20260105-100000-mika", result={"summary": {"newest_sample": "../../secret.png", "step": 1, "total": 1}}
    )
    (home / "secret.png").write_bytes(b"x")
    history = shown(open_app())
    assert history._sample(path.name) is None

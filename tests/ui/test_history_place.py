"""The place History without a page: table, card, comparison, queue, sweep and trash."""

import json
import time

from tests.support.histories import ask, names, shown, written
from tests.support.page import act, click, enter, go, markup, on_page, prepare, wait_for
from tests.support.written_runs import write_events, write_images, write_run
from trainer_core import events, places
from trainer_core.jobs.state import FINAL_STATES
from trainer_core.training import labels
from trainer_core.training.folder import RunFolder

OLD = "20250101-100000-old"


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
        result={"summary": {"loss": 0.7, "smoothed_loss": 0.0983, "step": 100, "total": 100}},
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


def test_a_run_that_continues_another_one_says_which(open_app, home):
    write_run("20260105-100000-mika")
    origin = {"run": "20260105-100000-mika", "folder": "/runs/20260105-100000-mika", "step": 10}
    path = write_run("20260106-100000-mika", versions={"resumes": origin})
    labels.write(RunFolder(path), labels.Labels("", "a note", ()))
    later, first = shown(open_app()).table.content["rows"]
    assert later["name"] == first["name"] == "mika"
    assert later["note"] == "resumed from mika, 5 Jan 2026, a note"
    assert first["note"] == ""


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
        summary = {"smoothed_loss": loss, "step": 1, "total": 1} if loss else None
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
    for text in ("Peak GPU memory", "8.0 GiB", "mika.safetensors", "rehearsal", "Rank", "settings differ"):
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


def test_the_card_says_which_files_of_a_run_are_damaged(open_app, home):
    run = write_run("20260101-100000-mika")
    (run / "spec.json").write_text("{")
    history = shown(open_app())
    ask(history, "open", run=run.name)
    assert "Missing or damaged in this folder: spec.json." in history.card.unknown.value


def test_the_plan_of_a_run_is_saved_and_none_is_replaced(open_app, home):
    path = written(1)[0]
    app = open_app()
    history = shown(app)
    ask(history, "open", run=path.name)
    for _ in range(2):
        click(history.card.buttons["plan"])
    assert {file.name for file in places.outputs().iterdir()} == {"mika.plan.toml", "mika-2.plan.toml"}
    assert "easel train" in app.session.message


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
        "averages of about the last tenth of the steps",
    ):
        assert words in said
    assert [curve[-1][0] for curve in content["curves"]] == [100, 100]
    history.comparison.view._handle_custom_msg({"kind": "swap"}, [])
    wait_for(lambda: history.comparison.view.content["runs"] == ["b", "a"])
    history.comparison.view._handle_custom_msg({"kind": "close"}, [])
    assert history.comparison.view.content["runs"] == []


def test_a_run_is_shown_in_watch_results_and_prepare(open_app, home):
    app = open_app(prepare(home, 20, steps_per_second=400))
    click(app.launch.start)
    wait_for(lambda: app.session.run is not None and app.session.run.state in FINAL_STATES)
    name = app.session.run.name
    act(app, "close")
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

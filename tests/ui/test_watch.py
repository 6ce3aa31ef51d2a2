"""Watch without a page: the bar, the card of a run that does not train, the messages for chart and log, and what the page may ask."""

import json
import shutil

import pytest

from tests.support import written_runs
from tests.support.page import act, click, prepare, wait_for
from trainer_core import events, places
from trainer_core.events import Checkpoint, Gauges, Gpu, Phase, Progress, StateChange, Step, Validation
from trainer_core.jobs.state import FINAL_STATES, JobState
from trainer_core.jobs.summary import Summary
from trainer_core.jobs.time_left import TimeLeft
from trainer_core.training.run import Run, list_runs
from trainer_ui.cells import cells
from trainer_ui.feed import Watch
from trainer_ui.panels import run_content

GIB = 1 << 30


def content(app):
    return app.watch_bar.bar.content


def actions(app):
    return {one["id"]: one for one in content(app).get("actions", ())}


def card(app):
    panel = next(view.__self__ for view in app.views._views if type(view.__self__).__name__ == "WatchPanel")
    return panel.end.card


@pytest.fixture
def started(open_app, home):
    apps = []

    def start(steps=40, settings=None, **rehearsal):
        app = open_app({**prepare(home, steps, **rehearsal), **(settings or {})})
        apps.append(app)
        click(app.launch.start)
        wait_for(lambda: app.session.run is not None or app.session.message)
        assert app.session.run is not None, app.session.message
        return app

    yield start
    for app in apps:
        if app.session.run is not None and app.session.run.state not in FINAL_STATES:
            app.session.run.stop()


def test_the_bar_says_what_runs_how_far_it_is_and_what_each_action_does(started):
    app = started(2000, {"output.save_every_steps": 20}, steps_per_second=40)
    wait_for(lambda: "stop" in actions(app) and actions(app)["stop"]["brief"].startswith("keeps"))
    told = content(app)
    assert told["title"] == "trial"
    assert told["summary"] == "Stable Diffusion 1.5, 6 images"
    assert told["pill"] == ["Training", "accent"]
    assert [row["name"] for row in told["stages"]] == ["Engine", "Model", "Images", "Training"]
    assert told["stages"][-1]["state"] == "now"
    assert told["track"]["saved"]
    assert set(actions(app)) == {"sample", "save", "stop-after-save", "stop"}
    wait_for(lambda: content(app)["headline"].endswith(" left") and content(app)["ends"])
    json.dumps(told, allow_nan=False)
    before = len(app.session.run.summary.checkpoints)
    act(app, "save")
    wait_for(lambda: "saves a checkpoint" in app.session.message)
    wait_for(lambda: len(app.session.run.summary.checkpoints) > before)
    act(app, "stop-after-save")
    wait_for(lambda: app.session.run.state is JobState.CANCELLED)
    wait_for(lambda: content(app)["pill"][0] == "Stopped")
    wait_for(lambda: "resume" in actions(app))
    assert actions(app)["resume"]["possible"]
    assert actions(app)["resume"]["brief"].startswith("goes on after step ")


def stopped(app):
    wait_for(lambda: len(app.session.run.summary.checkpoints) > 1)
    act(app, "stop-after-save")
    wait_for(lambda: app.session.run.state is JobState.CANCELLED)
    return app.session.run


def test_the_last_run_is_shown_in_watch_after_the_page_was_opened_again(started, open_app):
    first = stopped(started(2000, {"output.save_every_steps": 20, "output.keep_states": 1}, steps_per_second=40))
    app = open_app()
    assert app.session.jobs.state is None, "nothing is read before Watch is opened"
    app.places.chosen = "watch"
    assert app.session.run.name == first.name
    wait_for(lambda: actions(app).get("resume", {}).get("possible"))
    assert content(app)["clock"]["when"].startswith("started ")
    act(app, "close")
    app.places.chosen = "prepare"
    app.places.chosen = "watch"
    assert app.session.run is None, "what was closed stays closed"


def test_results_and_history_offer_to_resume_a_run_that_can_be_resumed(started, open_app):
    first = stopped(started(2000, {"output.save_every_steps": 20, "output.keep_states": 1}, steps_per_second=40))
    app = open_app()
    app.places.chosen = "results"
    bar = next(view.__self__ for view in app.views._views if type(view.__self__).__name__ == "ResultsBar")
    button = bar.resuming.button
    wait_for(lambda: button.description.startswith("Resume\ngoes on after step "))
    click(button)
    assert app.places.chosen == "watch"
    assert app.session.run.name == first.name
    wait_for(lambda: content(app).get("proposal", {}).get("id") == "resume")
    app.places.chosen = "history"
    wait_for(lambda: app.history.reader.seen is not None)
    app.history.show_run(first.name)
    app.views.show()
    card = app.history.card.resuming.button
    wait_for(lambda: card.description.startswith("Resume\ngoes on after step "))
    act(app, "dismiss")
    click(card)
    assert app.places.chosen == "watch"
    wait_for(lambda: content(app).get("proposal", {}).get("id") == "resume")
    assert len(list_runs(places.runs())) == 1, "nothing was started"


def test_a_finished_run_shows_the_new_schedule_before_it_is_extended(started):
    app = started(20, {"output.keep_states": 1}, steps_per_second=200)
    wait_for(lambda: actions(app).get("extend", {}).get("possible"))
    act(app, "extend", steps=15)
    wait_for(lambda: content(app).get("proposal"))
    shown = content(app)["proposal"]
    assert shown["title"].endswith("after step 20: steps 21 to 35.")
    assert ["continues", "the weights, the step"] in shown["rows"]
    act(app, "dismiss")
    assert "proposal" not in content(app)
    assert len(list_runs(places.runs())) == 1, "nothing was started"
    act(app, "extend", steps="many")
    wait_for(lambda: content(app).get("proposal"))
    act(app, "extend", steps=15)
    wait_for(lambda: "steps 21 to 35" in content(app).get("proposal", {}).get("title", ""))
    first = app.session.run
    act(app, "continue")
    wait_for(lambda: app.session.run is not first)
    wait_for(lambda: app.session.run.state is JobState.COMPLETED)
    assert app.session.run.summary.last_step == 35


def test_a_failed_run_offers_fixes_that_were_tried_and_starts_again_with_one(started):
    app = started(40, {"schedule.batch_size": 4}, steps_per_second=200, ending="oom")
    wait_for(lambda: card(app).content.get("fixes"))
    told = card(app).content
    assert told["tone"] == "danger"
    assert "memory" in told["title"]
    assert told["line"]
    assert told["title"] not in (told["text"], told["line"], told["advice"])
    fix = next(row for row in told["fixes"] if any("Batch size: 4 → " in line for line in row["changes"]))
    assert [one["id"] for one in told["actions"]] == ["mend", "retry", "edit", "report"]
    assert [one["id"] for one in told["actions"] if one.get("look") == "primary"] == ["mend"]
    json.dumps(told, allow_nan=False)
    card(app)._handle_custom_msg({"kind": "act", "id": "report"}, [])
    wait_for(lambda: list((places.home() / "reports").glob("*.zip")))
    wait_for(lambda: "Read it before you share it" in app.session.message)
    first = app.session.run
    card(app)._handle_custom_msg({"kind": "act", "id": "mend", "number": 99}, [])
    assert app.session.run is first, "there is no such fix"
    card(app)._handle_custom_msg({"kind": "act", "id": "mend", "number": fix["number"]}, [])
    wait_for(lambda: app.session.run is not first)
    assert app.session.run.folder.plan["schedule"]["batch_size"] < 4
    assert app.session.run.folder.versions["retries"] == first.name


def test_the_settings_of_a_failed_run_are_changed_in_prepare_where_no_change_is_known_to_help(started):
    app = started(30, steps_per_second=200, ending="crash")
    told = wait_for(lambda: "fixes" in card(app).content and card(app).content)
    assert told["fixes"] == []
    assert [(one["id"], one.get("look", "")) for one in told["actions"]] == [
        ("edit", "primary"),
        ("retry", ""),
        ("report", ""),
    ]
    app.session.change({"schedule.steps": 77})
    card(app)._handle_custom_msg({"kind": "act", "id": "edit"}, [])
    assert app.places.chosen == "prepare"
    assert app.session.values["schedule.steps"] == 30


def test_an_action_that_was_chosen_for_another_run_does_nothing(started):
    app = started(20_000, steps_per_second=50)
    wait_for(lambda: "stop" in actions(app))
    act(app, "stop", run="20200101-000000-another")
    assert app.session.run.state is not JobState.STOPPING
    assert not (app.session.run.folder.path / "stop").exists()
    act(app, "stop", run=app.session.run.name)
    wait_for(lambda: app.session.run.state is JobState.CANCELLED)


@pytest.mark.parametrize(
    "message",
    ["x", {"kind": "act"}, {"kind": "act", "id": 7}, {"kind": "act", "id": "rm -rf"}, {"kind": "hello", "id": []}],
)
def test_what_a_page_should_not_send_does_nothing(open_app, message):
    app = open_app()
    app.watch_bar.bar._handle_custom_msg(message, [])
    app.run.log._handle_custom_msg({"kind": "search", "text": ["a"]}, [])
    app.run.log._handle_custom_msg({"kind": "search", "text": "nothing runs"}, [])
    assert content(app)["title"] == "Nothing is training"


def test_a_search_of_the_page_finds_lines_that_it_has_not_got(started):
    app = started(10, steps_per_second=200)
    wait_for(lambda: app.session.run.state in FINAL_STATES)
    with app.session.run.folder.log.open("a") as file:
        file.write("needle\n" + "hay\n" * 5000)
    heard = []
    app.run.log.send = lambda message, buffers=None: heard.append(message)
    app.run.log._handle_custom_msg({"kind": "search", "text": "NEEDLE"}, [])
    wait_for(lambda: any(one["kind"] == "found" for one in heard))
    found = next(one for one in heard if one["kind"] == "found")
    assert [row["text"] for row in found["hits"]] == ["needle"]
    assert found["total"] > 5000


def news(run):
    """The message for a view that was just opened."""
    found = Watch(run).news(full=True)
    assert found is not None
    return found


def run_of(*told, state="COMPLETED", every_s=1.0):
    path = written_runs.write_run("20261101-120000-mika", state=state)
    written_runs.write_events(path, *told, every_s=every_s)
    return Run.attach(path)


def test_messages_have_saves_validation_and_the_story_and_nothing_about_samples(home):
    run = run_of(
        StateChange("RUNNING"), Phase("loading model"), Step(1, 0.5, 1e-4), Validation(1, 0.25), Validation(2, float("nan")),
        Checkpoint("output/a.safetensors", 1), events.Sample("output/a.png", 1), events.Notice("warning", "careful"),
    )  # fmt: skip
    message, buffers = news(run)
    assert message["saves"] == [1]
    assert message["validations"] == [[1, 0.25]]
    assert [one["text"] for one in message["story"]][:2] == ["The job runs.", "Loading the model."]
    assert message["story"][-1]["severity"] == "warning"
    assert "samples" not in message
    assert len(buffers[0]) == 12
    json.dumps(message, allow_nan=False)


def test_the_failure_line_is_at_the_step_where_it_failed(home):
    run = run_of(StateChange("RUNNING"), Step(1, 0.5), Progress(2, 100), StateChange("FAILED"), state="FAILED")
    message, _ = news(run)
    assert message["status"]["failed_at"] == 2
    done = run_content.content(run, TimeLeft(), {}, "")
    assert done["headline"] == "Ended at step 2 of 100"
    assert done["stages"][-1]["state"] == "ended"
    assert done["figures"] == [], "the headline has the step"


def test_the_headline_says_that_samples_are_made_and_counts_them_once_their_time_is_known(home):
    begun = [StateChange("RUNNING"), Phase("training"), *(Step(step, 0.5) for step in range(1, 9)), Phase("sampling")]
    run, left = run_of(*begun), TimeLeft()
    left.take(100.0, 20.0)
    assert run_content.headline(run, JobState.RUNNING, left) == "Making samples, then 20 s and later samples"
    shutil.rmtree(run.folder.path)
    again = [Phase("training"), Step(9, 0.5), Phase("sampling")]
    run = run_of(*begun, *again)
    assert run_content.headline(run, JobState.RUNNING, left) == "Making samples, 20 s left"
    shutil.rmtree(run.folder.path)
    after = [*again, Phase("training")]
    assert run_content.headline(run_of(*begun, *after), JobState.RUNNING, left) == "20 s left"


def test_the_time_left_says_that_it_is_without_samples_before_the_time_of_the_samples_is_known(home):
    steps = [StateChange("RUNNING"), Phase("training"), *(Step(step, 0.5) for step in range(1, 5))]
    path = written_runs.write_run("20260101-100000-a", state="RUNNING", result=None, sampling__every_steps=10)
    written_runs.write_events(path, Progress(4, 40), *steps)
    run, left = Run.attach(path), TimeLeft()
    left.take(100.0, 20.0)
    assert run_content.are_samples_unknown(run)
    assert run_content.headline(run, JobState.RUNNING, left) == "20 s left, plus the samples"
    made = [Phase("sampling"), Phase("training"), Step(11, 0.5)]
    written_runs.write_events(path, Progress(4, 40), *steps, *made)
    run = Run.attach(path)
    assert not run_content.are_samples_unknown(run)
    assert run_content.headline(run, JobState.RUNNING, left) == "20 s left"


def test_the_stages_are_those_of_the_events_so_a_new_kernel_shows_the_same(home):
    run = run_of(
        StateChange("RUNNING"),
        Phase("loading model"),
        Phase("training"),
        Step(1, 0.5),
        StateChange("CANCELLED"),
        every_s=30,
    )
    first = run_content.content(run, TimeLeft(), {}, "")["stages"]
    again = run_content.content(Run.attach(run.folder.path), TimeLeft(), {}, "")["stages"]
    assert first == again
    assert [(row["name"], row["seconds"]) for row in first] == [("Engine", 30.0), ("Model", 30.0), ("Training", 60.0)]


def figures(gauges, **more):
    seen = Summary()
    seen.take([gauges] if gauges else [])
    return {cell["id"]: cell for cell in cells(seen, more.pop("images", 2), is_over=more.pop("is_over", False))}


def test_figures_have_the_share_of_others_and_what_is_not_known_is_left_out():
    gpu = Gpu(0, "a card", int(12.3 * GIB), int(10.9 * GIB), 24 * GIB, 98.0, 71.0, 412.0)
    found = figures(
        Gauges(
            (gpu,),
            memory_bytes=9 * GIB,
            memory_free_bytes=40 * GIB,
            memory_total_bytes=64 * GIB,
            disk_free_bytes=312 * GIB,
        )
    )
    assert (found["vram0"]["value"], found["vram0"]["unit"], found["vram0"]["note"]) == (
        "12.3",
        "of 24 GiB",
        "peak 12.3 GiB; others 1.4 GiB",
    )
    assert found["vram0"]["meter"] == pytest.approx([10.9 / 24, 1.4 / 24], abs=0.01)
    assert (found["load0"]["value"], found["load0"]["note"]) == ("98", "71 °C, 412 W")
    assert found["ram"]["unit"] == "of 64 GiB"
    assert found["disk"]["unit"] == "GiB free"
    assert figures(None) == {}
    assert set(figures(Gauges((Gpu(0),), memory_bytes=1))) == {"ram"}
    assert set(figures(Gauges((gpu,), memory_bytes=9 * GIB), is_over=True)) == {"vram", "ram"}


def test_the_speed_is_in_steps_and_images():
    seen = Summary()
    seen.take([Progress(number, 100, 1.48) for number in range(1, 9)])
    (speed,) = cells(seen, 2, is_over=False)
    assert (speed["value"], speed["unit"], speed["note"]) == ("1.48", "s/step", "1.35 images a second")
    assert len(speed["spark"]) == 8
    (alone,) = cells(seen, 0, is_over=False)
    assert "note" not in alone


def test_the_speed_is_marked_as_old_while_samples_are_made():
    seen = Summary()
    seen.take([Phase("training"), *(Progress(number, 100, 1.48) for number in range(1, 9)), Phase("sampling")])
    (speed,) = cells(seen, 2, is_over=False)
    assert speed["is_old"]
    assert speed["note"] == "before the samples, which are made now"
    assert speed["value"] == "1.48"
    assert "is_old" not in cells(seen, 2, is_over=True)[0]
    seen.take([Phase("training"), Progress(9, 100, 1.48)])
    assert "is_old" not in cells(seen, 2, is_over=False)[0]

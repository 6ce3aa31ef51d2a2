"""The four places without a page: what the bar says, uses before a model, results, history and the images that a page asks for."""

import json
import time
from datetime import datetime

import pytest
from PIL import Image

from tests.support.page import act, button, click, enter, go, hear, markup, on_page, prepare, unfold, wait_for
from trainer_core.jobs.folder import JobFolder
from trainer_core.jobs.job import Job
from trainer_core.jobs.state import FINAL_STATES
from trainer_ui import pasts
from trainer_ui.components.gallery import Gallery, Shown
from trainer_ui.components.images import encoded
from trainer_ui.panels.problems import LABELS


@pytest.fixture
def finished(open_app, home):
    """An app whose run has ended."""
    app = open_app(prepare(home, 20, steps_per_second=200))
    click(app.launch.start)
    wait_for(lambda: app.session.run is not None or app.session.message)
    wait_for(lambda: app.session.run.state in FINAL_STATES)
    wait_for(lambda: app.watch_bar.bar.content["pill"][0] == "Finished")
    return app


def images_of(app):
    """How many samples Results has in all."""
    return sum(image >= 0 for one in app.results.parts.samples.grid.content["columns"] for image in one["images"])


def rows(app):
    return [row for row in app.launch.problems.rows if on_page(row.widget)]


def test_the_bar_counts_the_questions_and_lists_nothing_before_it_was_asked(open_app, home):
    settings = prepare(home)
    app = open_app()
    assert "Four questions, then you can train" in app.launch.state.value
    assert "0/4" in app.launch.state.value
    assert rows(app) == []
    enter(app.model.path, settings["model.path"])
    assert "Three questions left" in app.launch.state.value
    assert "Still missing: images, a recipe and a name." in app.launch.state.value
    assert not [row for row in rows(app) if "easel-is-needed" in row.widget._dom_classes]
    click(app.launch.start)
    assert [row for row in rows(app) if "easel-is-needed" in row.widget._dom_classes], "Start was pressed"
    enter(app.dataset.path, settings["dataset.path"])
    assert "<b>Ready" in app.launch.state.value


def test_start_with_nothing_answered_only_points_at_the_questions(open_app):
    app = open_app()
    click(app.launch.start)
    assert "Four questions, then you can train" in app.launch.state.value
    assert "easel-begun" not in app.root._dom_classes
    assert {row.problem.path for row in rows(app)} <= {"model.path", "dataset.path", "output.name"}
    assert not [row for row in rows(app) if "easel-later" in row.widget._dom_classes]


def test_all_that_prevents_a_start_is_listed_once_and_counted(open_app, home):
    app = open_app(prepare(home) | {"network.rank": 5000, "schedule.steps": -5})
    click(app.launch.start)
    assert app.message.value.count("2 things stop it.") == 1
    listed = [row for row in rows(app) if "easel-later" not in row.widget._dom_classes]
    assert [row.problem.severity for row in listed] == ["error", "error"]


def test_a_setting_that_is_needed_is_not_ready_with_a_warning(open_app, home):
    settings = prepare(home)
    for caption in (home / "images").glob("*.txt"):
        caption.unlink()
    app = open_app(settings | {"dataset.trigger": ""})
    assert "One setting is needed" in app.launch.state.value
    assert "Still empty: Trigger word." in app.launch.state.value
    assert "easel-mark-needed" in app.dataset.step.head.value
    assert [row for row in rows(app) if "easel-is-needed" in row.widget._dom_classes]
    app.session.change({"dataset.trigger": "ohwx"})
    app.session.show()
    assert "<b>Ready" in app.launch.state.value


def test_what_blocks_is_the_first_problem_and_is_told_in_the_bar(open_app, home):
    app = open_app(prepare(home) | {"network.rank": 5000})
    assert "One thing to settle" in app.launch.state.value
    first = min(rows(app), key=lambda row: int(row.widget.layout.order))
    assert "easel-is-error" in first.widget._dom_classes
    click(first.button)
    assert "<b>Ready" in app.launch.state.value


def test_what_blocks_comes_before_what_is_empty_and_the_bar_counts_both(open_app, home):
    settings = prepare(home)
    for caption in (home / "images").glob("*.txt"):
        caption.unlink()
    app = open_app(settings | {"dataset.trigger": "", "network.rank": 5000})
    assert "One thing to settle" in app.launch.state.value
    assert "and one setting is still empty" in app.launch.state.value
    listed = sorted(rows(app), key=lambda row: int(row.widget.layout.order))
    kinds = [next(name for name in LABELS if f"easel-is-{name}" in row.widget._dom_classes) for row in listed]
    assert kinds[:2] == ["error", "needed"]
    assert listed[1].button.description == "Go to “Trigger word”"
    focused = []
    app.dataset.trigger.focus = lambda: focused.append("dataset.trigger")
    app.dataset.step.fold(True)
    click(listed[1].button)
    assert focused == ["dataset.trigger"]
    assert not app.dataset.step.is_folded


def test_a_use_that_is_chosen_before_the_model_takes_its_profile_later(open_app, home):
    settings = prepare(home)
    app = open_app()
    uses = app.recipe.profile.uses.widget
    hear(uses, {"kind": "choose", "id": "style"})
    assert "The profile “Style” is used once you choose a model." in app.recipe.profile.explanation.value
    enter(app.model.path, settings["model.path"])
    assert app.session.bench.state.profile.id == "sd15-style"
    hear(uses, {"kind": "choose", "id": "character"})
    assert app.session.bench.state.profile.id == "sd15-character"
    assert uses.chosen == "character"
    enter(app.recipe.profile.choice, "")
    assert app.session.bench.state.profile is None


def test_a_step_folds_to_a_line_and_is_made_when_it_is_opened(open_app, home):
    app = open_app(prepare(home))
    assert app.model.step.is_folded, "it was settled before"
    assert "Stable Diffusion 1.5" in app.model.step.button.description
    assert "sampling.every_steps" not in app.settings.controls
    unfold(app.samples.step)
    assert "sampling.every_steps" in app.settings.controls
    click(app.samples.step.button)
    assert app.samples.step.is_folded


def test_results_show_files_samples_and_the_way_back(finished):
    app = finished
    go(app, "results")
    assert "trial is finished" in markup(app.root)
    assert "trial.safetensors" in app.results.parts.ended.value
    assert images_of(app) == len(app.session.run.summary.samples) > 0
    assert not on_page(app.results.none)
    enter(app.recipe.profile.choice, "sd15-style")
    click(button(app.root, "Train again with changes"))
    assert app.places.chosen == "prepare"
    assert app.session.values["schedule.steps"] == 20
    assert app.session.bench.state.profile is None, "as the run had none"


def test_a_sample_outside_the_run_folder_is_not_shown(finished):
    app = finished
    event = {"kind": "sample", "path": "../../outside.png", "step": 1, "prompt": 0}
    with app.session.run.folder.events.open("a") as file:
        file.write(json.dumps(event) + "\n")
    before = len(app.session.run.summary.samples) - 1
    go(app, "results")
    assert images_of(app) == before


def test_results_without_a_run_have_one_button(open_app):
    app = open_app()
    go(app, "results")
    assert on_page(app.results.none)
    click(button(app.results.none, "Open the history"))
    assert app.places.chosen == "history"


def test_an_ended_run_is_closed_in_watch_and_found_by_the_filter_of_the_history(finished):
    app = finished
    act(app, "close")
    assert app.session.run is None
    assert app.watch_bar.bar.content["title"] == "Nothing is training"
    go(app, "history")
    assert app.places.counts == {"history": 1}
    wait_for(lambda: app.history.table.content["total"] == 1)
    enter(app.history.bar.find, "tri")
    assert app.history.table.content["total"] == 1
    enter(app.history.bar.find, "nothing")
    assert app.history.table.content["total"] == 0
    enter(app.history.bar.find, "")
    app.history.table._handle_custom_msg({"kind": "open", "run": app.history.table.content["rows"][0]["run"]}, [])
    click(app.history.card.buttons["watch"])
    assert app.places.chosen == "watch"


def test_the_bar_shows_how_long_a_run_has_taken(open_app, home):
    app = open_app(prepare(home, 5000, steps_per_second=20))
    click(app.launch.start)
    wait_for(lambda: app.session.run is not None)
    try:
        wait_for(lambda: app.watch_bar.bar.content.get("clock", {}).get("since"))
        assert abs(app.watch_bar.bar.content["clock"]["since"] - time.time()) < 100
        wait_for(lambda: app.places.live == "watch")
    finally:
        app.session.run.stop()


def test_images_are_sent_in_two_sizes_and_a_damaged_one_is_not(home):
    home.mkdir()
    Image.new("RGB", (3000, 1000), "red").save(home / "a.png")
    (home / "b.png").write_bytes(b"no image")
    gallery = Gallery("Images")
    sent = []
    gallery.send = lambda content, buffers=None: sent.append((content, buffers))
    gallery.show_images([Shown(home / "a.png", "a"), Shown(home / "b.png", "b")], more=3)
    assert gallery.content["more"] == 3
    version = gallery.content["version"]
    for index, size in ((0, "small"), (0, "full"), (1, "small"), (7, "small")):
        gallery._handle_custom_msg({"kind": "image", "index": index, "size": size, "version": version}, [])
    gallery._handle_custom_msg({"kind": "image", "index": 0, "size": "full", "version": 0}, [])
    wait_for(lambda: len(sent) >= 3)
    assert [(message["index"], message["type"]) for message, _ in sent] == [
        (0, "image/jpeg"),
        (0, "image/jpeg"),
        (1, ""),
    ]
    assert len(sent[0][1][0]) < len(sent[1][1][0])


def test_an_image_is_turned_upright(home):
    home.mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (400, 100)).save(home / "a.jpg", exif=exif)
    (home / "b.jpg").write_bytes(encoded(home / "a.jpg", 1600))
    assert Image.open(home / "b.jpg").size == (100, 400)


@pytest.mark.parametrize(
    ("name", "shown", "when"),
    [
        ("20261129-143205-elena", "elena", "today 14:32"),
        ("20261128-090500-elena-2", "elena-2", "yesterday 9:05"),
        ("20251122-000000-a", "a", "22 Nov 2025"),
        ("99999999-999999-a", "a", ""),
        ("mine", "mine", ""),
    ],
)
def test_a_run_is_called_by_its_name_and_its_time(tmp_path, name, shown, when):
    job = Job(JobFolder(tmp_path / name))
    assert pasts.name_of(job) == shown
    assert pasts.when(job, datetime(2026, 11, 29, 20)) == when  # noqa: DTZ001


def test_every_section_of_the_settings_has_a_title_and_a_step():
    from trainer_core.plan import fields
    from trainer_ui.answers import STEPS

    sections = {field.section for field in fields.all_fields().values()}
    assert sections == set(fields.SECTIONS) == {section for step in STEPS.values() for section in step}

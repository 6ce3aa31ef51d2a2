"""Results and the sample grid without a browser: what the page is told, and what it may ask."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.support import hub as hubs
from tests.support.page import button, click, enter, go, inside, markup, on_page, prepare, wait_for
from tests.support.sampled import add_events, add_samples, add_validation
from trainer_core import places
from trainer_core.jobs.state import FINAL_STATES, JobState
from trainer_core.models import tokens
from trainer_core.models.library.roots import apps
from trainer_core.training import choice
from trainer_core.training.run import Run, list_runs
from trainer_ui.components.sample_grid import SampleGrid
from trainer_ui.panels.sample_view import SampleView


@pytest.fixture
def person(tmp_path, monkeypatch):
    """A user's home folder without any programs of this machine."""
    monkeypatch.setenv("HOME", str(tmp_path / "person"))
    for table in apps().values():
        for name in table.get("environment", ()):
            monkeypatch.delenv(name, raising=False)
    (tmp_path / "person").mkdir()
    return tmp_path / "person"


def finished(home: Path, steps: int = 40, **settings: Any) -> Run:
    """A run of the rehearsal engine that has ended."""
    from trainer_core.prepare.workbench import Workbench

    bench = Workbench(engine="rehearsal")
    bench.set({**prepare(home, steps, steps_per_second=0), "output.save_every_steps": 10, **settings})
    run = bench.start()
    assert run.wait(120) in FINAL_STATES
    return run


@pytest.fixture
def shown(home, person, open_app):
    """An app that shows the results of a run with samples of two prompts and validation losses."""
    run = finished(home, **{"sampling.every_steps": 0})
    add_samples(run, (0, 10, 20, 40), prompts=2)
    add_validation(run, {10: 0.3, 20: 0.1, 30: 0.2})
    app = open_app()
    go(app, "results")
    return app, run


def content(app: Any) -> Any:
    return app.results.parts.grid.content


def told(grid: SampleGrid) -> Any:
    """What the page is told of a grid."""
    return grid.content


def column(app, key):
    return next(one for one in content(app)["columns"] if one["key"] == key)


def says(app, words):
    return words in markup(app.root)


def ask(grid, **message):
    """What the page sends."""
    grid._handle_custom_msg(message, [])


def test_checkpoints_stand_beside_the_samples_of_their_own_step(shown):
    app, _ = shown
    assert [one["title"] for one in content(app)["columns"]] == ["no LoRA", "10", "20", "30", "40"]
    assert [row["note"] for row in content(app)["rows"]] == ["seed 42", ""]
    assert column(app, 30)["images"] == [-1, -1]
    assert column(app, 30)["absent"] == "no sample at this step"
    assert (column(app, 20)["more"], column(app, 20)["tone"]) == ("lowest 0.1000", "ok")
    assert column(app, 10)["more"] == "validation 0.3000"
    assert says(app, "rises after step 20")
    # The first in the order of the grid is the final one, until the user says which is the best.
    assert app.results.parts.grid.chosen == 40


def test_the_star_marks_the_best_and_takes_the_mark_away(shown):
    app, run = shown
    grid = app.results.parts.grid
    ask(grid, kind="best", key=20)
    assert (column(app, 20)["star"], grid.chosen) == (True, 20)
    assert choice.read(run.folder).best == 20
    assert says(app, "step 20")
    ask(grid, kind="best", key=20)
    assert choice.read(run.folder).best is None


HARMFUL = (
    {}, {"kind": "best"}, {"kind": "best", "key": 7}, {"kind": "best", "key": "20"}, {"kind": "best", "key": True}, {"kind": "choose", "key": -1},
    {"kind": "images", "wanted": [99], "version": 1, "size": "small"}, {"kind": "images", "wanted": "x", "version": 1, "size": "small"},
    {"kind": "images", "wanted": [0], "version": 1, "size": "huge"}, {"kind": "images", "wanted": [0], "version": None, "size": "small"}, "text", None,
)  # fmt: skip


def test_nothing_that_a_page_may_say_does_harm(shown):
    app, run = shown
    before = content(app), app.results.parts.grid.chosen
    for message in HARMFUL:
        app.results.parts.grid._handle_custom_msg(message, [])
        assert (content(app), app.results.parts.grid.chosen) == before, message
        assert choice.read(run.folder).best is None


def test_the_bar_delivers_the_best_to_the_program_that_is_there(home, person, open_app):
    loras = person / "ComfyUI" / "models" / "loras"
    loras.mkdir(parents=True)
    run = finished(home)
    app = open_app()
    go(app, "results")
    ask(app.results.parts.grid, kind="best", key=20)
    click(button(app.root, "Copy best to ComfyUI"))
    wait_for(lambda: says(app, "Copied to ComfyUI"))
    assert [path.name for path in loras.iterdir()] == ["trial-step00000020.safetensors"]
    click(button(app.root, "Copy best to ComfyUI"))
    wait_for(lambda: says(app, "It is in ComfyUI already"))
    assert len(list(loras.iterdir())) == 1
    assert run.folder.delivered["output/trial-step00000020.safetensors"].endswith("trial-step00000020.safetensors")


def test_only_programs_that_are_there_are_offered_and_a_folder_of_ones_own(shown, person):
    app, _ = shown
    chosen = app.results.parts.chosen
    assert [place for place in chosen.places if place.target] == []
    click(chosen.other)
    enter(chosen.folder, "/etc")
    click(chosen.to_folder)
    assert says(app, "lies outside of the folders")
    (person / "loras").mkdir()
    enter(chosen.folder, "~/loras")
    click(chosen.to_folder)
    wait_for(lambda: says(app, "Copied to"))
    assert [path.name for path in (person / "loras").iterdir()] == ["trial.safetensors"]


def test_a_folder_that_does_not_exist_is_called_so(shown, tmp_path):
    app, _ = shown
    chosen = app.results.parts.chosen
    click(chosen.other)
    for path, is_missing in ((tmp_path / "nowhere", True), (tmp_path, False)):
        enter(chosen.folder, str(path))
        click(chosen.to_folder)
        assert says(app, "It does not exist") == is_missing


def test_a_button_that_copies_keeps_the_keyboard_while_it_copies(shown, person):
    app, _ = shown
    chosen = app.results.parts.chosen
    app.results.state.busy = "copying"
    app.results.state.version += 1
    app.views.show()
    assert not chosen.other.disabled
    enter(chosen.folder, "~")
    click(chosen.other)
    click(chosen.to_folder)
    assert says(app, "Wait until this is done: copying.")
    app.results.state.busy = ""


def test_a_folder_elsewhere_is_used_after_the_user_has_allowed_it(shown, tmp_path):
    app, _ = shown
    chosen = app.results.parts.chosen
    click(chosen.other)
    assert not on_page(chosen.allow)
    folder = tmp_path / "elsewhere" / "loras"
    folder.parent.mkdir()
    enter(chosen.folder, str(folder))
    click(chosen.to_folder)
    assert says(app, "lies outside of the folders")
    assert not folder.exists()
    click(chosen.allow)
    wait_for(lambda: says(app, "Copied to"))
    assert [path.name for path in folder.iterdir()] == ["trial.safetensors"]
    click(chosen.other)
    assert not on_page(chosen.allow), "it is asked once"


def test_a_copy_to_a_program_itself_lies_where_the_program_reads_it(shown, tmp_path):
    app, _ = shown
    chosen = app.results.parts.chosen
    (tmp_path / "ComfyUI" / "models" / "loras").mkdir(parents=True)
    click(chosen.other)
    enter(chosen.folder, str(tmp_path / "ComfyUI"))
    click(chosen.to_folder)
    click(chosen.allow)
    wait_for(lambda: says(app, "Copied to ComfyUI, which reads it there"))
    assert [path.name for path in (tmp_path / "ComfyUI").rglob("*.safetensors")] == ["trial.safetensors"]
    assert (tmp_path / "ComfyUI" / "models" / "loras" / "trial.safetensors").is_file()
    assert chosen.folder.value == str(tmp_path / "ComfyUI" / "models" / "loras")


def test_a_run_that_failed_before_its_first_checkpoint_offers_no_advice_for_another(home, person, open_app):
    app = open_app(prepare(home, 10, steps_per_second=0, ending="oom"))
    click(app.launch.start)
    wait_for(lambda: app.session.run is not None and app.session.run.state is JobState.FAILED)
    go(app, "results")
    wait_for(lambda: says(app, "ended before it saved a checkpoint"))
    assert not says(app, "Save every” before")
    assert not on_page(app.results.parts.in_file.go_on.button)


def test_a_new_name_is_used_for_copies_from_then_on(shown):
    app, run = shown
    chosen = app.results.parts.chosen
    click(chosen.rename)
    enter(chosen.name, "../elena")
    click(chosen.keep)
    assert says(app, "cannot be used for a file")
    enter(chosen.name, "elena v4")
    click(chosen.keep)
    assert choice.read(run.folder).name == "elena v4"
    assert says(app, "elena v4.safetensors")


def test_the_file_and_its_entries_are_shown(shown):
    app, _ = shown
    panel = app.results.parts.in_file
    assert re.search(r"LoRA, rank \d+, alpha \d+<", markup(app.root))
    assert "40 of 40 steps" in markup(app.root)
    click(panel.all)
    wait_for(lambda: "easel.plan_sha256" in panel.entries.value)
    click(panel.where)
    assert on_page(panel.folder)


def test_a_checkpoint_that_cannot_be_used_says_why_and_is_not_offered(home, person, open_app):
    finished(home, native={"rehearsal": {"ending": "nan", "at": 15, "steps_per_second": 0}})
    app = open_app()
    go(app, "results")
    bad = [one for one in content(app)["columns"] if one["more"] == "cannot be used"]
    assert bad
    ask(app.results.parts.grid, kind="choose", key=bad[0]["key"])
    chosen = app.results.parts.chosen
    assert says(app, "This checkpoint cannot be used.")
    assert chosen.other.disabled
    assert chosen.upload.disabled
    assert chosen.download.disabled


def test_what_continuing_would_do_is_said_before_it_starts(home, person, open_app):
    run = finished(home, **{"output.keep_states": 2, "schedule.scheduler": "constant"})
    app = open_app()
    go(app, "results")
    panel = app.results.parts.in_file.go_on
    click(panel.button)
    wait_for(lambda: "Extends" in panel.title.value)
    assert "steps 41 to 540" in panel.title.value
    assert "Continues: the weights" in panel.told.value
    enter(panel.added, 20)
    wait_for(lambda: "steps 41 to 60" in panel.title.value)
    click(panel.start)
    wait_for(lambda: app.session.run is not None and app.session.run.folder.path != run.folder.path)
    wait_for(lambda: app.places.chosen == "watch")
    app.session.run.wait(120)


def test_a_run_without_states_says_why_it_cannot_go_on(home, person, open_app):
    finished(home, **{"output.keep_states": 0})
    app = open_app()
    go(app, "results")
    panel = app.results.parts.in_file.go_on
    click(panel.button)
    wait_for(lambda: "It cannot go on from here" in panel.title.value)
    assert "no whole state" in panel.told.value
    assert not on_page(panel.start)


def test_another_run_can_be_chosen(home, person, open_app):
    first, second = finished(home), finished(home, **{"output.name": "later"})
    app = open_app()
    go(app, "results")
    assert app.results.run.folder.path == second.folder.path
    labels = [label for label, _ in app.results.parts.which.options]
    assert all(label.endswith("finished, 40 steps") for label in labels), labels
    enter(app.results.parts.which, str(first.folder.path))
    assert app.results.run.folder.path == first.folder.path
    assert says(app, "trial.safetensors")


def test_an_upload_goes_on_without_the_page_and_the_next_app_shows_it(shown, hub_for_uploads, open_app):
    app, _ = shown
    chosen, panel = app.results.parts.chosen, None
    ask(app.results.parts.grid, kind="choose", key=20)
    click(chosen.upload)
    panel = app.results.parts.publish
    wait_for(lambda: panel.card.value.startswith("---"))
    assert "instance_prompt: ohwx" in panel.card.value
    assert panel.send.description.endswith("private: only you can see it")
    enter(panel.repo, "my lora")
    click(panel.send)
    assert says(app, "does not say whose repository")
    enter(panel.repo, "mika/my-lora")
    enter(panel.card, panel.card.value + "\nMy words.\n")
    enter(panel.licence, "mit")
    assert "My words." in panel.card.value
    click(panel.send)
    wait_for(lambda: "needs a token" in markup(app.root))
    panel.token.value = hubs.WRITE
    click(panel.send)
    assert panel.token.value == ""
    wait_for(lambda: "Uploaded to mika/my-lora" in panel.says.value)
    assert hub_for_uploads.repositories["mika/my-lora"].private
    assert hub_for_uploads.repositories["mika/my-lora"].files["README.md"].endswith(b"My words.\n")
    assert hubs.WRITE not in markup(app.root) + str(panel.token.value)


@pytest.fixture
def hub_for_uploads(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    for name in tokens.SITES["huggingface"].names:
        monkeypatch.delenv(name, raising=False)
    with hubs.running() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        yield server
    tokens.forget("huggingface")


# The grid and the view


def test_the_samples_of_a_live_run_say_when_the_next_ones_come(home, person, open_app):
    app = open_app(prepare(home, 4000, steps_per_second=40) | {"sampling.every_steps": 100})
    click(app.launch.start)
    run = wait_for(lambda: app.session.run)
    try:
        view = app.watch_samples
        wait_for(lambda: told(view.grid)["columns"])
        assert told(view.grid)["next"][0].isdigit()
        assert "next samples" in told(view.grid)["next"][1]
        assert on_page(view.widget)
    finally:
        run.stop(grace_s=1)


def test_samples_of_a_run_folder_from_outside_stay_inside_of_it(home, person, open_app, tmp_path):
    run = finished(home, **{"sampling.every_steps": 0})
    add_events(run, [{"kind": "sample", "path": "../../../secret.png", "step": 5, "prompt": 0}])
    add_events(run, [{"kind": "sample", "path": "output/x.png", "step": 5, "prompt": 10**9}])
    app = open_app()
    app.session.watch(list_runs(places.runs())[0])
    view = SampleView(app.session)
    view.show()
    assert [one["images"] for one in told(view.grid)["columns"]] == [[0]]
    assert told(view.grid)["rows"][0]["text"] == f"Prompt {10**9 + 1}"


def test_results_make_nothing_in_a_thread(home, person, open_app):
    """A widget that a thread makes while a page opens would leave the page empty."""
    finished(home)
    app = open_app()
    app.places.chosen = "history"
    # Threads of the app, which read the history, show it as well.
    with app.session.lock:
        app.session.unasked = True
        app.places.set_trait("chosen", "results")
        app.session.unasked = False
        app.results.parts = None
        before = len(list(inside(app.root)))
        app.session.show_unasked()
        assert len(list(inside(app.root))) == before

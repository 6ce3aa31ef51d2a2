"""Several image folders in the trainer's dataset card: added, changed, counted, mended and removed without a text field of JSON."""

import json
from pathlib import Path

import pytest

from tests.support.page import click, draw_images, enter, hear, inside, on_page, prepare, wait_for
from trainer_core.curation import selections


@pytest.fixture
def app(open_app, home):
    found = open_app(prepare(home))
    wait_for(lambda: found.session.bench.state.facts.dataset is not None)
    return found


@pytest.fixture
def more(app):
    return app.dataset.more


def tell(more, kind, **told):
    hear(more.list, {"kind": kind, "version": more.list.state["version"], **told})


def subsets(app):
    return app.session.values["dataset.subsets"]


def add(more, path):
    tell(more, "open")
    tell(more, "add", path=str(path))


def rows(more):
    return more.list.state["rows"]


def test_one_folder_shows_nothing_but_the_button_to_add_another(app, more):
    assert rows(more) == []
    assert more.list.state["total"] == ""
    assert not more.list.adding["is_open"]
    assert not on_page(more.layout)
    # The text field with JSON is gone; the setting is still in the table of all settings.
    assert "dataset.subsets" not in app.settings.controls


def test_a_folder_is_added_with_the_repeats_of_its_name_and_counted_in_steps(app, more, home):
    add(more, draw_images(home / "10_red coat", ["", "a coat"]))
    assert subsets(app) == ({"path": str(home / "10_red coat"), "repeats": 10, "caption": "red coat"},)
    assert not more.list.adding["is_open"]
    first, second = rows(more)
    assert (first["index"], first["sum"]) == (None, "6 images")
    assert (second["index"], second["sum"]) == (0, "2 images, each 10 times: 20")
    assert "1 without a caption" in second["notes"]
    assert more.list.state["total"].startswith("One epoch uses 6 + 20 = 26 images.")
    app.session.handler(lambda _: app.session.change({"schedule.batch_size": 2}))()
    assert "13 steps" in more.list.state["total"]


def test_each_value_of_a_folder_reaches_the_plan_and_an_empty_one_is_that_of_the_dataset(app, more, home):
    add(more, draw_images(home / "coats", ["a coat"] * 2))
    typed = {
        "repeats": ("3", 3),
        "keep_tokens": ("2", 2),
        "resolution": ("768", 768),
        "caption": ("a red coat", "a red coat"),
        "caption_extension": (".caption", ".caption"),
        "tag_dropout": ("0.25", 0.25),
        "flip": ("on", True),
        "kind": ("regularisation", "regularisation"),
        "masks": (str(home / "masks"), str(home / "masks")),
        "selection": ("best", "best"),
    }
    for name, (text, value) in typed.items():
        tell(more, "set", index=0, name=name, value=text)
        assert subsets(app)[0][name] == value
        folder = app.session.bench.state.draft.sketch().dataset.subsets[0]
        assert getattr(folder, name) == value
    assert rows(more)[1]["own"]["tag_dropout"] == "0.25"
    for name in typed:
        tell(more, "set", index=0, name=name, value="")
    assert subsets(app) == ({"path": str(home / "coats")},)
    assert rows(more)[1]["usual"]["repeats"] == str(app.session.values["dataset.repeats"])


def test_a_value_that_cannot_be_used_says_why_and_changes_nothing(app, more, home):
    add(more, draw_images(home / "coats", ["a coat"]))
    before = subsets(app)
    for name, text in (
        ("repeats", "many"),
        ("repeats", "0"),
        ("flip", "perhaps"),
        ("caption_extension", "txt"),
        ("path", ""),
    ):
        tell(more, "set", index=0, name=name, value=text)
        assert more.list.told, name
        assert subsets(app) == before
    tell(more, "set", index=0, name="repeats", value="4")
    assert not more.list.told


def test_a_duplicate_has_its_own_values_and_a_removed_folder_can_be_put_back(app, more, home):
    add(more, draw_images(home / "a", ["a"]))
    add(more, draw_images(home / "b", ["b"]))
    tell(more, "copy", index=0)
    tell(more, "set", index=1, name="resolution", value="768")
    assert [Path(one["path"]).name for one in subsets(app)] == ["a", "a", "b"]
    before = subsets(app)
    tell(more, "remove", index=1)
    assert [Path(one["path"]).name for one in subsets(app)] == ["a", "b"]
    tell(more, "back")
    assert subsets(app) == before
    tell(more, "back")
    assert subsets(app) == before
    assert (home / "a").is_dir()


def test_a_folder_of_folders_with_repeats_in_their_names_is_offered_as_such(app, more, home):
    draw_images(home / "kohya" / "5_mika", ["mika"] * 2)
    draw_images(home / "kohya" / "2_coat", ["coat"] * 3)
    add(more, home / "kohya")
    assert subsets(app) == ()
    (each, words), _ = ((one["id"], one["words"]) for one in more.list.adding["offer"])
    assert "2 folders" in words
    tell(more, "add", path=str(home / "kohya"), offer=each)
    assert [(Path(one["path"]).name, one["repeats"]) for one in subsets(app)] == [("2_coat", 2), ("5_mika", 5)]
    assert more.list.state["total"].startswith("One epoch uses 6 + 6 + 10 = 22 images.")


def test_the_folders_inside_the_dataset_are_taken_by_one_button(app, more, home):
    draw_images(home / "kohya" / "5_mika", ["mika"] * 2)
    draw_images(home / "kohya" / "2_coat", ["coat"] * 3)
    app.session.handler(lambda _: app.session.change({"dataset.path": str(home / "kohya")}))()
    assert on_page(more.layout)
    assert more.layout.description.startswith("Train its 2 folders")
    click(more.layout)
    assert not on_page(more.layout)
    assert app.session.values["dataset.path"] == str(home / "kohya" / "2_coat")
    assert [row["title"] for row in rows(more)] == ["2_coat", "5_mika"]


def test_what_is_wrong_with_a_folder_is_said_in_its_row_with_its_fix(app, more, home):
    add(more, home / "nowhere")
    assert "does not exist" in more.list.told
    assert subsets(app) == ()
    add(more, draw_images(home / "gone", ["a"]))
    tell(more, "set", index=0, name="path", value=str(home / "nowhere"))
    row = rows(more)[1]
    assert (row["tone"], row["sum"]) == ("error", "cannot be read")
    (problem,) = row["problems"]
    assert "does not exist" in problem["message"]
    assert "Image folder 2" not in problem["message"]
    tell(more, "fix", index=0, problem=0)
    assert subsets(app) == ()
    add(more, draw_images(home / "coats", ["a coat"]))
    tell(more, "copy", index=0)
    assert any("same images" in one["message"] for one in rows(more)[2]["problems"])
    assert not any("same images" in one["message"] for one in rows(more)[1]["problems"])


def test_messages_about_another_list_or_without_sense_are_ignored(app, more, home):
    add(more, draw_images(home / "coats", ["a coat"]))
    old = more.list.state["version"]
    tell(more, "copy", index=0)
    before = subsets(app)
    for odd in (
        None,
        {},
        {"kind": "remove", "index": 0, "version": old},
        {"kind": "remove", "index": True, "version": more.list.state["version"]},
        {"kind": "remove", "index": 9, "version": more.list.state["version"]},
        {"kind": "set", "index": 0, "version": more.list.state["version"], "name": "__class__", "value": "x"},
        {"kind": "set", "index": 0, "version": more.list.state["version"], "name": "repeats", "value": [1]},
        {"kind": "set", "index": 0, "version": more.list.state["version"], "name": "path", "value": "x" * 5000},
        {"kind": "fix", "index": 0, "version": more.list.state["version"], "problem": 99},
        {"kind": "add", "path": 3},
        {"kind": "add", "path": "/x", "offer": "all"},
        {"kind": "browse", "index": -1, "name": "masks"},
    ):
        hear(more.list, odd)
    assert subsets(app) == before
    assert more.picked.children == ()


def test_the_file_picker_chooses_a_folder_for_a_row_and_gives_the_keyboard_back(app, more, home):
    add(more, draw_images(home / "coats", ["a coat"]))
    (home / "masks").mkdir()
    tell(more, "browse", index=0, name="masks")
    assert more.picked.children == (more.picker,)
    sent = []
    more.list.send = sent.append
    more.picker.chosen(home / "masks")
    assert subsets(app)[0]["masks"] == str(home / "masks")
    assert more.picked.children == ()
    assert sent == [{"kind": "focus", "index": 0, "name": "masks"}]


def test_a_name_from_outside_stays_text(app, more, home):
    evil = "<img src=x onerror=alert(1)>"
    add(more, draw_images(home / evil, ["a"]))
    assert evil in rows(more)[1]["title"]
    assert all(evil not in str(getattr(one, "value", "")) for one in inside(more.widget))


def test_only_what_the_engine_has_is_offered(open_app, home):
    app = open_app(prepare(home), engine="kohya")
    more = app.dataset.more
    wait_for(lambda: app.session.bench.state.facts.dataset is not None)
    add(more, draw_images(home / "coats", ["a coat"]))
    assert {"repeats", "masks", "kind", "resolution", "validation_share", "alpha_masks"} <= set(
        rows(more)[1]["offered"]
    )
    app.session.handler(lambda _: app.session.change({"model.path": "", "model.family": "sdxl"}))()
    app.session.handler(lambda _: app.session.bench.use_engine("simpletuner"))()
    assert "alpha_masks" not in rows(more)[1]["offered"]
    tell(more, "set", index=0, name="alpha_masks", value="on")
    assert "alpha_masks" in rows(more)[1]["own"], "a value that was set is never hidden"


# ---- selection, masks and held-out images of the first folder ----
def opened(app):
    choice = app.dataset.choice
    enter(choice.widget.children[0], True)
    return choice


def test_a_selection_of_the_dataset_is_chosen_from_a_list_with_its_numbers(app, home):
    root = Path(app.session.values["dataset.path"])
    selections.keep(root, "best", ["image0.png", "image1.png"])
    app.session.handler(lambda _: app.session.change({"dataset.path": str(root)}))()
    choice = opened(app)
    assert list(choice.selection.options) == [("All images", ""), ("best (2 images)", "best")]
    enter(choice.selection, "best")
    assert app.session.values["dataset.selection"] == "best"
    assert len(app.session.bench.state.facts.dataset.images) == 2
    assert "only best" in choice.widget.children[0].description
    (root / ".easel" / "selections.json").write_text(json.dumps({"selections": {}}))
    app.session.handler(lambda _: app.session.change({"dataset.path": str(root)}))()
    assert choice.selection.options[-1] == ("best (the dataset has none)", "best")


def test_held_out_images_say_what_they_cost_and_how_often_they_are_measured(open_app, home):
    app = open_app(prepare(home), engine="kohya")
    wait_for(lambda: app.session.bench.state.facts.dataset is not None)
    choice = opened(app)
    assert on_page(app.settings.controls["dataset.validation_share"].widget)
    enter(app.settings.controls["dataset.validation_share"].control, "0.34")
    text = choice.cost.value
    assert "2 images held out, 4 trained." in text
    assert "after each epoch (4 steps): 10 times in 40 steps" in text
    enter(app.settings.controls["dataset.validate_every"].control, 20)
    assert "every 20 steps: 2 times" in choice.cost.value
    assert "34% held out" in choice.widget.children[0].description
    enter(app.settings.controls["dataset.validation_share"].control, "34")
    assert "A share of 0.34 is 34 %." in choice.cost.value
    assert "34% held out" in choice.widget.children[0].description


def test_a_problem_of_the_selection_leads_to_its_dropdown(app):
    app._seek("dataset.selection")
    assert app.dataset.choice.selection is not None
    app._seek("dataset.masks")


def test_an_engine_that_measures_no_held_out_images_says_so_where_the_setting_would_be(open_app, home):
    app = open_app(prepare(home), engine="simpletuner")
    wait_for(lambda: app.session.bench.state.facts.dataset is not None)
    app.session.handler(lambda _: app.session.change({"model.path": "", "model.family": "sdxl"}))()
    choice = opened(app)
    assert not on_page(app.settings.controls["dataset.validation_share"].widget)
    assert "No image can be held out" in choice.cost.value
    assert "SimpleTuner measures held-out images only in a training that makes samples" in choice.cost.value

"""Prepare folds what is settled once the user goes on, and the bar fills the button that helps."""

import pytest

from tests.support.page import click, draw_images, enter, hear, inside, on_page, prepare
from trainer_core.problems import Problem


def field(app, path):
    return app.settings.controls[path].field


def test_the_model_folds_when_something_else_is_chosen_and_stays_open_when_it_is_opened_again(open_app, home):
    settings = prepare(home)
    app = open_app()
    enter(app.model.path, settings["model.path"])
    assert not app.model.step.is_folded, "the user is still in it"
    enter(app.dataset.path, settings["dataset.path"])
    assert app.model.step.is_folded
    click(app.model.step.button)
    enter(app.dataset.trigger, "elenavr")
    app.session.change({"network.rank": 8})
    app.session.show()
    assert not app.model.step.is_folded, "the user has opened it, and not changed it"
    enter(app.model.path, str(home / "models" / "other.safetensors"))
    enter(app.dataset.trigger, "ohwx")
    assert not app.model.step.is_folded, "there is no such file: that is not settled"


def test_a_settled_folder_is_named_and_its_images_stay(open_app, home):
    settings = prepare(home)
    app = open_app()
    enter(app.dataset.path, settings["dataset.path"])
    assert on_page(app.dataset.field)
    assert not on_page(app.dataset.settled)
    enter(app.model.path, settings["model.path"])
    assert not on_page(app.dataset.field)
    assert settings["dataset.path"] in app.dataset.folder.value
    assert on_page(app.dataset.images)
    click(app.dataset.change)
    assert on_page(app.dataset.field)
    other = draw_images(home / "others", ["one", "two"])
    enter(app.dataset.path, str(other))
    app.session.change({"output.name": "again"})
    app.session.show()
    assert not on_page(app.dataset.field)
    app.session.change({"dataset.path": str(home / "nowhere")})
    app.session.show()
    assert on_page(app.dataset.field), "a folder that cannot be read is no settled one"


def test_everything_that_was_answered_before_the_app_was_opened_is_folded(open_app, home):
    app = open_app(prepare(home))
    assert app.model.step.is_folded
    assert app.output.step.is_folded
    assert app.dataset.is_folded
    assert not app.recipe.step.is_folded


def test_a_folded_step_whose_answer_is_taken_back_is_a_question_again(open_app, home):
    app = open_app(prepare(home))
    app.settling.begin()
    assert app.model.step.is_folded
    app.session.change({"model.path": "", "dataset.path": ""})
    app.session.show()
    assert not app.model.step.is_folded
    assert not app.dataset.is_folded


def filled(app):
    return [one for one in inside(app.launch.widget) if getattr(one, "button_style", "") == "primary" and on_page(one)]


def test_what_blocks_fills_the_fix_and_start_is_quiet_and_says_so(open_app, home):
    app = open_app(prepare(home))
    assert filled(app) == [app.launch.start]
    assert app.launch.start.description == "Start training"
    app.session.change({"network.rank": 5000, "network.alpha": -1.0})
    app.session.show()
    (fix,) = filled(app)
    assert fix.description.startswith("Use ")
    assert app.launch.start.description == "Start training\n2 things stop it"
    assert "easel-held" in app.launch.start._dom_classes
    click(app.launch.start)
    assert "Not started. 2 things stop it." in app.message.value
    assert not app.launch.start.disabled, "it keeps the keyboard"
    click(fix)
    click(*filled(app))
    assert filled(app) == [app.launch.start]
    assert "easel-held" not in app.launch.start._dom_classes


def test_without_a_fix_no_button_is_filled_while_something_blocks(open_app, home, monkeypatch):
    app = open_app(prepare(home))
    blocks = Problem("network.rank", "error", "It does not work.")
    monkeypatch.setattr(type(app.session.bench), "problems", property(lambda _: (blocks,)))
    app.session.show()
    assert filled(app) == []
    assert app.launch.start.description == "Start training\none thing stops it"


def test_start_is_not_filled_as_long_as_a_question_is_open(open_app, home):
    app = open_app()
    assert filled(app) == []
    settings = prepare(home)
    app.session.change({name: settings[name] for name in ("model.path", "dataset.path")})
    app.session.show()
    assert filled(app) == ([app.launch.start] if app.session.values["output.name"] else [])


@pytest.fixture
def guide(open_app, home):
    return open_app(prepare(home)).guide


def shown(guide):
    """The content of the guide in the page."""
    assert guide.view is not None
    return guide.view.content


def test_the_guide_opens_at_its_beginning_and_the_question_mark_at_the_place(open_app, home):
    app = open_app(prepare(home))
    assert app.guide.view is None, "it is made when it is asked for"
    click(app.guide.button)
    content = shown(app.guide)
    assert (content["page"], content["section"], content["is_open"]) == ("lora-trainer", "", True)
    assert content["pages"][0] == ["lora-trainer", "The LoRA trainer"]
    for place in ("prepare", "watch", "results", "history"):
        app.places.set_state({"chosen": place})
        click(app.guide.help)
        content = shown(app.guide)
        assert (content["page"], content["section"]) == ("lora-trainer", place)
        assert place in {block["id"] for block in content["blocks"] if block["kind"] == "h"}
    click(app.guide.help)
    assert not shown(app.guide)["is_open"], "the same button closes it"


def test_the_guide_opens_only_pages_that_there_are(guide):
    click(guide.button)
    for page in ("../../README", "nothing", "/etc/passwd", ""):
        hear(guide.view, {"kind": "open", "page": page, "section": ""})
        assert shown(guide)["page"] == "lora-trainer"
    for message in ("open", {"kind": "open"}, {"kind": "open", "page": 7, "section": ""}, None):
        hear(guide.view, message)
    hear(guide.view, {"kind": "open", "page": "results", "section": "upload-to-hugging-face"})
    assert shown(guide)["page"] == "results"
    hear(guide.view, {"kind": "close"})
    assert not shown(guide)["is_open"]

"""Every setting has a control, which shows the source of its value and takes what the user enters."""

from html import escape

import pytest
from ipywidgets import Checkbox, Dropdown, IntText, Text

from tests.support.page import button, click, enter, inside, on_page, prepare, unfold
from trainer_core import catalog
from trainer_core.draft.layers import Source
from trainer_core.plan import fields
from trainer_ui import controls
from trainer_ui.explaining import ENDS
from trainer_ui.panels.settings import IN_FRONT, PROMPTS, has_panel


def open_all(app):
    unfold(app.model.step, app.output.step, app.samples.step, app.memory.step)
    for widget in inside(app.root):
        if "easel-fold" in getattr(widget, "_dom_classes", ()):
            enter(widget, True)
    return app.settings.controls


def test_every_setting_has_a_control_with_title_unit_and_doc(open_app):
    made = open_all(open_app())
    in_forms = {path for path, field in fields.all_fields().items() if not has_panel(field)}
    of_own_kind = {*PROMPTS, "dataset.selection", "dataset.subsets"}
    assert set(made) == in_forms - of_own_kind, "prompts, selections and image folders have controls of their own"
    assert set(IN_FRONT) <= set(fields.all_fields())
    for path, one in made.items():
        field = fields.all_fields()[path]
        assert field.title in one.control.description
        assert field.unit in one.control.description
        help_ = one.widget.children[1].value
        assert escape(field.doc) in help_, "behind the question mark"
        assert escape(ENDS.split(field.doc)[0].rstrip(".")) in help_.partition("easel-line")[2], "in a line"


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("network.rank", IntText),
        ("optimizer.learning_rate", Text),
        ("optimizer.name", Dropdown),
        ("dataset.flip", Checkbox),
        ("optimizer.beta1", Text),
        ("network.block_size", Text),
        ("optimizer.decouple", Dropdown),
        ("model.t5xxl", Text),
        ("sampling.negative_prompt", Text),
    ],
)
def test_the_control_follows_from_the_type(path, kind):
    assert isinstance(controls.control(fields.all_fields()[path]), kind)


@pytest.mark.parametrize(
    ("number", "text"), [(1e-4, "1e-4"), (0.00025, "2.5e-4"), (0.01, "0.01"), (7.0, "7"), (0.0, "0"), (1e-10, "1e-10")]
)
def test_numbers_are_shown_as_people_write_them(number, text):
    assert controls.plain_number(number) == text
    assert float(text) == number


@pytest.mark.parametrize("path", [path for path, field in fields.all_fields().items() if not has_panel(field)])
def test_a_default_survives_its_control(path):
    field = fields.all_fields()[path]
    assert controls.parsed(field, controls.shown(field, field.default)) == field.default


def test_a_value_shows_its_source_and_can_be_reset(open_app, home):
    app = open_app(prepare(home), profile="sd15-character")
    rank = app.settings.controls["network.rank"]
    assert rank.source.description == "profile"
    before = rank.control.value
    enter(rank.control, before + 3)
    assert rank.source.description == "yours"
    assert app.session.bench.state.draft.source_of("network.rank") is Source.USER
    click(rank.source)
    assert "This value comes from you." in rank.reason.text.value
    click(rank.reason.reset)
    assert (rank.control.value, rank.source.description) == (before, "profile")
    assert "the profile Character" in rank.reason.text.value
    assert not on_page(rank.reason.reset)
    click(rank.source)
    assert "easel-asked" not in rank.widget._dom_classes


def test_a_value_out_of_bounds_is_a_problem_and_not_silently_changed(open_app):
    app = open_app()
    rank = app.settings.controls["network.rank"]
    enter(rank.control, 5000)
    assert rank.control.value == 5000
    problem = next(problem for problem in app.session.problems if problem.path == "network.rank")
    assert problem.severity == "error"
    click(button(app.root, problem.fix.label))
    assert rank.control.value == fields.all_fields()["network.rank"].default


def test_text_that_is_not_a_number_stays_as_typed_and_is_a_problem(open_app):
    app = open_app()
    rate = app.settings.controls["optimizer.learning_rate"]
    enter(rate.control, "fast")
    assert rate.control.value == "fast"
    assert any(problem.path == "optimizer.learning_rate" for problem in app.session.problems)
    enter(rate.control, " 2e-4 ")
    assert app.session.values["optimizer.learning_rate"] == 2e-4
    assert not any(problem.path == "optimizer.learning_rate" for problem in app.session.problems)


def test_an_empty_setting_shows_its_default_and_can_be_emptied_again(open_app):
    app = open_app()
    made = open_all(app)
    beta, warmth = made["optimizer.beta2"], made["schedule.timescale"]
    assert (beta.control.value, beta.control.placeholder) == ("", "0.999")
    enter(made["optimizer.name"].control, "Lion")
    assert beta.control.placeholder == "0.99"
    enter(beta.control, "0.95")
    assert (app.session.values["optimizer.beta2"], beta.source.description) == (0.95, "yours")
    enter(beta.control, " ")
    assert (app.session.values["optimizer.beta2"], beta.control.value) == (None, "")
    click(beta.source)
    click(beta.reason.reset)
    assert beta.source.description == "default"
    assert warmth.control.placeholder == "default"
    enter(warmth.control, "many")
    assert any(problem.path == "schedule.timescale" for problem in app.session.problems)
    enter(warmth.control, "200")
    assert app.session.values["schedule.timescale"] == 200


def test_an_optional_switch_has_three_positions(open_app):
    app = open_app({"optimizer.name": "Prodigy"})
    switch = open_all(app)["optimizer.decouple"].control
    assert [title for title, _ in switch.options] == ["default (on)", "on", "off"]
    for entered, value in (("off", False), ("on", True), ("", None)):
        enter(switch, entered)
        assert app.session.values["optimizer.decouple"] is value
        assert switch.value == entered


def test_choices_from_the_catalogue_have_titles_and_descriptions(open_app):
    app = open_app(engine="")
    for path, entries in (
        ("optimizer.name", catalog.optimizers()),
        ("schedule.scheduler", catalog.schedulers()),
        ("network.algorithm", catalog.algorithms()),
    ):
        made = open_all(app)[path]
        assert made.control.options == tuple((entry.title, name) for name, entry in entries.items())
        assert len({title for title, _ in made.control.options}) == len(entries)
        name = list(entries)[-1]
        enter(made.control, name)
        assert app.session.values[path] == name
        assert made.note == entries[name].doc


def test_a_choice_that_the_engine_lacks_stays_and_is_marked(open_app, home):
    app = open_app({**prepare(home), "optimizer.name": "CAME"})
    optimizer = app.settings.controls["optimizer.name"]
    assert optimizer.control.value == "CAME"
    assert ("CAME (not supported by Rehearsal)", "CAME") in optimizer.control.options
    assert "does not support CAME" in optimizer.note
    assert "easel-danger" in optimizer.widget.children[-1]._dom_classes
    enter(optimizer.control, "AdamW")
    assert {name for _, name in optimizer.control.options} == {"AdamW", "AdamW8bit", "Adafactor", "Prodigy", "Lion"}


def test_only_settings_that_have_an_effect_are_on_the_page(open_app, home):
    app = open_app(prepare(home), engine="kohya")
    made = open_all(app)
    page = {path for path, one in made.items() if on_page(one.widget)}
    assert {"network.algorithm", "optimizer.beta1", "schedule.warmup_steps", "model.vae"} <= page
    assert not {"network.factor", "optimizer.d_coef", "schedule.power", "model.t5xxl", "embedding.vectors"} & page
    enter(made["network.algorithm"].control, "lokr")
    assert on_page(made["network.factor"].widget)


def test_a_setting_that_is_set_but_has_no_effect_is_shown_and_says_so(open_app, home):
    app = open_app({**prepare(home), "network.factor": 8}, engine="kohya")
    factor = open_all(app)["network.factor"]
    assert on_page(factor.widget)
    assert "no effect" in factor.note
    click(factor.source)
    click(factor.reason.reset)
    assert not on_page(factor.widget)
    assert factor.note == ""


def test_a_group_shows_how_many_settings_it_holds_and_is_hidden_when_empty(open_app, home):
    app = open_app(prepare(home), engine="kohya")
    optimizer, word = (app.settings.groups[section] for section in ("optimizer", "embedding"))
    assert not on_page(word)
    before = optimizer.children[0].description
    made = open_all(app)
    enter(made["optimizer.name"].control, "Prodigy")
    assert optimizer.children[0].description != before
    shown = [path for path, one in made.items() if path.startswith("optimizer.") and on_page(one.widget)]
    others = [path for path in shown if path not in IN_FRONT]
    assert optimizer.children[0].description == f"Optimizer: {len(others)} more"
    enter(made["optimizer.d_coef"].control, "2")
    assert optimizer.children[0].description.endswith(", 1 yours")


def test_an_engine_without_an_installation_has_no_untried_optimizers(open_app, home):
    app = open_app(prepare(home))
    optimizer = app.settings.controls["optimizer.name"]
    enter(optimizer.control, "Prodigy")
    assert optimizer.note == catalog.optimizers()["Prodigy"].doc

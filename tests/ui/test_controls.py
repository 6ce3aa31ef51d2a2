"""Every setting has a control, which shows where its value comes from and takes what the user enters."""

import pytest
from ipywidgets import Checkbox, Dropdown, IntText, Text

from tests.ui.page import button, click, enter, inside
from trainer_core.plan import fields
from trainer_core.plan.draft import Source
from trainer_ui import controls
from trainer_ui.panels.settings import ELSEWHERE, IN_FRONT


def open_all(app):
    for widget in inside(app.settings.widget):
        if "easel-fold" in getattr(widget, "_dom_classes", ()):
            enter(widget, True)
    return app.settings.controls


def test_every_setting_has_a_control_with_title_unit_and_doc(open_app):
    made = open_all(open_app())
    assert set(made) | ELSEWHERE == set(fields.all_fields())
    assert set(IN_FRONT) <= set(fields.all_fields())
    for path, one in made.items():
        field = fields.all_fields()[path]
        assert field.title in one.control.description
        assert field.unit in one.control.description
        said = one.control.tooltip if one.control.has_trait("tooltip") else one.control.description_tooltip
        assert field.doc in said


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("network.rank", IntText),
        ("optimizer.learning_rate", Text),
        ("optimizer.name", Dropdown),
        ("dataset.flip", Checkbox),
        ("sampling.prompt", Text),
    ],
)
def test_the_control_follows_from_the_type(path, kind):
    assert isinstance(controls.control(fields.all_fields()[path]), kind)


@pytest.mark.parametrize(
    ("number", "text"), [(1e-4, "1e-4"), (0.00025, "2.5e-4"), (0.01, "0.01"), (7.0, "7"), (0.0, "0"), (1e-10, "1e-10")]
)
def test_numbers_read_as_people_write_them(number, text):
    assert controls.plain_number(number) == text
    assert float(text) == number


@pytest.mark.parametrize("path", [path for path, field in fields.all_fields().items() if path not in ELSEWHERE])
def test_a_default_survives_its_control(path):
    field = fields.all_fields()[path]
    assert controls.meant(field, controls.shown(field, field.default)) == field.default


def test_a_value_knows_its_source_and_finds_its_way_back(open_app, home):
    from tests.ui.page import prepare

    app = open_app(prepare(home), profile="sd15-character")
    rank = app.settings.controls["network.rank"]
    assert rank.source.value == "profile"
    before = rank.control.value
    enter(rank.control, before + 3)
    assert rank.source.value == "yours"
    assert app.session.bench.draft.source_of("network.rank") is Source.USER
    click(rank.reset)
    assert (rank.control.value, rank.source.value) == (before, "profile")


def test_a_value_out_of_bounds_is_not_changed_in_silence(open_app):
    app = open_app()
    rank = app.settings.controls["network.rank"]
    enter(rank.control, 5000)
    assert rank.control.value == 5000
    problem = next(problem for problem in app.session.problems if problem.path == "network.rank")
    assert problem.severity == "error"
    click(button(app.launch.widget, problem.fix.label))
    assert rank.control.value == fields.all_fields()["network.rank"].default


def test_a_number_that_is_none_stays_as_typed_and_is_a_problem(open_app):
    app = open_app()
    rate = app.settings.controls["optimizer.learning_rate"]
    enter(rate.control, "fast")
    assert rate.control.value == "fast"
    assert any(problem.path == "optimizer.learning_rate" for problem in app.session.problems)
    enter(rate.control, " 2e-4 ")
    assert app.session.values["optimizer.learning_rate"] == 2e-4
    assert not any(problem.path == "optimizer.learning_rate" for problem in app.session.problems)

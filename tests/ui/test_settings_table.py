"""All settings, and files and command, in the notebook: made when they are opened, changed as by any control."""

from __future__ import annotations

import json

import pytest

from tests.support.page import click, enter, prepare, wait_for
from trainer_core.prepare import own_settings

FAMILY = {"model.family": "sdxl"}


def opened(app):
    """The table after a click on its button, and what it sent."""
    sent: list = []
    click(app.all_settings.button)
    table = app.all_settings.table
    table.send = lambda content, *_: sent.append(content)
    say(table, kind="hello")
    return table, sent


def say(widget, **message):
    """What the page sends."""
    widget._handle_custom_msg(message, [])


def last(sent, path):
    """What the page knows of a row."""
    return [row for each in sent if "rows" in each for row in each["rows"] if row["path"] == path][-1]


def test_the_button_counts_the_settings_and_nothing_is_made_before_it_is_pressed(open_app):
    app = open_app(engine="kohya")
    assert app.all_settings.button.description == f"All {own_settings.count(app.session.bench.state)} settings"
    before = app.all_settings.button.description
    app.session.handler(lambda _: app.session.change(FAMILY))(None)
    assert app.all_settings.button.description != before
    assert app.all_settings.table is None
    assert app.files.view is None
    assert app.all_settings.widget.children == ()


def test_a_page_gets_all_rows_at_first_and_then_only_those_that_changed(open_app):
    app = open_app(FAMILY, engine="kohya")
    table, sent = opened(app)
    assert len(sent[-1]["rows"]) == own_settings.count(app.session.bench.state)
    wait_for(lambda: last(sent, "native.kohya.ip_noise_gamma").get("help"))
    sent.clear()
    say(table, kind="set", path="network.rank", value="24")
    changed = {row["path"] for each in sent if each["kind"] == "changed" for row in each["rows"]}
    assert "network.rank" in changed
    assert "native.kohya.network_dim" in changed
    assert len(changed) < 40
    assert app.session.values["network.rank"] == 24
    assert last(sent, "network.rank")["source"] == "yours"
    assert sent[-1] == {"kind": "done"}


def test_a_wrong_value_stays_and_its_row_says_what_is_wrong(open_app):
    app = open_app(FAMILY, engine="kohya")
    table, sent = opened(app)
    say(table, kind="set", path="optimizer.learning_rate", value="0,5")
    row = last(sent, "optimizer.learning_rate")
    assert row["shown"] == "0,5"
    assert row["severity"] == "error"
    assert row["problem"]
    say(table, kind="set", path="native.kohya.multires_noise_iterations", value="many")
    row = last(sent, "native.kohya.multires_noise_iterations")
    assert (row["shown"], row["severity"]) == ("many", "error")
    say(table, kind="reset", path="optimizer.learning_rate")
    assert "problem" not in last(sent, "optimizer.learning_rate")


def test_a_native_option_is_set_and_reset_and_the_controls_of_the_page_follow(open_app):
    app = open_app(FAMILY, engine="kohya")
    table, sent = opened(app)
    say(table, kind="set", path="native.kohya.ip_noise_gamma", value="0.1")
    assert app.session.values["native"] == {"kohya": {"ip_noise_gamma": 0.1}}
    say(table, kind="set", path="schedule.batch_size", value="3")
    assert app.settings.controls["schedule.batch_size"].control.value == 3
    say(table, kind="reset", path="native.kohya.ip_noise_gamma")
    assert not last(sent, "native.kohya.ip_noise_gamma").get("is_mine")
    assert "native" not in app.session.values


@pytest.mark.parametrize(
    "message",
    [
        {"kind": "set", "path": "native.kohya.output_dir", "value": "/tmp"},
        {"kind": "set", "path": "native.kohya.config_file", "value": "x"},
        {"kind": "set", "path": "no.such", "value": "x"},
        {"kind": "set", "path": "network.rank", "value": {"a": 1}},
        {"kind": "set", "path": ["network.rank"], "value": "2"},
        {"kind": "set"},
        {"kind": "reset", "path": "network.rank"},
        {"kind": 7},
        "set",
        None,
    ],
)
def test_what_a_page_may_not_ask_for_changes_nothing(open_app, message):
    app = open_app(FAMILY, engine="kohya")
    table, _ = opened(app)
    before = dict(app.session.values)
    table._handle_custom_msg(message, [])
    assert app.session.values == before


def test_a_closed_table_is_not_filled_and_opens_again_with_the_present_values(open_app):
    app = open_app(FAMILY, engine="kohya")
    table, sent = opened(app)
    say(table, kind="close")
    assert "easel-away" in app.all_settings.widget._dom_classes
    sent.clear()
    app.session.handler(lambda _: app.session.change({"network.rank": 48}))(None)
    assert sent == []
    click(app.all_settings.button)
    assert last(sent, "network.rank")["shown"] == "48"


def test_text_from_outside_reaches_the_table_as_text(open_app):
    app = open_app({**FAMILY, "dataset.trigger": "<img src=x>\u202e"}, engine="kohya")
    _, sent = opened(app)
    assert last(sent, "dataset.trigger")["shown"] == "<img src=x>\\u202e"


def test_files_and_command_are_those_of_the_plan_and_follow_it(open_app, home):
    app = open_app(prepare(home))
    click(app.files.button)
    content = app.files.view.content
    assert content["missing"] == []
    assert [file["name"] for file in content["files"]] == ["engine/score.json", "engine/requests.json"]
    assert content["commands"][0]["text"].splitlines()[0].endswith("\\") or content["commands"][0]["text"]
    app.session.handler(lambda _: app.session.change({"schedule.steps": 4321}))(None)
    text = json.dumps(app.files.view.content["files"])
    assert "4321" in text
    app.session.handler(lambda _: app.session.change({"dataset.path": ""}))(None)
    assert app.files.view.content["missing"]


def test_files_are_compared_with_the_last_run_of_this_subject_until_the_user_chooses(open_app, home):
    app = open_app(prepare(home))
    app.session.start()
    wait_for(lambda: app.session.run is not None)
    app.session.handler(lambda _: app.session.change({"schedule.steps": 99}))(None)
    click(app.files.button)
    view = app.files.view
    run = app.session.run.name
    assert view.content["against"] == run
    signs = {line[0] for file in view.content["files"] for line in file["lines"]}
    assert {"+", "-"} <= signs
    say(view, kind="against", run="../elsewhere")
    assert view.content["against"] == run
    say(view, kind="against", run="")
    assert view.content["against"] == ""
    assert {line[0] for file in view.content["files"] for line in file["lines"]} == {" "}
    app.session.run.stop(grace_s=1)


def test_another_engine_says_what_does_not_carry_over_and_goes_back(open_app):
    app = open_app({**FAMILY, "native": {"kohya": {"ip_noise_gamma": 0.1}}}, engine="kohya")
    engine = app.model.engine
    click_fold(engine.widget)
    enter(engine.choice, "simpletuner")
    assert "ip_noise_gamma 0.1 (an option of kohya)" in app.session.message
    assert engine.back.description == "Back to kohya sd-scripts"
    click(engine.back)
    assert app.session.backend.manifest.id == "kohya"
    assert app.session.values["native"] == {"kohya": {"ip_noise_gamma": 0.1}}
    assert "easel-away" in engine.back._dom_classes


def click_fold(group):
    group.children[0].set_state({"value": True})


def test_a_method_of_the_other_notebook_is_refused_and_named(open_app):
    app = open_app(FAMILY, engine="kohya")
    table, sent = opened(app)
    say(table, kind="set", path="model.method", value="dreambooth")
    assert app.session.values["model.method"] == "lora"
    assert "Use Finetuning_Trainer.ipynb" in app.session.message
    assert sent[-1] == {"kind": "done"}


def test_a_job_with_a_list_of_prompts_has_all_its_settings(open_app):
    app = open_app(FAMILY | {"sampling.prompts": [{"text": "a dog"}], "sampling.every_steps": 10}, engine="kohya")
    _, sent = opened(app)
    assert len(sent[-1]["rows"]) == own_settings.count(app.session.bench.state)
    assert "replaces it" in last(sent, "sampling.prompt")["why_not"]

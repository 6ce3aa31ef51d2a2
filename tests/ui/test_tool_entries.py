"""The entries of the notebooks of tools: wrong ones stop the start, what has changed on the disk is seen, and all come back."""

import json
from pathlib import Path

import pytest

from tests.support import small_models, tool_files
from tests.support.page import click, enter, go, markup, on_page, wait_for
from trainer_core import places
from trainer_core.jobs.job import list_jobs
from trainer_core.prepare import kept_values
from trainer_core.tools import making
from trainer_core.training.actions import stop_of
from trainer_ui.apps.checkpoint_merger import CheckpointMerger
from trainer_ui.apps.lora_utilities import LoraUtilities
from trainer_ui.apps.model_converter import ModelConverter
from trainer_ui.panels.tools.figures import NotThisError, figure
from trainer_ui.panels.tools.kept import BACK, FRESH
from trainer_ui.panels.tools.past import _item
from trainer_ui.tool_fields import Number


@pytest.fixture
def app(opening):
    return opening(CheckpointMerger)


@pytest.fixture
def models(tmp_path):
    one = small_models.arrays("sd15", 1)
    return [
        str(small_models.write(tmp_path / f"{name}.safetensors", arrays))
        for name, arrays in (("one", one), ("two", small_models.near(one, 2)))
    ]


def control(app, name, utility="merge"):
    return next(one for one in app.forms[utility].controls if one.field.name == name)


def said(app, utility="merge"):
    return markup(app.bars[utility].widget)


def ready(app, utility="merge"):
    wait_for(lambda: not app.session.desks[utility].is_looking)
    return not app.bars[utility].start.disabled


def fill(app, models):
    enter(control(app, "a").text, models[0])
    enter(control(app, "b").text, models[1])
    wait_for(lambda: app.session.desks["merge"].outlook and not app.session.desks["merge"].is_looking)
    wait_for(lambda: ready(app))


@pytest.mark.parametrize("wrong", ["abc", "1.5", "-1", "nan", "inf", ""])
def test_a_wrong_number_stops_the_start_and_is_named_in_the_bar(app, models, wrong):
    fill(app, models)
    weight = control(app, "weighted_sum.weight")
    enter(weight.text, wrong)
    assert app.bars["merge"].start.disabled
    assert "This cannot start yet" in said(app)
    assert f"“{weight.field.title}”" in said(app)
    app.session.start("merge")
    assert "This cannot start yet" in app.session.message
    assert not app.session.jobs.starting
    assert not list(list_jobs(places.jobs()))
    enter(weight.text, "0,25")
    wait_for(lambda: ready(app))
    assert app.session.desks["merge"].values["weighted_sum.weight"] == 0.25


def test_a_wrong_number_of_a_method_that_is_not_chosen_does_not_matter(app, models):
    fill(app, models)
    enter(control(app, "weighted_sum.weight").text, "abc")
    enter(control(app, "method").list, "slerp")
    wait_for(lambda: ready(app))
    enter(control(app, "method").list, "weighted_sum")
    assert app.bars["merge"].start.disabled


def test_a_wrong_strength_in_a_row_stops_the_start_until_it_is_corrected_or_its_row_removed(app):
    go(app, "bake")
    rows = control(app, "networks", "bake")
    click(rows.add)
    enter(rows.rows[1].numbers["strength"], "much")
    assert "“Strength of LoRA 2”: “much” is not a number." in said(app, "bake")
    assert "is not a number" in rows.rows[1].said.value
    enter(rows.rows[1].path, "/nowhere/b.safetensors")
    assert rows.rows[1].numbers["strength"].value == "much", "what is wrong stays where it can be corrected"
    click(rows.rows[1].remove)
    assert "is not a number" not in said(app, "bake")


def test_numbers_are_checked_against_the_bounds_of_their_fields():
    field = Number(name="n", title="N", low=1, whole=True)
    assert figure("3", field) == 3
    for text, words in (
        ("0", "at least 1"),
        ("1.5", "not a whole number"),
        ("", "Enter a number"),
        ("1e999", "can be used"),
    ):
        with pytest.raises(NotThisError, match=words):
            figure(text, field)


def test_the_bar_says_the_folder_and_that_two_models_are_the_same_file(app, models):
    fill(app, [models[0], models[0]])
    assert "A and B are the same file." in said(app)
    assert "Ready, but look first" in said(app)
    assert str(places.models()) in said(app)


def test_a_model_that_is_gone_is_seen_after_the_refused_start(app, models):
    fill(app, models)
    Path(models[0]).unlink()
    app.session.start("merge")
    wait_for(lambda: "This cannot start yet" in said(app))
    assert app.session.message
    assert "is a checkpoint" not in control(app, "a").said.value
    assert app.bars["merge"].start.disabled


def test_a_cut_file_and_half_a_layer_are_seen_before_looking_inside(opening, tmp_path):
    app = opening(LoraUtilities)
    path = tool_files.loras(tmp_path / "loras")["elena"]
    content = path.read_bytes()
    file = control(app, "file", "inspect")
    enter(file.text, str(path))
    wait_for(lambda: ready(app, "inspect"))
    assert "Nothing is written." in said(app, "inspect")
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(content[:-10])
    enter(file.text, str(cut))
    wait_for(lambda: "This cannot start yet" in said(app, "inspect"))
    assert app.bars["inspect"].start.disabled
    half = tmp_path / "half.safetensors"
    at = content.index(b"lora_up.weight")
    half.write_bytes(content[:at] + b"lora_XX.weight" + content[at + 14 :])
    enter(file.text, str(half))
    wait_for(lambda: "no part of a known layer" in said(app, "inspect"))
    assert "Ready, but look first" in said(app, "inspect")


def test_a_file_that_is_no_model_is_not_ready_for_the_check(opening, tmp_path):
    app = opening(ModelConverter)
    go(app, "check")
    (tmp_path / "passwd").write_text("root:x:0:0\n")
    enter(control(app, "file", "check").text, str(tmp_path / "passwd"))
    wait_for(lambda: "This cannot start yet" in said(app, "check"))
    assert "root:x" not in markup(app.root)
    assert app.bars["check"].start.disabled


def test_sentences_name_places_in_place_of_commands(app):
    worded = app.session.utilities["merge"].worded
    assert worded("Convert it first: easel convert.") == "Convert it first: Convert in Model_Converter."
    assert "“Bake LoRAs” in Checkpoint_Merger puts" in worded("`easel lora bake` puts it into a checkpoint")
    assert "easel" not in worded("or easel convert --check, lists")


def test_entries_come_back_and_can_be_put_away(opening, models):
    first = opening(CheckpointMerger)
    fill(first, models)
    enter(control(first, "weighted_sum.weight").text, "0.3")
    enter(control(first, "method").list, "slerp")
    go(first, "bake")
    rows = control(first, "networks", "bake")
    enter(rows.rows[0].path, "/nowhere/a.safetensors")
    click(rows.add)
    enter(rows.rows[1].numbers["strength"], "0.5")
    first.close()

    again = opening(CheckpointMerger)
    assert control(again, "a").text.value == models[0]
    assert control(again, "method").list.value == "slerp"
    assert control(again, "weighted_sum.weight").text.value == "0.3"
    assert [row.numbers["strength"].value for row in control(again, "networks", "bake").rows] == ["1", "0.5"]
    line = again.kept.lines["merge"]
    assert "are here again" in line.says.value
    assert on_page(line.widget)
    wait_for(lambda: ready(again))
    assert line.button.description == FRESH
    click(line.button)
    assert control(again, "a").text.value == ""
    assert control(again, "method").list.value == "weighted_sum"
    assert line.button.description == BACK
    click(line.button)
    assert control(again, "a").text.value == models[0]


def test_an_empty_form_says_nothing_and_keeps_no_file(opening):
    first = opening(CheckpointMerger)
    first.close()
    assert not kept_values.kept_in(CheckpointMerger.id).exists()
    assert not on_page(opening(CheckpointMerger).kept.lines["merge"].widget)


def test_kept_entries_that_a_field_does_not_accept_are_left_out(opening):
    path = kept_values.kept_in(CheckpointMerger.id)
    path.parent.mkdir(parents=True)
    merge = {"a": "/nowhere/a", "b": 5, "method": "gone", "seed": 1.5, "weighted_sum.weight": 7, "unknown": 1}
    bake = {"networks": [{"path": "/nowhere/l", "strength": "x", "text": 1}], "skip": "yes"}
    table = {"version": 1, "saved": "2026-01-01T00:00:00+00:00", "tools": {"merge": merge, "bake": bake}}
    path.write_text(json.dumps(table))
    app = opening(CheckpointMerger)
    values = app.session.desks["merge"].values
    assert (values["a"], values["b"], values["method"]) == ("/nowhere/a", "", "weighted_sum")
    assert (values["seed"], values["weighted_sum.weight"]) == (0, 0.5)
    assert app.kept.lines["bake"].entered() == {}


@pytest.mark.parametrize("text", ["{", "[]", '{"version": 9}', '{"version": 1, "saved": "x", "tools": {"merge": 1}}'])
def test_a_damaged_file_of_entries_is_kept_aside_and_said(opening, text):
    path = kept_values.kept_in(CheckpointMerger.id)
    path.parent.mkdir(parents=True)
    path.write_text(text)
    app = opening(CheckpointMerger)
    assert "damaged" in app.session.message
    assert path.with_name(f"{path.name}.damaged").read_text() == text


def test_an_entry_that_looks_like_a_token_is_not_kept(tmp_path):
    path = tmp_path / "kept.json"
    kept_values.keep(path, {"merge": {"a": "x", "target": "hf_" + "a" * 30}})
    assert "hf_" not in path.read_text()
    kept_values.keep(path, {"merge": {}})
    assert not path.exists()


def test_a_job_that_has_made_nothing_is_called_after_the_planned_file(app, models, tmp_path):
    fill(app, models)
    enter(control(app, "target").text, str(tmp_path / "planned"))
    wait_for(lambda: app.session.desks["merge"].outlook.target.name == "planned.safetensors")
    wait_for(lambda: ready(app))
    app.session.start("merge")
    wait_for(lambda: app.session.jobs.job)
    job = app.session.jobs.job
    assert making.planned_name(job.folder) == "planned.safetensors"
    assert _item(job).title == "planned.safetensors"
    assert "incomplete file is removed" in stop_of(job, job.state).sentence
    wait_for(lambda: not app.session.jobs.is_live)
    go(app, "merge")
    wait_for(lambda: "already exists" in said(app))

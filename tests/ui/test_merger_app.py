"""The merger without a browser: what it says before it starts, why it cannot, the job, and what it has made."""

import threading
from pathlib import Path

import pytest

from tests.support import small_models
from tests.support.page import click, enter, go, inside, markup, on_page, wait_for
from trainer_core.jobs.state import JobState
from trainer_ui.apps.checkpoint_merger import CheckpointMerger


@pytest.fixture
def app(opening):
    return opening(CheckpointMerger)


@pytest.fixture
def models(tmp_path):
    one = small_models.arrays("sd15", 1)
    return [
        str(small_models.write(tmp_path / f"{name}.safetensors", arrays))
        for name, arrays in (("one", one), ("two", small_models.near(one, 2)), ("xl", small_models.arrays("sdxl", 3)))
    ]


def control(app, name, utility="merge"):
    return next(one for one in app.forms[utility].controls if one.field.name == name)


def bar(app):
    return markup(app.root)


def looked(app, utility="merge"):
    desk = app.session.desks[utility]
    wait_for(lambda: not desk.is_looking and (desk.outlook or desk.error))
    return desk


def test_nothing_is_reproached_before_something_is_chosen(app):
    assert "Choose the files below." in bar(app)
    assert app.session.desks["merge"].outlook is None
    assert not app.session.desks["merge"].asked


def test_two_models_are_described_merged_and_found_again(app, models, tmp_path):
    enter(control(app, "a").text, models[0])
    enter(control(app, "b").text, models[1])
    enter(control(app, "target").text, str(tmp_path / "made.safetensors"))
    desk = looked(app)
    wait_for(lambda: app.session.desks["merge"].outlook)
    assert "one.safetensors is a checkpoint: Stable Diffusion 1.5" in markup(app.root)
    assert desk.outlook.target.name == "made.safetensors"
    assert "Makes made.safetensors" in bar(app)
    start = next(
        one for one in inside(app.root) if getattr(one, "description", "") == "Merge" and hasattr(one, "button_style")
    )
    click(start)
    wait_for(lambda: app.session.jobs.state is JobState.COMPLETED)
    wait_for(lambda: app.places.chosen == "watch")
    wait_for(lambda: str(tmp_path / "made.safetensors") in [getattr(one, "text", "") for one in inside(app.root)])
    assert Path(tmp_path / "made.safetensors").is_file()
    go(app, "jobs")
    (item,) = next(one for one in inside(app.root) if getattr(one, "title", "") == "Jobs of these tools").items
    assert item["title"] == "made.safetensors"
    assert item["aside"] == "Finished"


def test_models_of_two_families_are_refused_with_the_reason(app, models):
    enter(control(app, "a").text, models[0])
    enter(control(app, "b").text, models[2])
    wait_for(lambda: app.session.desks["merge"].error is not None and not app.session.desks["merge"].is_looking)
    wait_for(lambda: app.session.desks["merge"].error.message in bar(app))
    assert app.session.desks["merge"].outlook is None


def test_fields_follow_the_method_and_a_wrong_number_is_said(app):
    enter(control(app, "method").list, "add_difference")
    assert on_page(control(app, "c").widget)
    assert on_page(control(app, "add_difference.weight").widget)
    assert not on_page(control(app, "weighted_sum.weight").widget)
    weight = control(app, "add_difference.weight")
    enter(weight.text, "much")
    assert "is not a number" in weight.said.value
    enter(weight.text, "9")
    assert "choose a number from -2 to 2" in weight.said.value
    enter(weight.text, "0,5")
    assert app.session.desks["merge"].values["add_difference.weight"] == 0.5
    assert not on_page(weight.said) or "choose" not in weight.said.value


def test_what_a_thread_shows_does_not_put_back_what_the_user_has_just_changed(app):
    chosen, target = control(app, "dtype").list, control(app, "target").text
    with app.session.lock:
        typing = threading.Thread(target=lambda: [enter(chosen, "bf16"), enter(target, "new")])
        typing.start()
        # The page has sent it, and its handler waits for the lock.
        wait_for(lambda: chosen.value == "bf16")
        app.session.show_unasked()
        assert chosen.value == "bf16", "the next key of a user who goes through the list would start from the old value"
    typing.join()
    assert app.session.desks["merge"].values["dtype"] == "bf16"
    assert chosen.value == "bf16"
    assert app.session.desks["merge"].values["target"] == "new"


def test_rows_of_loras_are_added_and_removed(app):
    go(app, "bake")
    rows = control(app, "networks", "bake")
    assert len(rows.rows) == 1
    assert not on_page(rows.rows[0].remove)
    click(rows.add)
    enter(rows.rows[1].path, "/nowhere/b.safetensors")
    enter(rows.rows[1].numbers["strength"], "0.5")
    assert rows.value[1] == {"path": "/nowhere/b.safetensors", "strength": 0.5, "text": 1.0}
    click(rows.rows[0].remove)
    assert [row["path"] for row in rows.value] == ["/nowhere/b.safetensors"]
    assert rows.rows[0].path.value == "/nowhere/b.safetensors"

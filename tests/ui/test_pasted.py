"""A pasted command in the recipe: nothing is applied before the list was seen, and it can be undone."""

from __future__ import annotations

from tests.support.page import click, enter, on_page

COMMAND = "sdxl_train_network.py --network_module=networks.lora --network_dim=24 --network_args conv_dim=8 verbose=True loraplus_lr_ratio=4 --learning_rate=2e-4 --nonsense=<b>1</b>"


def opened(app):
    """The box, after its fold was opened."""
    head = app.recipe.profile.pasting.children[0]
    head.value = True
    return app.recipe.profile.paste


def test_a_pasted_command_is_listed_first_then_taken_over_and_undone(open_app):
    app = open_app({"model.family": "sdxl", "network.rank": 77}, engine="simpletuner")
    assert app.recipe.profile.paste is None
    box = opened(app)
    enter(box.text, COMMAND)
    click(box.look)
    assert on_page(box.decide)
    assert app.session.values["network.rank"] == 77
    assert "5 of 7 options are taken over" in box.told.value
    assert "Cannot be used (2)" in box.list.value
    assert "<b>1" not in box.list.value
    assert "Convolution rank: 8" in box.list.value
    click(box.accept)
    assert app.session.values["network.rank"] == 24
    assert app.session.values["native"] == {"kohya": {"network_args": ["loraplus_lr_ratio=4"]}}
    assert app.session.backend.manifest.id == "kohya"
    assert not on_page(box.decide)
    assert on_page(box.again)
    click(box.undo)
    assert app.session.values["network.rank"] == 77
    assert "native" not in app.session.values
    assert app.session.backend.manifest.id == "simpletuner"
    assert not on_page(box.again)


def test_a_text_that_is_no_command_is_said_and_changes_nothing(open_app):
    app = open_app({"model.family": "sdxl"}, engine="kohya")
    box = opened(app)
    before = dict(app.session.values)
    enter(box.text, "hello")
    click(box.look)
    assert "no command with options" in app.session.message
    assert not on_page(box.decide)
    assert app.session.values == before

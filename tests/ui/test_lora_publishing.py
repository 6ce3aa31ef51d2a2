"""What a LoRA says of itself, in the LoRA app without a browser: its metadata before and after an edit, and its upload with a card."""

from __future__ import annotations

import json

import pytest

from tests.support import hub as hubs
from tests.support import small_loras, small_models
from tests.support.page import click, enter, go, inside, markup, on_page, wait_for
from tests.support.tool_forms import control, fill, finish, made
from trainer_core.models import header, tokens
from trainer_ui.apps.lora_utilities import LoraUtilities

EVIL = '<img src=x onerror="alert(1)">'


@pytest.fixture
def app(opening):
    return opening(LoraUtilities)


@pytest.fixture
def lora(tmp_path):
    shapes = small_loras.layers("unet-sd15-diffusers", every=20, divisor=1)
    told = {
        "modelspec.title": "Ink",
        "modelspec.trigger_phrase": "inkvr",
        "ss_tag_frequency": json.dumps({"1_ink": {"inkvr": 9, "woman": 8}}),
        EVIL: EVIL * 40,
    }
    return small_loras.write(tmp_path / "ink.safetensors", small_loras.lora(shapes), told)


def view(app):
    return app.metadata_view


def shown(app, file, **values):
    """The lists of the place, once they show this file."""
    fill(app, "metadata", file=str(file), **values)
    desk = app.session.desks["metadata"]
    wait_for(lambda: desk.read is not None and not desk.is_looking)
    app.views.show()
    return view(app)


def test_the_metadata_is_shown_as_text_before_anything_is_edited(app, lora):
    lists = shown(app, lora)
    assert "4 keys" in lists.counted.value
    for told in ("modelspec.title", "Ink", "ss_tag_frequency"):
        assert told in lists.all.value
    assert "<img" not in markup(app.root)
    assert "&lt;img src=x" in lists.all.value
    assert EVIL.replace("<", "&lt;") * 10 not in lists.all.value, "a long value is shortened"
    assert on_page(lists.nothing)
    assert lists.changes.value == ""
    assert "Now: Ink" in control(app, "metadata", "modelspec.title").now.value


def test_each_change_is_shown_with_the_old_and_the_new_value(app, lora):
    lists = shown(app, lora, **{"modelspec.title": "Ink v2", "modelspec.author": "Jane", "scrub": True})
    wait_for(lambda: "Jane" in lists.changes.value or app.views.show())
    told = lists.changes.value
    for key, before, after in (("modelspec.title", "Ink", "Ink v2"), ("modelspec.author", "", "Jane")):
        row = told.partition(f"<b>{key}</b>")[2].partition("</li>")[0]
        assert f"<span>{after}</span>" in row
        assert (f"<small>now</small><span>{before}</span>" in row) == bool(before)
    assert "removed: the words of your captions" in told
    assert "modelspec.trigger_phrase" not in told, "what stays is no change"
    assert "3 keys" in lists.changing.value


def test_an_edit_in_the_file_is_taken_back_from_the_notebook(app, lora):
    before = lora.read_bytes()
    shown(app, lora, what="undo")
    wait_for(lambda: app.session.desks["metadata"].error)
    assert "No edit in place" in app.session.desks["metadata"].error.message
    lists = shown(app, lora, what="edit", in_place=True, **{"modelspec.title": "Other"})
    finish(app, "metadata")
    assert made(app) == lora
    assert header.read(lora).metadata["modelspec.title"] == "Other"
    go(app, "metadata")
    wait_for(lambda: "Other" in lists.all.value or app.views.show())
    lists = shown(app, lora, what="undo")
    assert not on_page(control(app, "metadata", "modelspec.title").widget)
    wait_for(lambda: "<small>then</small><span>Ink</span>" in lists.changes.value or app.views.show())
    finish(app, "metadata")
    assert lora.read_bytes() == before


# The upload


@pytest.fixture
def hub(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    for name in tokens.SITES["huggingface"].names:
        monkeypatch.delenv(name, raising=False)
    with hubs.running() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        yield server
    tokens.forget("huggingface")


def opened(app, file):
    """The panel of the upload, once the file was read."""
    fill(app, "publish", file=str(file))
    panel = wait_for(lambda: app.publishing.panel)
    wait_for(lambda: not panel.is_reading and (panel.failed or panel.card.value))
    app.views.show()
    return panel


def test_a_lora_is_uploaded_with_the_card_that_was_edited(app, lora, hub):
    panel = opened(app, lora)
    assert "instance_prompt: inkvr" in panel.card.value
    assert panel.send.description.endswith("private: only you can see it")
    assert "ss_tag_frequency" in panel.lost.value
    assert "the words of your captions" in panel.lost.value
    assert "removed from the copy" in panel.losing.value
    enter(panel.scrub, False)
    assert "goes along" in panel.losing.value
    enter(panel.scrub, True)
    assert not on_page(panel.samples)
    assert panel.cancel not in set(inside(app.root))
    enter(panel.licence, "mit")
    assert "license: mit" in panel.card.value
    enter(panel.card, panel.card.value + "\nMy words.\n")
    enter(panel.repo, "mika/ink")
    click(panel.send)
    wait_for(lambda: "needs a token" in markup(app.root))
    panel.token.value = hubs.WRITE
    click(panel.send)
    assert panel.token.value == ""
    wait_for(lambda: "Uploaded to mika/ink" in panel.says.value)
    assert app.places.chosen == "publish"
    uploaded = hub.repositories["mika/ink"]
    assert uploaded.private
    assert uploaded.files["README.md"].endswith(b"My words.\n")
    assert b"ss_tag_frequency" not in uploaded.files["ink.safetensors"]
    assert hubs.WRITE not in markup(app.root)
    assert "<img" not in markup(app.root)


def test_another_file_gets_a_card_of_its_own_and_what_is_no_lora_gets_none(app, lora, tmp_path):
    panel = opened(app, lora)
    assert on_page(panel.form)
    other = small_models.write(tmp_path / "model.safetensors", small_models.arrays("sd15", 1))
    opened(app, other)
    assert "contains no network" in markup(app.root)
    assert not on_page(panel.form)
    opened(app, lora)
    assert on_page(panel.form)
    assert "inkvr" in panel.card.value


def test_what_another_tool_made_goes_on_to_the_upload(app, lora, tmp_path):
    fill(app, "resize", file=str(lora), rank="2", target=str(tmp_path / "small.safetensors"))
    finish(app, "resize")
    click(app.made.next["publish"])
    panel = wait_for(lambda: app.publishing.panel)
    wait_for(lambda: "of rank 2" in panel.card.value)
    assert app.places.chosen == "publish"

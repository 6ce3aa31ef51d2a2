"""Text from outside is shown as text, and errors as sentences."""

from dataclasses import replace

import pytest

from trainer_core.detection import Detection
from trainer_core.errors import ProfileError
from trainer_ui import boundary
from trainer_ui.panels.model import reasons, sentence
from trainer_ui.words import Labelled, Words

EVIL = "<img src=x onerror=\"window.__pwned='words'\">"


@pytest.mark.parametrize("widget", [Words(EVIL), Labelled("Note", EVIL), Words(EVIL, role="status")])
def test_text_stays_text(widget):
    assert "<img" not in widget.value
    assert "&lt;img" in widget.value


def test_words_show_what_they_are_told_and_take_no_room_without_any():
    words = Words("one")
    words.say("a & b\nc", "danger")
    assert "a &amp; b\nc" in words.value
    assert "easel-danger" in words._dom_classes
    words.say("", "")
    assert "easel-away" in words._dom_classes
    assert "easel-danger" not in words._dom_classes


def test_control_characters_and_reversed_text_are_shown_as_escapes():
    assert "\\u202e" in Words("name\u202egnp.exe").value


def test_an_error_of_easel_is_its_sentence(home):
    said = []
    assert not boundary.attempt(lambda: _fail(ProfileError("There is no such profile.", "Known: a.")), said.append)
    assert said == ["There is no such profile. Known: a."]
    assert not boundary.log_file().exists()


def test_an_unexpected_error_is_a_sentence_and_leaves_its_traceback_in_a_file(home):
    said = []
    assert not boundary.attempt(lambda: _fail(KeyError("oops")), said.append)
    assert "KeyError" in said[0]
    assert str(boundary.log_file()) in said[0]
    assert "Traceback" in boundary.log_file().read_text()


def _fail(error):
    raise error


def test_a_model_is_told_as_the_file_or_the_folder_that_it_is():
    found = Detection("sdxl", "checkpoint", evidence=("a single file", "input_blocks.0.0.weight is 320x4x3x3"))
    assert sentence(replace(found, format="diffusers"), "m").startswith("m is a diffusers folder: ")
    assert sentence(found, "m.safetensors").startswith("m.safetensors is a checkpoint: ")
    assert "made for Stable Diffusion XL" in sentence(Detection(None, "lora", base_family="sdxl"), "x")
    assert "is not recognised: it is an upscaler" in sentence(
        Detection(None, "unknown", evidence=("it is an upscaler",)), "x"
    )
    assert reasons(found) == ["A single file.", "input_blocks.0.0.weight is 320x4x3x3."]

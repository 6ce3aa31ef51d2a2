"""Text from outside is shown as text, and errors as sentences."""

from dataclasses import replace

import pytest

from trainer_core.errors import ProfileError
from trainer_core.models.detection import Detection
from trainer_ui import boundary
from trainer_ui.formatting import Labelled, Paragraph
from trainer_ui.panels.model import reasons, sentence

EVIL = "<img src=x onerror=\"window.__pwned='text'\">"


@pytest.mark.parametrize("widget", [Paragraph(EVIL), Labelled("Note", EVIL), Paragraph(EVIL, role="status")])
def test_text_stays_text(widget):
    assert "<img" not in widget.value
    assert "&lt;img" in widget.value


def test_a_paragraph_shows_its_text_and_takes_no_room_when_empty():
    paragraph = Paragraph("one")
    paragraph.show_text("a & b\nc", "danger")
    assert "a &amp; b\nc" in paragraph.value
    assert "easel-danger" in paragraph._dom_classes
    paragraph.show_text("", "")
    assert "easel-away" in paragraph._dom_classes
    assert "easel-danger" not in paragraph._dom_classes


def test_control_characters_and_reversed_text_are_shown_as_escapes():
    assert "\\u202e" in Paragraph("name\u202egnp.exe").value


def test_an_error_of_easel_is_shown_as_its_message(home):
    said = []
    assert not boundary.attempt(lambda: _fail(ProfileError("There is no such profile.", "Known: a.")), said.append)
    assert said == ["There is no such profile. Known: a."]
    assert not boundary.log_file().exists()


def test_an_unexpected_error_is_a_sentence_with_its_traceback_in_a_file(home):
    said = []
    assert not boundary.attempt(lambda: _fail(KeyError("oops")), said.append)
    assert "KeyError" in said[0]
    assert str(boundary.log_file()) in said[0]
    assert "Traceback" in boundary.log_file().read_text()


def _fail(error):
    raise error


def test_a_model_is_described_as_a_file_or_a_folder():
    found = Detection("sdxl", "checkpoint", evidence=("a single file", "input_blocks.0.0.weight is 320x4x3x3"))
    assert sentence(replace(found, format="diffusers"), "m").startswith("m is a diffusers folder: ")
    assert sentence(found, "m.safetensors").startswith("m.safetensors is a checkpoint: ")
    assert "made for Stable Diffusion XL" in sentence(Detection(None, "lora", base_family="sdxl"), "x")
    assert "is not recognised: it is an upscaler" in sentence(
        Detection(None, "unknown", evidence=("it is an upscaler",)), "x"
    )
    assert reasons(found) == ["A single file.", "input_blocks.0.0.weight is 320x4x3x3."]

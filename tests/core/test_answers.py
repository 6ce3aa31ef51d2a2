"""The questions to captioners and what is wrong with their answers, as texts: no server is needed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.chat_server import FINE, TEXTS
from trainer_core.captioning import answers, templates


def test_a_line_of_a_question_without_its_words_is_left_out():
    row = templates.get("style")
    with_tags = templates.question(row, {"tags": "1girl, bridge", "trigger": "style_16", "name": "a"})
    without = templates.question(row, {"trigger": "style_16", "name": "a"})
    assert "1girl, bridge" in with_tags
    assert "tags" not in without.lower()
    # An outside text is put in as it is, not read again.
    assert "{trigger}" in templates.question(row, {"tags": "{trigger}", "trigger": "x"})


@pytest.mark.parametrize(
    ("template", "caption", "wanted"),
    [
        ("style", "A lake at dawn.", "A lake at dawn, style_16"),
        ("style", "A lake at dawn, style_16", "A lake at dawn, style_16"),
        ("character", "A woman on a bridge.", "style_16, A woman on a bridge."),
        ("character", "style_16 stands on a bridge.", "style_16 stands on a bridge."),
        ("scene", "A lake.", "A lake."),
    ],
)
def test_the_trigger_word_is_at_its_place_once(template, caption, wanted):
    assert templates.with_trigger(templates.get(template), caption, "style_16") == wanted


GOOD = (
    FINE,
    "1girl, solo, red coat, bridge, dawn",
    "A man who cannot find his keys looks at the viewer.",
    "elena, sitting on a sofa, soft light",
    "Two dogs run over a meadow.",
    "elena in a café, drinking an espresso",
    "1girl, <o>_<o>, >_<, <3, ratio < 2 > 1, <lora:x:1>",
    "a sign that says 'I can't help it' over a door, with the city in the background",
)


@pytest.mark.parametrize("text", GOOD)
def test_a_good_caption_has_no_mark(text):
    caption = answers.judged(text)
    assert (caption.text, caption.marks) == (text, ())


def test_every_mark_has_a_row():
    found = {mark for text, reason in TEXTS.values() for mark in answers.judged(text, reason, forbids_style=True).marks}
    assert found <= set(answers.marks())
    assert set(answers.marks()) <= found


@pytest.mark.parametrize(
    ("said", "text"),
    [
        ("\x1b[1;31mA lake\x1b[0m at dawn", "A lake at dawn"),
        ("\x1b]0;title\x07A lake\x08 at\x0bdawn", "A lake at dawn"),
        ('{"caption": "A lake\\u001b[2J at \\u0000dawn"}', "A lake at dawn"),
        ("A \u202elake\u2028at dawn", "A lake at dawn"),
    ],
)
def test_control_characters_and_escapes_are_removed_and_said(said, text):
    caption = answers.judged(said)
    assert caption.text == text
    assert "control" in caption.marks
    assert not answers.is_refused(caption)


@pytest.mark.parametrize(
    "part", ["<script>x()</script>", "<b>", "<br/>", "<img src=x onerror=y", "<!-- x -->", "</DIV>"]
)
def test_an_answer_with_html_is_not_written(part):
    caption = answers.judged(f"A lake {part} at dawn")
    assert caption.marks == ("markup",)
    assert answers.is_refused(caption)
    assert not answers.is_refused(caption, ["markup"])


@given(st.text(max_size=400), st.sampled_from(["stop", "length", "content_filter", ""]))
def test_whatever_a_model_says_becomes_one_line_or_is_not_written(said, reason):
    caption = answers.judged(said, reason, forbids_style=True)
    assert len(caption.text.splitlines()) <= 1
    assert set(caption.marks) <= set(answers.marks())
    assert caption.text.strip() or answers.is_refused(caption)


@pytest.mark.parametrize(
    "said", ["<think>" * 5000, "{" * 5000, "[" * 5000, "```" * 5000, "I'm " * 5000, "a, " * 20000, '"' * 9999]
)
def test_a_hostile_answer_is_read_quickly(said):
    assert answers.is_refused(answers.judged(said, "stop"))

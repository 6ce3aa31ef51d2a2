"""Outside text is shown as text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer_core.text import plain_number, printable, without_escapes


@given(st.text(st.characters()))
def test_what_is_shown_can_be_encoded_and_cannot_steer_a_terminal(text):
    shown = printable(text)
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    shown.encode("utf-8")


def test_escape_sequences_and_surrogates_are_spelled_out():
    assert printable("a\x1b[31mb") == "a\\u001b[31mb"
    assert printable("\udcff") == "\\udcff"


def test_long_text_is_cut_with_a_mark():
    assert printable("x" * 50, limit=10) == "x" * 10 + "…"


def test_colours_cursor_moves_and_links_of_a_program_are_taken_out():
    link = "\x1b]8;id=7;file:///x/train_util.py\x1b\\train_util.py\x1b]8;;\x1b\\"
    assert (
        without_escapes(f"\x1b[1;34mINFO\x1b[0m \x1b[Acaching {link}\x1b]0;title\x07.") == "INFO caching train_util.py."
    )


@pytest.mark.parametrize(
    ("number", "shown"), [(1600.4, "1,600"), (99.6, "99.6"), (0.00001, "0.00001"), (2.0, "2"), (0, "0"), (1e999, "inf")]
)
def test_a_number_is_shown_without_an_exponent(number, shown):
    assert plain_number(number) == shown

"""A failure in a sentence, from outside text of any kind and length."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer_core import diagnosis
from trainer_core.diagnosis import Diagnosis

TABLE = (
    {"id": "soft", "severity": "warning", "pattern": "No module", "cause": "Soft.", "advice": "-"},
    {
        "id": "pkg",
        "severity": "fatal",
        "pattern": "No module named 'lycoris",
        "cause": "Lacks it.",
        "advice": "Get it.",
    },
    {"id": "any", "severity": "fatal", "pattern": "No module named", "cause": "Lacks something.", "advice": "Get it."},
    {
        "id": "two",
        "severity": "fatal",
        "pattern": r"tokenization_\w+\.py[\s\S]{0,400}NoneType",
        "cause": "Two.",
        "advice": "-",
    },
)
LAUNCHER = [
    "Traceback (most recent call last):",
    '  File "launch.py", line 795, in simple_launcher',
    "subprocess.CalledProcessError: Command '['python', 'No module named']' returned non-zero exit status 1.",
]


def explain(lines: list[str], code: int | None) -> Diagnosis:
    found = diagnosis.explain(lines, TABLE, code)
    assert found is not None
    return found


def test_the_first_row_that_fits_the_last_telling_line_explains():
    lines = [
        "No module named 'first'",
        "Traceback (most recent call last):",
        "\x1b[31mNo module named 'lycoris.kohya'\x1b[0m",
    ]
    found = explain([*lines, *LAUNCHER], 1)
    assert (found.id, found.line) == ("pkg", "No module named 'lycoris.kohya'")


def test_a_pattern_over_lines_is_held_against_the_last_traceback():
    lines = ["Traceback (most recent call last):", '  File "tokenization_clip.py"', "TypeError: not NoneType"]
    found = explain([*lines, *LAUNCHER], 1)
    assert (found.id, found.line) == ("two", "TypeError: not NoneType")


def test_an_unknown_failure_shows_its_exception_and_no_stack():
    lines = ["Traceback (most recent call last):", '  File "x.py", line 3', "some.where.OddError: because", "", "  bye"]
    found = explain([*lines, *LAUNCHER], 1)
    assert found.id == "unknown"
    assert found.line == "some.where.OddError: because"
    assert "exit code 1" in found.cause


@pytest.mark.parametrize(
    ("code", "name"), [(-9, "out-of-memory"), (137, "out-of-memory"), (-11, "crash"), (143, "ended-from-outside")]
)
def test_a_signal_is_explained_unless_the_log_says_more(code, name):
    assert explain(["all is well"], code).id == name
    assert explain(["No module named 'x'"], code).id == "any"


def test_nothing_is_made_up_for_a_good_end():
    assert diagnosis.explain(["epoch 1/1", "No module but fine"], TABLE, 0) is None
    assert explain([], None).id == "unknown"


@given(st.lists(st.text(max_size=300), max_size=30), st.sampled_from([None, 0, 1, -9, 3000]))
def test_no_log_is_too_odd(lines, code):
    found = diagnosis.explain(lines, TABLE, code)
    assert found is None or ("\n" not in found.line and len(found.line) <= 520)


def test_a_huge_line_costs_no_time():
    began = time.process_time()
    explain(["[" * 5_000_000, "A" * 5_000_000, "a." * 2_000_000], 1)
    assert time.process_time() - began < 2

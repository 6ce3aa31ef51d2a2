"""The rule by which Easel prefers an engine: what counts before what, and the sentence that says why."""

from dataclasses import replace

import pytest

from trainer_core.engines.preference import FILES, MEMORY, Standing, place, preferred, reason

ONE = Standing("one", "One", 10, files="at hand", memory="fits", installed=True)
TWO = replace(ONE, id="two", title="Two", rank=20)
WORSE = (
    {"trains": False},
    {"blocks": "It stops."},
    {"blocks": "It stops.", "is_mendable": True},
    {"files": "missing"},
    {"memory": "does not fit"},
    {"installed": False},
    {"rank": 30},
)
"""Changes to an engine, the worst first: each outweighs all that follow."""


@pytest.mark.parametrize("number", range(len(WORSE)))
def test_each_thing_counts_more_than_all_that_follow(number):
    later = {}
    for change in reversed(WORSE[number + 1 :]):
        later |= change
    if "blocks" in later and WORSE[number].get("blocks"):
        later = {key: value for key, value in later.items() if key not in ("blocks", "is_mendable")}
    one, two = replace(ONE, **WORSE[number]), replace(TWO, **later)
    assert place(two) < place(one)


@pytest.mark.parametrize(("name", "ratings"), [("files", FILES), ("memory", MEMORY)])
def test_ratings_are_in_order_from_the_best(name, ratings):
    places = [place(replace(ONE, **{name: rating})) for rating in ratings]
    assert places == sorted(places)


def test_with_all_else_equal_the_rank_decides_and_then_the_id():
    assert preferred([TWO, ONE]) is ONE
    assert preferred([replace(TWO, rank=10), ONE]) is ONE
    assert preferred([replace(ONE, trains=False)]) is None
    assert preferred([]) is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"blocks": "It stops."}, "Two would not start with this plan (It stops)"),
        ({"files": "missing"}, "its files are at hand, those of Two are missing"),
        ({"files": "unknown"}, "those of Two are not known"),
        ({"memory": "does not fit"}, "with it the plan fits into memory, with Two it does not fit into memory"),
        ({"installed": False}, "it is installed, and Two is not"),
        ({}, "nothing sets Two apart, and Easel prefers One"),
    ],
)
def test_the_sentence_says_in_what_the_other_is_worse(change, said):
    found = reason([replace(TWO, **change), ONE], "flux")
    assert found.startswith("Easel proposes One: ")
    assert said in found


def test_the_sentence_of_one_engine_of_none_and_of_those_that_would_not_start():
    assert reason([ONE, replace(TWO, trains=False)], "flux") == "One is the only engine that trains flux."
    assert reason([replace(ONE, trains=False)], "flux") == "No engine trains flux."
    stops = replace(ONE, blocks="The file is not read.")
    assert reason([stops], "flux").endswith("but not this plan as it is: The file is not read.")
    assert reason([replace(TWO, blocks="So do I."), stops], "flux").startswith("No engine would start with this plan.")


def test_the_sentence_says_what_is_wrong_with_the_proposed_one_too():
    short = replace(ONE, memory="does not fit", files="missing", installed=False)
    found = reason([short, replace(short, id="two", title="Two", rank=20)], "flux")
    assert found.startswith("Easel proposes One: nothing sets Two apart")
    assert found.endswith("with One. Files for One are missing. One is not installed yet.")

"""Thresholds act on kept probabilities at once, and what a machine says never replaces what a person wrote, unless told."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer_core.captioning import applying, overview, taggers, thresholds
from trainer_core.captioning.storage import Probability
from trainer_core.captioning.thresholds import Thresholds
from trainer_core.curation import authors, captions
from trainer_core.curation.journal import Change, Journal
from trainer_core.errors import DatasetError

FOUND = (
    Probability("1girl", "general", 0.99),
    Probability("long_hair", "general", 0.6),
    Probability("^_^", "general", 0.5),
    Probability("emma_(novel)", "character", 0.9),
    Probability("highres", "meta", 0.8),
    Probability("blurry", "general", 0.36),
    Probability("hat", "general", 0.2),
    Probability("safe", "rating", 0.7),
    Probability("explicit", "rating", 0.3),
)
USUAL = {"general": 0.35, "character": 0.85}


def caption(**more) -> str:
    return thresholds.caption_at(FOUND, Thresholds(**{"least": USUAL, **more}))


@pytest.mark.parametrize(
    ("more", "wanted"),
    [
        ({}, "emma (novel), 1girl, long hair, ^_^, blurry"),
        ({"spaces": False}, "emma_(novel), 1girl, long_hair, ^_^, blurry"),
        ({"characters_first": False}, "1girl, emma (novel), long hair, ^_^, blurry"),
        ({"least": {"general": 0.1}}, "1girl, long hair, ^_^, blurry, hat"),
        ({"least": {"general": 0.55, "meta": 0.5}}, "1girl, highres, long hair"),
        ({"least": {"general": 0.95, "rating": 0.05}}, "1girl, safe"),
        ({"without": "blur*, 1girl, long_hair"}, "emma (novel), ^_^"),
        ({"first": "long hair, hat, ^_^"}, "long hair, ^_^, emma (novel), 1girl, blurry"),
        ({"trigger": "ohwx", "most": 2}, "ohwx, emma (novel), 1girl"),
        ({"trigger": "1girl"}, "1girl, emma (novel), long hair, ^_^, blurry"),
    ],
)
def test_tags_at_thresholds(more, wanted):
    assert caption(**more) == wanted


@pytest.mark.parametrize("face", ["^_^", ">_<", "o_o", "(o)_(o)", "<|>_<|>", "||_||", "3_3", "+_+"])
def test_faces_keep_their_underscore(face):
    assert thresholds.with_spaces(face) == face


@pytest.mark.parametrize(
    "wrong",
    [{"least": {"general": 0.01}}, {"least": {"general": 1.2}}, {"least": {"colour": 0.5}}, {"trigger": "a, b"}],
)
def test_a_threshold_that_cannot_act_is_refused(wrong):
    with pytest.raises(DatasetError):
        Thresholds(**{"least": USUAL, **wrong}).checked()


@given(
    st.lists(
        st.builds(
            Probability,
            st.text(st.characters(codec="utf-8", exclude_characters=",\uff0c"), min_size=1, max_size=8)
            .map(str.strip)
            .filter(bool),
            st.sampled_from(taggers.CATEGORIES),
            st.floats(0.05, 1),
        ),
        max_size=12,
    ),
    st.floats(0.05, 1),
    st.floats(0.05, 1),
)
def test_a_higher_threshold_never_adds_a_tag(found, one, other):
    low, high = sorted((one, other))

    def at(value):
        return set(thresholds.tags_at(found, Thresholds(least={"general": value, "meta": value})))

    assert at(high) <= at(low)


def test_a_preview_counts_what_is_gained_and_lost():
    texts = {"a.png": "1girl, sitting", "b.png": "", "c.png": "whatever"}
    seen = thresholds.preview(texts, {"a.png": FOUND, "b.png": FOUND}, Thresholds(least={"general": 0.5}))
    assert seen.untagged == ("c.png",)
    assert [(each.image, each.gained, each.lost) for each in seen.effects] == [
        ("a.png", ("long hair", "^_^"), ("sitting",)),
        ("b.png", ("1girl", "long hair", "^_^"), ()),
    ]
    assert (seen.gained, seen.lost, seen.images) == (5, 1, 2)
    assert dict(seen.counts) == {"1girl": 2, "long hair": 2, "^_^": 2}
    moved = thresholds.difference(
        {"a.png": FOUND}, Thresholds(least={"general": 0.5}), Thresholds(least={"general": 0.3})
    )
    assert (moved.gained, moved.lost) == (1, 0)


def test_a_histogram_has_each_image_once():
    found = [(Probability("long_hair", "general", value),) for value in (0.05, 0.07, 0.35, 0.99, 1.0)]
    bars = thresholds.histogram(found, "long hair")
    assert len(bars) == 19
    assert (bars[0], bars[6], bars[18]) == (2, 1, 2)
    assert sum(bars) == 5


def test_tags_of_most_images_are_named():
    found = {f"{number}.png": FOUND[: 1 + (number < 8)] for number in range(10)}
    seen = thresholds.preview(dict.fromkeys(found, ""), found, Thresholds(least=USUAL))
    assert thresholds.frequent(seen) == ("1girl", "long hair")
    assert thresholds.frequent(seen, 0.9) == ("1girl",)


# ---- applying


@pytest.fixture
def root(tmp_path):
    for name in ("empty", "human", "machine", "mended", "blank", "latin"):
        (tmp_path / f"{name}.png").write_bytes(name.encode())
    (tmp_path / "human.txt").write_text("written by hand")
    (tmp_path / "blank.txt").write_text(" \n")
    (tmp_path / "latin.txt").write_bytes("Mädchen".encode("latin-1"))
    journal = Journal(tmp_path)
    by_machine = [Change(f"{name}.txt", b"tags") for name in ("machine", "mended")]
    journal.apply("captions", "tags", by_machine, "wd-vit-tagger-v3")
    (tmp_path / "mended.txt").write_text("tags, mended in another program")
    return tmp_path


SAID = {f"{name}.png": "new" for name in ("empty", "human", "machine", "mended", "blank", "latin")}


@pytest.mark.parametrize(
    ("mode", "written"),
    [
        ("empty", {"empty", "blank"}),
        ("machine", {"empty", "blank", "machine"}),
        ("all", {"empty", "blank", "machine", "human", "mended", "latin"}),
    ],
)
def test_each_mode_writes_what_it_says_as_one_edit_that_can_be_taken_back(mode, written, root):
    before = {path.name: path.read_bytes() for path in root.glob("*.txt")}
    assert applying.counts(applying.current(root), SAID)[mode] == len(written)
    found = applying.apply(root, SAID, mode, "wd-eva02-large-tagger-v3", "Tags")
    assert {path.stem for path in root.glob("*.txt") if path.read_bytes() == b"new"} == written
    assert found.edit.files == len(written)
    assert found.kept == 6 - len(written)
    assert found.edit.author == "wd-eva02-large-tagger-v3"
    assert {authors.of(root)[f"{name}.txt"] for name in written} == {"wd-eva02-large-tagger-v3"}
    Journal(root).undo()
    assert {path.name: path.read_bytes() for path in root.glob("*.txt")} == before


def test_who_wrote_a_caption_follows_edits_undo_and_changes_from_outside(root):
    assert authors.of(root) == {"machine.txt": "wd-vit-tagger-v3", "mended.txt": "user"}
    journal = Journal(root)
    seen = captions.preview(root, ["machine.txt", "human.txt"], [captions.trigger_first("ohwx")])
    journal.apply("captions", "trigger", [one.change for one in seen.changes])
    assert authors.of(root)["machine.txt"] == authors.of(root)["human.txt"] == "user"
    journal.undo()
    assert authors.of(root) == {"machine.txt": "wd-vit-tagger-v3", "mended.txt": "user"}
    (root / "machine.txt").unlink()
    assert "machine.txt" not in authors.of(root)


def test_a_machine_cannot_call_itself_the_user(root):
    with pytest.raises(DatasetError):
        applying.apply(root, SAID, "empty", "user", "Tags")


def test_a_caption_that_was_typed_after_the_preview_is_not_replaced(root):
    assert "empty.txt" in applying.chosen(applying.current(root), SAID, "empty").texts
    (root / "empty.txt").write_text("just typed")
    found = applying.apply(root, SAID, "empty", "tagger", "Tags")
    assert (root / "empty.txt").read_text() == "just typed"
    assert "empty.txt" not in found.texts


def test_an_undo_before_any_later_change_brings_back_the_author_of_before(root):
    applying.apply(root, {"machine.png": "other"}, "machine", "endpoint tiny-vl", "Captions")
    assert authors.of(root)["machine.txt"] == "endpoint tiny-vl"
    Journal(root).undo()
    assert authors.of(root)["machine.txt"] == "wd-vit-tagger-v3"


@given(
    st.lists(
        st.lists(
            st.builds(
                lambda named, value: Probability(named[0], named[1], value),
                st.sampled_from(
                    [("a_tag", "general"), ("b_tag", "meta"), ("x", "general"), ("r", "rating"), ("s", "rating")]
                ),
                st.floats(0.05, 1),
            ),
            max_size=6,
            unique_by=lambda each: each.name,
        ),
        max_size=5,
    ),
    st.floats(0.05, 1),
    st.floats(0.05, 1),
    st.sampled_from(["", "b*", "a tag, x"]),
)
def test_an_overview_counts_what_the_captions_have(rows, one, other, without):
    found = {f"{number}.png": row for number, row in enumerate(rows)}
    first, second = (Thresholds(least={"general": value, "rating": 0.05}, without=without) for value in (one, other))
    seen = overview.Overview(found)
    assert seen.counts(second) == dict(thresholds.preview(dict.fromkeys(found, ""), found, second).counts)
    slow, fast = thresholds.difference(found, first, second), seen.moved(first, second)
    changed = [each for each in slow.effects if each.gained or each.lost]
    assert (fast.images, fast.gained, fast.lost) == (len(changed), slow.gained, slow.lost)
    assert seen.histogram("a tag") == thresholds.histogram(found.values(), "a tag")

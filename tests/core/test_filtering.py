"""Filters choose the images that they say, name the place of a mistake, and mean the same when they are printed."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer_core.curation import filtering
from trainer_core.curation.catalogue import Entry
from trainer_core.errors import DatasetError

IMAGES = [
    Entry("faces/img2.png", 1024, 1024, 3_000_000, 5.0, "elena, red dress, smile", "faces/img2.txt", (), True, {"blur": 9.5}, "user", "keep", ("best of",)),
    Entry("faces/img10.jpg", 1920, 1080, 900_000, 4.0, "elena, dress, what?", "faces/img10.txt", ("turned",), True, {"blur": 2.0}, "wd-vit-tagger-v3", "reject"),
    Entry("beach.webp", 300, 400, 20_000, 3.0, "", None, ("small", "caption_missing"), True, {}, "", "", (), "faces/img2.png"),
    Entry("broken.jpg", 0, 0, 10, 2.0, "Über den Strand", "broken.txt", ("damaged",), False),
]  # fmt: skip
NAMES = ["img2", "img10", "beach", "broken"]


def chosen(text):
    found = filtering.parse(text)
    return [name for name, image in zip(NAMES, IMAGES, strict=True) if found.matches(image)]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", ["img2", "img10", "beach", "broken"]),
        ("beach", ["beach"]),
        ("ELENA", ["img2", "img10"]),
        ("über", ["broken"]),
        ("tag:dress", ["img10"]),
        ("tag:*dress", ["img2", "img10"]),
        ('tag:"red dress"', ["img2"]),
        ("tag:what?", ["img10"]),
        ("tag:dres?", ["img10"]),
        (r"caption:t\?", ["img10"]),
        (r"caption:s\?", []),
        ("caption:red*smile", ["img2"]),
        ("name:img?.png", ["img2"]),
        ("path:faces/ -is:reject", ["img2"]),
        ("elena smile", ["img2"]),
        ("elena and smile", ["img2"]),
        ("smile or beach", ["img2", "beach"]),
        ("smile or beach faces", ["img2"]),
        ("(smile or beach) is:uncaptioned", ["beach"]),
        ("not elena", ["beach", "broken"]),
        ("-(elena or beach)", ["broken"]),
        ("width:<1000 and height:>=400", ["beach"]),
        ("width:none", ["broken"]),
        ("mp:1.0", ["img2"]),
        ("mp:1", ["img2"]),
        ("aspect:16:9", ["img10"]),
        ("aspect:>16:10", ["img10"]),
        ("size:>1mb", ["img2"]),
        ("size:20000", ["beach"]),
        ("size:20k", ["beach"]),
        ("side:<=300", ["beach"]),
        ("tokens:0", ["beach"]),
        ("tokens:>4", ["img2", "img10"]),
        ("chars:>=20", ["img2"]),
        ("tags:3", ["img2", "img10"]),
        ("tags:!=3", ["beach", "broken"]),
        ("score.blur:<3", ["img10"]),
        ("score.blur:none", ["beach", "broken"]),
        ("problem:any", ["img10", "beach", "broken"]),
        ("problem:none", ["img2"]),
        ("problem:error", ["broken"]),
        ("problem:caption_*", ["beach"]),
        ("problem:turned", ["img10"]),
        ("by:user", ["img2"]),
        ("by:wd*", ["img10"]),
        ("by:machine", ["img10"]),
        ("by:none", ["beach", "broken"]),
        ("is:keep", ["img2"]),
        ("is:duplicate", ["beach"]),
        ("is:undecided is:trained", ["beach"]),
        ("is:landscape", ["img10"]),
        ("in:best*", ["img2"]),
        ('"AND" or "-"', ["broken"]),
    ],
)
def test_a_filter_chooses_these_images(text, names):
    assert chosen(text) == names


@pytest.mark.parametrize(
    ("text", "place", "said"),
    [
        ("tags:many", "character 6", "'many' is not a number"),
        ("a colour:red", "character 3", "no field 'colour'"),
        ("captin:red", "character 1", "perhaps caption:"),
        ("(a or b", "character 1", "not closed"),
        ("a) b", "character 2", "closes nothing"),
        ('caption:"a', "character 9", "not closed"),
        ("a or", "at its end", "missing"),
        ("and a", "character 1", "between two conditions"),
        ("is:nice", "character 4", "is: has no 'nice'"),
        ("problem:smal", "character 9", "problem: has no 'smal'"),
        ("width:5mb", "character 7", "has no unit 'mb'"),
        ("aspect:4:0", "character 8", "not a number"),
        ("tag:", "at its end", "nothing to look for"),
        ("score.zzz:<3", "character 1", "no measure 'zzz'"),
        ("score.blur:>1e999", "character 12", "'>1e999' is not written as a number is here"),
        ("tags:>12345678901234567", "character 6", "not written as a number"),
        ("(" * 100, "character 41", "40 deep"),
    ],
)
def test_a_mistake_is_named_with_its_place(text, place, said):
    with pytest.raises(DatasetError) as error:
        filtering.parse(text)
    assert place in error.value.message
    assert said in error.value.message


def test_a_selection_that_is_not_there_is_a_mistake_if_they_are_known():
    with pytest.raises(DatasetError, match="no selection 'nope'") as error:
        filtering.parse('elena in:"nope"', selections=["best of", "mine"])
    assert "character 10" in error.value.message
    assert error.value.hint == "There are: best of, mine."
    with pytest.raises(DatasetError) as error:
        filtering.parse("in:nope", selections=[])
    assert error.value.hint == "There are no selections yet."
    for text in ("in:MINE", "in:best*", 'in:"best of"'):
        filtering.parse(text, selections=["best of", "mine"])
    filtering.parse("in:nope")


def test_the_hint_says_what_is_allowed():
    with pytest.raises(DatasetError) as error:
        filtering.parse("score.zzz:<3")
    assert "score.blur, score.detail" in error.value.hint
    with pytest.raises(DatasetError) as error:
        filtering.parse("score.blur:>1e999")
    assert "no exponent" in error.value.hint
    with pytest.raises(DatasetError, match=r"sorted by 'score.zzz'"):
        filtering.ordered([], "score.zzz")
    with pytest.raises(DatasetError) as error:
        filtering.parse("colour:red")
    assert "tag:, caption:" in error.value.hint
    with pytest.raises(DatasetError) as error:
        filtering.parse("problem:smal")
    assert "any, none, error" in error.value.hint
    assert "small" in error.value.hint


def test_every_field_has_an_example_that_is_understood():
    for field in filtering.FIELDS.values():
        filtering.parse(field.example)
        for value in field.values or ():
            filtering.parse(f"{field.name}:{value}")


WORDS = st.text(alphabet='ab*?\\":-() éß😀\tandor', min_size=1, max_size=8).filter(str.strip)
TERMS = st.one_of(
    WORDS.map(filtering.quoted),
    st.sampled_from(
        ["elena", "tag:*dress", "is:keep", "width:<=1024", "score.blur:<3", "problem:any", "by:user", "b?ach"]
    ),
)
FILTERS = st.recursive(
    TERMS,
    lambda inner: st.one_of(
        inner.map("not ({})".format),
        inner.map("-({})".format),
        st.lists(inner, min_size=2, max_size=3).map(lambda parts: f"({' '.join(parts)})"),
        st.lists(inner, min_size=2, max_size=3).map(lambda parts: f"({' or '.join(parts)})"),
    ),
    max_leaves=8,
)


@settings(max_examples=400, deadline=None)
@given(st.text(max_size=60) | st.text(alphabet='tagiswdh:<>=()-"\\*? orandt019', max_size=40))
def test_any_text_is_a_filter_or_a_clear_error(text):
    try:
        found = filtering.parse(text)
    except DatasetError:
        return
    again = filtering.parse(str(found))
    assert again.node == found.node
    assert [again.matches(image) for image in IMAGES] == [found.matches(image) for image in IMAGES]


@settings(max_examples=200, deadline=None)
@given(FILTERS)
def test_a_printed_filter_reads_the_same(text):
    found = filtering.parse(text)
    assert filtering.parse(str(found)).node == found.node


@settings(max_examples=200, deadline=None)
@given(FILTERS, FILTERS)
def test_de_morgan(one, other):
    for image in IMAGES:
        for left, right in ((f"-({one}) or -({other})", f"-(({one}) and ({other}))"), (f"-({one}) -({other})", f"not (({one}) or ({other}))")):  # fmt: skip
            assert filtering.parse(left).matches(image) == filtering.parse(right).matches(image)


@given(st.text(max_size=20).filter(str.strip))
def test_a_quoted_text_finds_exactly_itself(text):
    found = filtering.parse(f"caption:{filtering.quoted(text)}")
    assert found.matches(Entry("a.png", caption=f"x{text}y"))
    assert not found.matches(Entry("a.png", caption="\x00"))


def test_a_pattern_of_many_stars_takes_no_long_time():
    import time

    slow = filtering.parse("caption:" + "*a" * 60 + "*b")
    start = time.process_time()
    slow.matches(Entry("a.png", caption="a" * 20_000))
    assert time.process_time() - start < 2


def test_images_are_ordered_naturally_and_unknown_values_are_last():
    def order(key, descending=False):
        return [NAMES[IMAGES.index(one)] for one in filtering.ordered(IMAGES, key, descending)]

    assert order("path") == ["beach", "broken", "img2", "img10"]
    assert order("width") == ["beach", "img2", "img10", "broken"]
    assert order("width", descending=True) == ["img10", "img2", "beach", "broken"]
    assert order("score.blur") == ["img10", "img2", "beach", "broken"]
    assert order("choice")[0] == "img2"
    for key, descending in itertools.product(filtering.SORTS, (False, True)):
        assert sorted(order(key, descending)) == sorted(NAMES)
    with pytest.raises(DatasetError, match="sorted by 'colour'"):
        filtering.ordered(IMAGES, "colour")

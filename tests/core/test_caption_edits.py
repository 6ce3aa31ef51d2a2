"""Bulk edits of captions: what each operation does, and that files keep their form."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer_core.curation import captions
from trainer_core.curation.journal import Journal
from trainer_core.errors import DatasetError

CASES = [
    (captions.add("smile, red hat"), "ohwx, Smile", "ohwx, Smile, red hat"),
    (captions.add("ohwx", "start"), "a cat", "ohwx, a cat"),
    (captions.add("a"), "A, b", "A, b"),
    (captions.add("a, c , c"), "a", "a, c"),
    (captions.remove("blurry, 1*"), "1girl, ohwx,  Blurry , solo", "ohwx, solo"),
    (captions.remove("a?"), "ab, abc, [a]", "abc, [a]"),
    (captions.remove("[a]"), "a, [a]", "a"),
    (captions.remove("none"), "a ,b", "a ,b"),
    (captions.replace("hat", "cap"), "red Hat, hats", "red cap, caps"),
    (captions.replace("hat", r"\1"), "hat", r"\1"),
    (captions.replace("hat", "cap", same_case=True), "Hat, hat", "Hat, cap"),
    (captions.replace("shirt, white shirt", "white shirt", whole_tags=True), "shirt, a, white shirt", "white shirt, a"),
    (captions.replace("b*", "", whole_tags=True), "a, bb, b", "a"),
    (captions.sort("ohwx"), "b, A, ohwx, c", "ohwx, A, b, c"),
    (captions.without_repeats(), "a, b, A,, c", "a, b, c"),
    (captions.without_repeats(), "a,b", "a,b"),
    (captions.trigger_first("ohwx"), "a, OHWX, b", "ohwx, a, b"),
    (captions.trigger_first("ohwx"), "ohwx,  b", "ohwx,  b"),
    (captions.trigger_first(" "), "a", "a"),
    (captions.set_to("x"), "a", "x"),
]


@pytest.mark.parametrize(("operation", "before", "after"), CASES)
def test_each_operation(operation, before, after):
    assert operation(before) == after
    assert operation(after) == after, "once is enough"


def test_frequent_tags_are_counted_by_caption():
    assert captions.frequent(["a, b, A", "a", "a, c", "b"], 0.5) == [("a", 3), ("b", 2)]
    assert captions.frequent([], 0.5) == []


FORMS = [
    (b"a, b", b"ohwx, a, b"),
    (b"\xef\xbb\xbfa, b\r\n", b"\xef\xbb\xbfohwx, a, b\r\n"),
    ("a, ß".encode("utf-16"), b"\xff\xfe" + "ohwx, a, ß".encode("utf-16-le")),
    (b"a\n\n b\n", b"ohwx, a\n\nohwx, b\n"),
    (b"\n", b"\n"),
]


@pytest.mark.parametrize(("before", "after"), FORMS)
def test_a_file_keeps_its_form(tmp_path, before, after):
    (tmp_path / "a.txt").write_bytes(before)
    seen = captions.preview(tmp_path, ["a.txt"], [captions.trigger_first("ohwx")])
    Journal(tmp_path).apply("trigger", "Put ohwx first", [one.change for one in seen.changes])
    assert (tmp_path / "a.txt").read_bytes() == after


def test_a_preview_writes_nothing_and_names_what_cannot_be_edited(tmp_path):
    (tmp_path / "a.txt").write_text("a")
    (tmp_path / "bad.txt").write_bytes(b"\xff\xfa\x80")
    (tmp_path / "long.txt").write_bytes(b"a" * (2 << 20))
    (tmp_path / "folder.txt").mkdir()
    names = ["a.txt", "bad.txt", "long.txt", "folder.txt", "none.txt", "a.txt"]
    seen = captions.preview(tmp_path, names, [captions.add("b")])
    assert [(one.path, one.before, one.after) for one in seen.changes] == [("a.txt", "a", "a, b")]
    assert [path for path, _ in seen.refused] == ["bad.txt", "long.txt", "folder.txt"]
    assert seen.unchanged == 1
    assert (tmp_path / "a.txt").read_text() == "a"


def test_an_image_without_a_caption_gets_one_if_that_is_wanted(tmp_path):
    seen = captions.preview(tmp_path, ["a.txt"], [captions.add("ohwx")], makes=True)
    assert [one.after for one in seen.changes] == ["ohwx"]
    Journal(tmp_path).apply("add", "Add", [one.change for one in seen.changes])
    assert (tmp_path / "a.txt").read_text() == "ohwx"
    Journal(tmp_path).undo()
    assert not (tmp_path / "a.txt").exists()


def test_a_caption_that_changed_after_the_preview_is_not_overwritten(tmp_path):
    (tmp_path / "a.txt").write_text("a")
    seen = captions.preview(tmp_path, ["a.txt"], [captions.add("b")])
    (tmp_path / "a.txt").write_text("from outside")
    edit = Journal(tmp_path).apply("add", "Add", [one.change for one in seen.changes])
    assert edit is None
    assert (tmp_path / "a.txt").read_text() == "from outside"


@given(st.text(max_size=60), st.sampled_from([one for one, _, _ in CASES]))
def test_no_text_is_too_odd(text, operation):
    line = " ".join(text.splitlines())
    assert operation(operation(line)) == operation(line)


@pytest.mark.parametrize("target", ["../private.txt", "../away/missing.txt"])
def test_a_caption_that_is_a_link_out_of_the_dataset_is_not_read(tmp_path, target):
    root = tmp_path / "images"
    root.mkdir()
    (tmp_path / "private.txt").write_text("a private text")
    (root / "a.txt").symlink_to(target)
    found = captions.preview(root, ["a.txt"], [captions.add("b")], makes=True)
    assert (found.changes, found.refused) == ((), (("a.txt", "it is a link that leads out of the dataset"),))
    assert captions.text_of(root, "a.txt") is None
    with pytest.raises(DatasetError, match="it is a link that leads out of the dataset"):
        captions.written(root, "a.txt", "new")


def test_a_caption_that_is_a_link_inside_of_the_dataset_is_edited(tmp_path):
    root = tmp_path / "linked"
    (tmp_path / "images").mkdir()
    root.symlink_to("images")
    (root / "a.txt").write_text("a cat")
    (root / "b.txt").symlink_to("a.txt")
    assert captions.text_of(root, "b.txt") == "a cat"
    assert captions.preview(root, ["b.txt"], [captions.add("b")]).changes[0].after == "a cat, b"

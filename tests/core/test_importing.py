"""Images come into a dataset from files, folders and zips: paired, numbered, within limits, and the edit can be undone."""

import contextlib
import os
import stat
import struct
import time
import warnings
import zipfile
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.support.incoming import files, png
from trainer_core.curation import archives, contents, importing
from trainer_core.curation.journal import Journal
from trainer_core.errors import DatasetError


def zipped(path, entries, **more):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries:
            archive.writestr(name, content, **more)
    return path


@pytest.fixture
def root(tmp_path):
    return tmp_path / "dataset"


def test_a_folder_comes_in_with_its_captions_and_goes_again(root, tmp_path):
    source = tmp_path / "phone"
    (source / "10_elena").mkdir(parents=True)
    (source / "10_elena" / "a.png").write_bytes(png("red"))
    (source / "10_elena" / "a.txt").write_text("elena")
    (source / "notes.docx").write_text("x")
    (source / ".hidden.png").write_bytes(png("blue"))
    found = importing.add(root, [source])
    assert files(root) == ["10_elena/a.png", "10_elena/a.txt"]
    assert (found.images, found.captions) == (1, 1)
    assert found.left_out == (("notes.docx", "it is neither an image nor a caption"),)
    assert found.edit.title == "Add 1 image from phone"
    assert (source / "10_elena" / "a.png").stat().st_nlink == 1, "the source is a copy of its own"
    (root / "10_elena" / "a.png").write_bytes(b"changed")
    assert Journal(root).undo().refused
    (root / "10_elena" / "a.png").write_bytes(png("red"))
    assert not (root / contents.OWN / importing.INCOMING).exists()


def test_an_import_is_undone_whole(root, tmp_path):
    root.mkdir()
    (root / "mine.png").write_bytes(png("green"))
    importing.add(root, [zipped(tmp_path / "a.zip", [("x/a.png", png("red")), ("y/b.png", png("blue"))])])
    assert files(root) == ["mine.png", "x/a.png", "y/b.png"]
    Journal(root).undo()
    assert files(root) == ["mine.png"]
    assert not (root / "x").exists()


def test_what_is_there_already_is_not_taken_twice_and_its_caption_stays(root, tmp_path):
    root.mkdir()
    (root / "a.png").write_bytes(png("red"))
    (root / "a.txt").write_text("mine")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "other name.png").write_bytes(png("red"))
    (tmp_path / "in" / "other name.txt").write_text("not mine")
    (tmp_path / "in" / "a.png").write_bytes(png("blue"))
    (tmp_path / "in" / "a.txt").write_text("blue")
    found = importing.add(root, [tmp_path / "in"])
    assert found.known == ("other name.png",)
    assert found.renamed == (("a.png", "a-2.png"), ("a.txt", "a-2.txt"))
    assert files(root) == ["a-2.png", "a-2.txt", "a.png", "a.txt"]
    assert ((root / "a.txt").read_text(), (root / "a-2.txt").read_text()) == ("mine", "blue")
    assert importing.add(root, [tmp_path / "in"]).edit is None


def test_two_sources_with_the_same_names_keep_their_own_captions(root, tmp_path):
    for colour in ("red", "blue"):
        (tmp_path / colour).mkdir()
        (tmp_path / colour / "a.png").write_bytes(png(colour))
        (tmp_path / colour / "a.txt").write_text(colour)
    importing.add(root, [tmp_path / "red", tmp_path / "blue"])
    told = {path.with_suffix(".txt").read_text(): path.read_bytes() for path in root.glob("*.png")}
    assert told == {"red": png("red"), "blue": png("blue")}


def test_of_two_equal_images_the_caption_of_one_is_kept(root, tmp_path):
    entries = [("a.png", png("red")), ("b.png", png("red")), ("b.txt", b"red")]
    found = importing.add(root, [zipped(tmp_path / "twice.zip", entries)])
    assert files(root) == ["b.png", "b.txt"]
    assert found.known == ("a.png",)


def test_an_image_without_a_caption_gets_the_one_that_comes(root, tmp_path):
    root.mkdir()
    (root / "mine.png").write_bytes(png("red"))
    found = importing.add(root, [zipped(tmp_path / "more.zip", [("b.png", png("red")), ("b.txt", b"red")])])
    assert files(root) == ["mine.png", "mine.txt"]
    assert found.renamed == (("b.txt", "mine.txt"),)


def test_single_files_of_one_folder_stay_pairs(root, tmp_path):
    (tmp_path / "a.png").write_bytes(png("red"))
    (tmp_path / "a.txt").write_text("red")
    root.mkdir()
    (root / "a.png").write_bytes(png("blue"))
    importing.add(root, [tmp_path / "a.png", tmp_path / "a.txt"])
    assert files(root) == ["a-2.png", "a-2.txt", "a.png"]


def test_names_that_differ_in_case_only_stay_with_their_captions(root, tmp_path):
    entries = [("a.png", png("red")), ("A.png", png("blue")), ("A.txt", b"blue"), ("a.txt", b"red")]
    importing.add(root, [zipped(tmp_path / "case.zip", entries)])
    told = {(root / name).with_suffix(".txt").read_text(): (root / name).read_bytes() for name in files(root) if name.endswith("png")}  # fmt: skip
    assert told == {"red": png("red"), "blue": png("blue")}
    assert len({name.casefold() for name in files(root)}) == 4


def test_the_folder_around_all_files_and_what_systems_add_are_left_away(root, tmp_path):
    entries = [
        ("set/a.png", png("red")),
        ("__MACOSX/set/._a.png", b"x"),
        ("set/Thumbs.db", b"x"),
        ("set/.DS_Store", b"x"),
    ]
    found = importing.add(root, [zipped(tmp_path / "mac.zip", entries)])
    assert files(root) == ["a.png"]
    assert found.left_out == ()


@pytest.mark.parametrize(
    "name", ["../../evil.png", "/etc/evil.png", "..\\..\\evil.png", "C:\\evil.png", "a/../../evil.png"]
)
def test_no_name_leads_out_of_the_dataset(root, tmp_path, name):
    found = importing.add(root, [zipped(tmp_path / "evil.zip", [(name, png("red")), ("good.png", png("blue"))])])
    assert files(root) == ["good.png"]
    assert [reason for _, reason in found.left_out] == ["its name leads out of the folder"]
    assert not list(tmp_path.glob("**/*evil.png"))


def test_links_programs_and_large_texts_are_left_out(root, tmp_path):
    path = tmp_path / "odd.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        link = zipfile.ZipInfo("link.png")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
        archive.writestr("run.py", "x")
        archive.writestr("long.txt", b"a" * (2 << 20))
        archive.writestr("a.png", png("red"))
    found = importing.add(root, [path])
    assert files(root) == ["a.png"]
    assert {name: reason.partition(",")[0] for name, reason in found.left_out} == {
        "link.png": "it is a link or a device",
        "run.py": "it is neither an image nor a caption",
        "long.txt": "it is too long for a caption",
    }


def broken(path):
    return zipped(path, [("a.png", os.urandom(5000)), ("b.png", png("red"))]).read_bytes()


DAMAGED = {
    "cut": (lambda data: data[: len(data) // 2], r"not a whole zip"),
    "no zip": (lambda _: b"PK\x03\x04 not a zip at all", r"not a whole zip"),
    "rotten": (lambda data: data[:2000] + b"\0" * 50 + data[2050:], r"not a whole zip|cannot be unpacked"),
    "encrypted": (lambda data: _flagged(data, 1), r"encrypted"),
    "unknown compression": (lambda data: _method(data, 97), r"cannot be unpacked"),
}
"""What is done to a zip, and what is said."""


def _flagged(data, flag):
    at = data.index(b"PK\x01\x02")
    return data[: at + 8] + struct.pack("<H", flag) + data[at + 10 :]


def _method(data, method):
    at = data.index(b"PK\x01\x02")
    return data[: at + 10] + struct.pack("<H", method) + data[at + 12 :]


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_damaged_zip_is_a_sentence_and_changes_nothing(root, tmp_path, kind):
    damage, words = DAMAGED[kind]
    path = tmp_path / "a.zip"
    path.write_bytes(damage(broken(path)))
    with pytest.raises(DatasetError, match=words):
        importing.add(root, [path])
    assert not root.exists(), "nothing is made for nothing"


def test_a_bomb_is_refused_before_it_fills_the_disk(root, tmp_path):
    path = zipped(tmp_path / "bomb.zip", [("a.png", bytes(60 << 20))])
    with pytest.raises(DatasetError, match="larger than an image"):
        importing.add(root, [path])
    limits = archives.Limits(entries=3, total_bytes=1000)
    with pytest.raises(DatasetError, match="3 are the most"):
        importing.add(
            root,
            [zipped(tmp_path / "many.zip", [(f"{n}.png", b"x") for n in range(4)])],
            importing.Wishes(limits=limits),
        )
    with pytest.raises(DatasetError, match=r"are the most|more than"):
        importing.add(
            root, [zipped(tmp_path / "large.zip", [("a.png", os.urandom(2000))])], importing.Wishes(limits=limits)
        )
    assert files(root) == []


def test_a_zip_that_lies_about_its_size_is_refused(root, tmp_path):
    path = zipped(tmp_path / "lie.zip", [("a.png", bytes(60 << 20))])
    data = path.read_bytes()
    at = data.index(b"PK\x01\x02")
    path.write_bytes(data[: at + 24] + struct.pack("<I", 100) + data[at + 28 :])
    with pytest.raises(DatasetError):
        importing.add(root, [path])
    assert files(root) == []


@pytest.mark.parametrize(
    ("name", "encoding"), [("猫の写真.png", "cp932"), ("ñandú.png", "utf-8"), ("plain.png", "ascii")]
)
def test_names_of_other_systems_are_read(root, tmp_path, name, encoding):
    path = zipped(tmp_path / "named.zip", [("x" * len(name.encode(encoding)), png("red"))])
    path.write_bytes(path.read_bytes().replace(b"x" * len(name.encode(encoding)), name.encode(encoding)))
    importing.add(root, [path])
    assert files(root) == [name]


def test_a_source_that_is_not_there_or_is_the_dataset_is_refused(root, tmp_path):
    with pytest.raises(DatasetError, match="There is no file"):
        importing.add(root, [tmp_path / "none.png"])
    (tmp_path / "a.docx").write_bytes(b"x")
    with pytest.raises(DatasetError, match=r"There is no image or caption in a\.docx\. a\.docx: it is neither"):
        importing.add(root, [tmp_path / "a.docx"])
    assert not root.exists()
    root.mkdir()
    with pytest.raises(DatasetError, match="itself"):
        importing.add(root, [root])


NAMES = st.one_of(
    st.text(max_size=12).map(lambda text: f"{text}.png"),
    st.lists(st.sampled_from(["..", ".", "", "a", "A", "ü", "con", "x:y"]), max_size=5).map("/".join),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(NAMES, st.binary(max_size=20)), max_size=6))
@example([("\0.png", b"")])
def test_no_names_write_anywhere_else(tmp_path_factory, entries):
    around = tmp_path_factory.mktemp("around")
    path = around / "a.zip"
    with zipfile.ZipFile(path, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a name twice
        for name, content in entries:
            archive.writestr(zipfile.ZipInfo(name or "x"), content)
    with contextlib.suppress(DatasetError):
        importing.add(around / "dataset", [path])
    (around / "dataset").mkdir(exist_ok=True)
    assert {one.name for one in around.iterdir()} == {"a.zip", "dataset"}
    for one in files(around / "dataset"):
        assert Path(one).suffix == ".png"
    Journal(around / "dataset").undo()
    assert files(around / "dataset") == []


@pytest.mark.parametrize(
    ("into", "source", "said"),
    [
        ("big/sub", "big", "The dataset is inside"),
        ("big/new/deep", "big", "The dataset is inside"),
        ("big", "big/sub", "is inside the dataset already"),
        ("big", "big/a.png", "is inside the dataset already"),
        ("big", "link", "is the dataset itself"),
        ("link/sub", "big", "The dataset is inside"),
    ],
)
def test_a_dataset_is_not_imported_into_itself(tmp_path, into, source, said):
    (tmp_path / "big" / "sub").mkdir(parents=True)
    (tmp_path / "big" / "a.png").write_bytes(png("red"))
    (tmp_path / "big" / "sub" / "b.png").write_bytes(png("blue"))
    (tmp_path / "link").symlink_to("big")
    with pytest.raises(DatasetError, match=said):
        importing.add(tmp_path / into, [tmp_path / source])
    assert sorted(path.name for path in (tmp_path / "big").rglob("*")) == ["a.png", "b.png", "sub"]


def test_a_caption_file_without_text_comes_in_and_counts_as_no_caption(root, tmp_path):
    source = tmp_path / "in"
    source.mkdir()
    for number, text in enumerate((b"a cat", b"", b" \n\t", b"\xef\xbb\xbf\n", b"0")):
        (source / f"{number}.png").write_bytes(png((number * 20, 0, 0)))
        (source / f"{number}.txt").write_bytes(text)
    found = importing.add(root, [source])
    assert (found.images, found.captions) == (5, 2)
    assert (root / "1.txt").read_bytes() == b""


def test_a_large_file_that_is_no_image_is_refused_before_it_is_copied(root, tmp_path):
    source = tmp_path / "in"
    source.mkdir()
    (source / "a.png").write_bytes(png("red"))
    with (source / "junk.jpg").open("wb") as file:
        file.truncate(2 << 30)  # a hole: it needs no space, and would take seconds to copy
    (source / "web.jpg").write_text("<html>404</html>")
    begun = time.process_time()
    found = importing.add(root, [source])
    assert time.process_time() - begun < 2
    assert files(root) == ["a.png", "web.jpg"], "a small one comes in, and the check of the dataset names it"
    assert found.left_out == (("junk.jpg", "it has 2.0 GiB, and does not begin like an image"),)

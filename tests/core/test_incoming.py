"""What comes in besides plain pairs: tars, tables of captions, masks, captions under other names, and what is converted."""

import bz2
import gzip
import io
import json
import lzma
import subprocess
import sys
import tarfile
import threading
import tracemalloc
from pathlib import PurePosixPath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.support.incoming import files, folder, png
from trainer_core.curation import contents, importing, incoming_names, tables, tars, unpacking
from trainer_core.curation.journal import Journal
from trainer_core.errors import DatasetCancelled, DatasetError

PACKERS = {".tar": bytes, ".tar.gz": gzip.compress, ".tgz": gzip.compress, ".tar.bz2": bz2.compress, ".tar.xz": lzma.compress}  # fmt: skip


@pytest.fixture
def root(tmp_path):
    return tmp_path / "dataset"


def member(name, kind=tarfile.REGTYPE, **more):
    entry = tarfile.TarInfo(name)
    entry.type = kind
    for key, value in more.items():
        setattr(entry, key, value)
    return entry


def tarred(path, entries, pack=bytes):
    """A tar of (entry or name, content)."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        for entry, data in entries:
            info = entry if isinstance(entry, tarfile.TarInfo) else member(entry)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    path.write_bytes(pack(content.getvalue()))
    return path


# ---- tars ----
@pytest.mark.parametrize("ending", PACKERS)
def test_a_tar_comes_in_like_a_zip(root, tmp_path, ending):
    entries = [("set/a.png", png("red")), ("set/a.txt", b"red"), ("set/._a.png", b"x"), ("set/10_b/b.png", png("blue"))]
    source = tarred(tmp_path / f"set{ending}", entries, PACKERS[ending])
    found = importing.add(root, [source])
    assert files(root) == ["10_b/b.png", "a.png", "a.txt"]
    assert (found.images, found.captions, found.left_out) == (2, 1, ())
    Journal(root).undo()
    assert files(root) == []


def test_links_devices_and_names_that_lead_out_are_left_out_of_a_tar(root, tmp_path):
    entries = [
        ("good.png", png("red")),
        (member("link.png", tarfile.SYMTYPE, linkname="/etc/passwd"), b""),
        (member("hard.png", tarfile.LNKTYPE, linkname="good.png"), b""),
        (member("pipe.png", tarfile.FIFOTYPE), b""),
        (member("disk.png", tarfile.BLKTYPE), b""),
        ("../evil.png", png("blue")),
        ("/etc/evil.png", png("blue")),
    ]
    found = importing.add(root, [tarred(tmp_path / "odd.tar", entries)])
    assert files(root) == ["good.png"]
    reasons = [reason for _, reason in found.left_out]
    assert reasons.count("it is a link or a device, not a file") == 4
    assert reasons.count(unpacking.LEADS_OUT) == 2
    assert not list(tmp_path.glob("**/*evil.png"))


def large_header(kind):
    """A tar whose extended header, or long name, says that it has 300 MB, and has them."""
    entry = member("x", kind)
    entry.size = 300 << 20
    return entry.tobuf(tarfile.PAX_FORMAT if kind == tarfile.XHDTYPE else tarfile.GNU_FORMAT) + bytes(300 << 20)


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_header_that_would_fill_the_memory_is_refused(root, tmp_path, kind):
    path = tmp_path / "header.tar.gz"
    path.write_bytes(gzip.compress(large_header(kind), 1))
    tracemalloc.start()
    with pytest.raises(DatasetError, match="header that is larger"):
        importing.add(root, [path])
    assert tracemalloc.get_traced_memory()[1] < 60 << 20
    tracemalloc.stop()
    assert not root.exists()


def test_a_tar_that_unpacks_to_too_much_is_refused(root, tmp_path):
    path = tarred(tmp_path / "bomb.tar.gz", [("a.png", bytes(80 << 20))], gzip.compress)
    with pytest.raises(DatasetError, match="too much for its size"):
        importing.add(root, [path])
    skipped = tarred(tmp_path / "skipped.tar.gz", [("a.bin", bytes(80 << 20))], gzip.compress)
    with pytest.raises(DatasetError, match="too much for its size"):
        importing.add(root, [skipped])
    many = tarred(tmp_path / "many.tar", [(f"{n}.png", b"x") for n in range(4)])
    with pytest.raises(DatasetError, match="more than 3 entries"):
        importing.add(root, [many], importing.Wishes(limits=unpacking.Limits(entries=3)))
    assert not root.exists()


TAR = [("a.png", png("red", (300, 300))), ("b.png", png("blue", (300, 300)))]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 5000), st.binary(min_size=1, max_size=30), st.sampled_from(sorted(PACKERS)))
def test_a_damaged_tar_is_a_sentence_or_comes_in(tmp_path_factory, at, junk, ending):
    around = tmp_path_factory.mktemp("around")
    path = tarred(around / f"a{ending}", TAR, PACKERS[ending])
    data = path.read_bytes()
    at %= len(data)
    path.write_bytes(data[:at] + junk + data[at + len(junk) :])
    try:
        unpacked = tars.unpack(path, around / "out", unpacking.USUAL, unpacking.ON)
    except DatasetError:
        assert not (around / "out").exists()
    else:
        assert {name.suffix for _, name in unpacked.files} <= {".png"} | unpacking.TEXTS | unpacking.TABLES


def test_an_import_that_is_stopped_changes_nothing(root, tmp_path):
    cancel = threading.Event()
    path = tarred(tmp_path / "a.tar", TAR)
    with pytest.raises(DatasetCancelled):
        importing.add(root, [path], going=unpacking.Going(lambda *_: cancel.set(), cancel))
    assert not root.exists()


# ---- tables ----
LINES = [{"file_name": "img/a.png", "text": "a red square"}, {"file_name": "img/b.png", "text": "a blue square"}, {"file_name": "gone.png", "text": "x"}]  # fmt: skip
FORMS = {
    "metadata.jsonl": "\n".join(map(json.dumps, LINES)),
    "metadata.json": json.dumps(LINES),
    "metadata.csv": "file_name,text\nimg/a.png,a red square\nimg/b.png,a blue square\n",
    "captions.csv": 'Image;Caption\na.png;"a red square"\nb.png;a blue square\n',
    "windows.csv": "file_name\ttext\r\nimg\\a.png\ta red square\r\nimg\\b.png\ta blue square\r\n".encode("utf-16"),
    "meta_cap.json": json.dumps({"img/a": {"caption": "a red square"}, "img/b": {"tags": "a blue square"}}),
    "columns.csv": "mask_file_name,image_file_name,text\nm.png,img/a.png,a red square\nm.png,img/b.png,a blue square\n",
    "plain.json": json.dumps({"img/a.png": "a red square", "img/b.png": "a blue square"}),
    "tags.jsonl": json.dumps({"filename": "a.png", "tags": ["a red square"]}) + "\n" + json.dumps({"image": "b.png", "caption": "a blue square", "tags": "x"}),
}  # fmt: skip


@pytest.mark.parametrize("name", FORMS)
def test_a_table_of_captions_becomes_caption_files(root, tmp_path, name):
    source = folder(tmp_path / "in", **{"img/a.png": png("red"), "img/b.png": png("blue"), name: FORMS[name]})
    found = importing.add(root, [source])
    assert files(root) == ["img/a.png", "img/a.txt", "img/b.png", "img/b.txt"]
    assert ((root / "img/a.txt").read_text(), (root / "img/b.txt").read_text()) == ("a red square", "a blue square")
    assert found.captions == 2
    assert any(note.startswith(f"{name} became 2 caption files") for note in found.notes)


def test_a_caption_file_counts_more_than_a_table_and_a_foreign_table_stays(root, tmp_path):
    source = folder(
        tmp_path / "in",
        **{"a.png": png("red"), "a.txt": "mine", "metadata.csv": "file_name,text\na.png,theirs\n", "other.json": "[1]"},
    )
    found = importing.add(root, [source])
    assert (root / "a.txt").read_text() == "mine"
    assert files(root) == ["a.png", "a.txt", "other.json"]
    assert [name for name, _ in found.left_out] == ["metadata.csv: a.png"]


JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=True) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["file_name", "text", "tags", "caption", "../a.png"]) | st.text(max_size=5),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None)
@given(JSON.map(json.dumps) | st.text(max_size=200), st.sampled_from(sorted(tables.ENDINGS)))
def test_no_table_names_an_image_outside_or_an_empty_caption(text, ending):
    for image, caption in tables.parsed(text, ending).items():
        assert not image.is_absolute()
        assert ".." not in image.parts
        assert caption.strip() == caption != ""
        assert "\0" not in caption


def test_a_deeply_nested_table_is_no_table():
    assert tables.parsed("[" * 100_000, ".json") == {}
    assert tables.parsed('a,b\n"' + "x" * 200_000, ".csv") == {}


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=40) | st.lists(st.sampled_from(["..", ".", "", "a", " ", "C:", "x" * 300, "ü"]), max_size=6).map("/".join))  # fmt: skip
def test_every_name_from_outside_is_a_path_inside_or_none(name):
    path = incoming_names.plain(name)
    if path is not None:
        assert not path.is_absolute()
        assert ".." not in path.parts
        assert all(0 < len(part.encode("utf-8", "surrogatepass")) <= 200 for part in path.parts)
        assert not set(path.as_posix()) & set('\\:*?"<>|\0\n')


# ---- captions under other names ----
def test_captions_under_other_names_and_encodings_are_paired(root, tmp_path):
    source = folder(
        tmp_path / "in",
        **{
            "one.png": png("red"), "one.caption": "ohwx, one",
            "two.jpg": png("blue"), "two.jpg.txt": "ohwx, two",
            "Three.png": png("green"), "three.TXT": "ohwx, three",
            "fo\u0308ur.png": png("teal"), "f\u00f6ur.txt": "ohwx, four",
            "five.png": png("pink"), "five.txt": "ohwx, caf\u00e9".encode("cp1252"),
            "six.png": png("gray"), "six.txt": "ohwx, six".encode("utf-16"),
            "seven.png": png("gold"), "seven.txt": "ohwx", "seven.tags": "a, b",
            "eight.png": png("navy"), "eight.txt": "\u732b\u306e\u5199\u771f\u304c\u3042\u308a\u307e\u3059".encode("cp932"),
        },
    )  # fmt: skip
    found = importing.add(root, [source])
    told = {name: (root / name).read_bytes() for name in files(root) if not name.endswith(("png", "jpg"))}
    eight = told.pop("eight.txt")
    assert {name: data.decode("utf-8") for name, data in told.items()} == {
        "one.txt": "ohwx, one",
        "two.txt": "ohwx, two",
        "Three.txt": "ohwx, three",
        "f\u00f6ur.txt": "ohwx, four",
        "five.txt": "ohwx, caf\u00e9",
        "six.txt": "ohwx, six",
        "seven.txt": "ohwx",
        "seven.tags": "a, b",
    }
    assert eight == (source / "eight.txt").read_bytes(), "an encoding that is not sure is left alone"
    assert any("eight.txt is not UTF-8" in note for note in found.notes)
    assert ("two.jpg.txt", "two.txt") in found.renamed
    assert (root / "f\u00f6ur.png").exists()


# ---- masks ----
def gray(level, size=(8, 8)):
    file = io.BytesIO()
    Image.new("L", size, level).save(file, "PNG")
    return file.getvalue()


def test_masks_follow_their_images_and_equal_masks_all_come(root, tmp_path):
    root.mkdir()
    (root / "a.png").write_bytes(png("black"))
    source = folder(
        tmp_path / "in",
        **{
            "a.png": png("red"), "a.txt": "red", "a-masklabel.png": gray(255),
            "b.jpg": png("blue"), "masks/b.png": gray(255),
            "sub/c.png": png("green"), "sub/c_mask.png": gray(255),
            "d_mask.png": gray(7),
        },
    )  # fmt: skip
    found = importing.add(root, [source])
    assert files(root) == ["a-2-masklabel.png", "a-2.png", "a-2.txt", "a.png", "b.jpg", "d_mask.png", "masks/b.png", "sub/c.png", "sub/c_mask.png"]  # fmt: skip
    assert (found.images, found.masks, found.captions, found.known) == (4, 3, 1, ())
    assert ("a-masklabel.png", "a-2-masklabel.png") in found.renamed


def test_an_image_that_is_there_already_gets_the_mask_that_comes_unless_it_has_one(root, tmp_path):
    folder(root, **{"mine.png": png("red"), "has.png": png("blue"), "has_mask.png": gray(3)})
    source = folder(
        tmp_path / "in",
        **{"x.png": png("red"), "x_mask.png": gray(1), "y.png": png("blue"), "y_mask.png": gray(2)},
    )
    found = importing.add(root, [source])
    assert files(root) == ["has.png", "has_mask.png", "mine.png", "mine_mask.png"]
    assert (root / "has_mask.png").read_bytes() == gray(3)
    assert [reason for _, reason in found.left_out] == ["its image is in the dataset already, with a mask"]


def test_an_image_with_colours_and_the_name_of_a_mask_is_an_image(root, tmp_path):
    source = folder(tmp_path / "in", **{"a.png": png("red"), "a_mask.png": png("green")})
    found = importing.add(root, [source])
    assert (found.images, found.masks) == (2, 0)


def test_a_path_of_an_image_that_moves_keeps_the_folder_of_its_mask():
    from trainer_core.curation import pairing

    of = PurePosixPath
    assert pairing.beside(of("masks/a.png"), of("a.jpg"), of("a-2.jpg")) == of("masks/a-2.png")
    assert pairing.beside(of("x/a-masklabel.png"), of("x/a.png"), of("y/b.png")) == of("y/b-masklabel.png")


def gif():
    file = io.BytesIO()
    Image.new("RGB", (9, 9)).save(file, "GIF")
    return file.getvalue()


# ---- before and after ----
def test_what_would_come_in_is_told_before_and_nothing_is_changed_by_looking(root, tmp_path):
    folder(root, **{"a.png": png("red"), "a.txt": "mine"})
    source = folder(tmp_path / "in", **{"a.png": png("red"), "b.gif": gif(), "b.txt": "b"})
    with importing.Incoming(root, [source]) as ready:
        assert (ready.preview.images, ready.preview.captions, ready.preview.known) == (1, 1, ("a.png",))
        assert ready.conversions() == {"gif": 1}
        assert files(root) == ["a.png", "a.txt"]
        folder(root, **{"b.txt": "written meanwhile"})
        done = ready.apply(["gif"])
    assert (root / "b.txt").read_text() == "written meanwhile"
    assert done.left_out[0][0] == "b.txt"
    assert files(root) == ["a.png", "a.txt", "b.png", "b.txt"]
    with importing.Incoming(tmp_path / "new", [source]):
        pass
    assert not (tmp_path / "new").exists()


def test_what_a_killed_import_left_is_removed_by_the_next_one(root, tmp_path):
    source = folder(tmp_path / "in", **{"a.png": png("red")})
    code = f"from trainer_core.curation.importing import Incoming; from pathlib import Path; import time; Incoming(Path({str(root)!r}), [Path({str(source)!r})]); print('here', flush=True); time.sleep(60)"  # fmt: skip
    program = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert program.stdout.readline() == b"here\n"
    program.kill()
    program.wait()
    incoming = root / contents.OWN / importing.INCOMING
    assert len(list(incoming.iterdir())) == 1
    importing.add(root, [source])
    assert not incoming.exists()
    assert files(root) == ["a.png"]


def test_a_text_that_is_a_link_out_of_its_folder_does_not_come_in(root, tmp_path):
    secret = folder(tmp_path / "home", **{"key": "secret", "photo.png": png("red")})
    source = folder(tmp_path / "in", **{"a.png": png("blue"), "b.txt": "b"})
    (source / "a.txt").symlink_to(secret / "key")
    (source / "c.png").symlink_to(secret / "key")
    (source / "d.png").symlink_to(secret / "photo.png")
    (source / "e.txt").symlink_to(source / "b.txt")
    found = importing.add(root, [source])
    assert files(root) == ["a.png", "b.txt", "d.png", "e.txt"]
    assert [name for name, _ in found.left_out] == ["a.txt", "c.png"]

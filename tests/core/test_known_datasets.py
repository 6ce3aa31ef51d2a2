"""The datasets that Easel knows are counted without opening an image, whatever is in their folders."""

import os
import time

import pytest

from trainer_core import places
from trainer_core.curation import known
from trainer_core.errors import DatasetError


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "home"))


def made(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"12345")
    return folder


def test_own_and_recent_datasets_are_listed_the_newest_first(tmp_path):
    own = made(places.datasets() / "elena", "a.png", "a.txt", "sub/b.JPG", "sub/b.caption", "a-masklabel.png", "masks/b.png", ".easel/x.png", ".hidden.png")  # fmt: skip
    other = made(tmp_path / "phone", "c.webp")
    made(tmp_path / "documents", "letter.txt")
    (places.datasets() / "empty").mkdir()
    known.remember(tmp_path / "gone")
    known.remember(tmp_path / "documents")
    known.remember(other)
    old = time.time() - 1000
    for path in (other, other / "c.webp"):
        os.utime(path, (old, old))
    found = known.datasets()
    assert [one.name for one in found if one.name != "empty"] == ["elena", "phone"]
    elena = next(one for one in found if one.path == own)
    assert (elena.images, elena.captions, elena.is_own, elena.is_partial) == (2, 2, True, False)
    assert elena.bytes == 6 * 5
    assert not next(one for one in found if one.name == "phone").is_own
    assert {one.name for one in found} == {"elena", "phone", "empty"}


def test_the_same_folder_is_listed_once_and_the_newest_use_is_first(tmp_path):
    folder = made(tmp_path / "phone", "c.webp")
    (tmp_path / "link").symlink_to(folder)
    for path in (folder, tmp_path / "link", folder):
        known.remember(path)
    assert known.recent() == [folder, tmp_path / "link"]
    assert [one.path for one in known.datasets([folder])] == [folder]


@pytest.mark.parametrize("content", [b"", b"{", b'[1, null, "relative", "/a\\u0000b"]', b"[" * 100_000, b"\xff\xfe"])
def test_a_damaged_record_is_no_record(content):
    places.home().mkdir(parents=True)
    (places.home() / known.RECENT).write_bytes(content)
    assert known.datasets() == []


def test_strange_files_do_not_hinder(tmp_path):
    folder = made(tmp_path / "odd", "a.png")
    (folder / "dead.png").symlink_to("nowhere")
    (folder / "loop").symlink_to(folder)
    os.mkfifo(folder / "pipe.png")
    (folder / "folder.png").mkdir()
    (folder / os.fsdecode(b"\xff.png")).touch()
    assert known.look(folder).images == 2
    assert known.look(tmp_path / "none") is None
    assert known.look(folder / "a.png") is None


def test_a_new_dataset_has_a_name_that_no_other_has():
    path = known.new_folder("elena")
    assert path == places.datasets() / "elena"
    path.mkdir(parents=True)
    with pytest.raises(DatasetError, match="already"):
        known.new_folder("Elena")
    for name in ("", "..", "a/b", "/etc", ".hidden", "con", "a\nb"):
        with pytest.raises(DatasetError, match="cannot be the name"):
            known.new_folder(name)


def test_five_thousand_images_are_counted_quickly(tmp_path):
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(5000):
        (folder / f"{number}.png").touch()
    start = time.process_time()
    assert known.look(folder).images == 5000
    assert time.process_time() - start < 1.0


def test_dataset_preparation_comes_back_with_its_own_last_dataset(tmp_path):
    """The trainers remember datasets too."""
    own, other = made(tmp_path / "own", "a.png"), made(tmp_path / "other", "b.png")
    known.remember(other)
    assert known.opened_last() == other, "as long as none was open in it"
    known.note_opened(own)
    known.remember(other)
    assert known.opened_last() == own
    own.rename(tmp_path / "moved")
    assert known.opened_last() == other


def test_the_name_that_is_suggested_for_a_new_dataset_is_free():
    assert known.free_name("my images") == "my images"
    for name in ("My images", "my images 2"):
        (places.datasets() / name).mkdir(parents=True)
    assert known.free_name("my images") == "my images 3"
    assert not known.new_folder(known.free_name("my images")).exists()

"""Rejected images are moved into a folder beside the dataset, with their captions, and an undo brings them back."""

import pytest

from tests.support.page import draw_images
from trainer_core.curation import taking_out
from trainer_core.curation.journal import Journal
from trainer_core.errors import DatasetError


@pytest.fixture
def folder(tmp_path):
    return draw_images(tmp_path / "images", ["a cat", "a dog", "a bird"])


def content(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and ".easel" not in path.parts
    }


def test_images_are_set_aside_and_come_back(folder):
    before = content(folder)
    done = taking_out.set_aside(folder, ["image0.png", "image2.png"])
    assert done.folder == folder.with_name("images_rejected")
    assert sorted(content(folder)) == ["image1.png", "image1.txt"]
    assert content(done.folder) == {path: data for path, data in before.items() if "1" not in path}
    Journal(folder).undo()
    assert content(folder) == before


def test_another_image_of_the_same_name_is_not_replaced(folder):
    first = (folder / "image0.png").read_bytes()
    taking_out.set_aside(folder, ["image0.png"])
    (folder / "image0.png").write_bytes((folder / "image1.png").read_bytes())
    done = taking_out.set_aside(folder, ["image0.png"])
    assert (done.folder / "image0.png").read_bytes() == first
    assert (done.folder / "image0 (2).png").read_bytes() == (folder / "image1.png").read_bytes()


def test_a_caption_that_another_image_has_too_stays(folder):
    (folder / "image0.jpg").write_bytes((folder / "image1.png").read_bytes())
    taking_out.set_aside(folder, ["image0.jpg"])
    assert (folder / "image0.txt").exists()


def test_nothing_is_left_beside_if_nothing_can_be_moved(folder, tmp_path):
    assert taking_out.set_aside(folder, ["none.png"]) is None
    with pytest.raises(DatasetError):
        taking_out.set_aside(folder, ["../images/image0.png"])
    outside = tmp_path / "elsewhere"
    outside.mkdir()
    folder.with_name("images_rejected").symlink_to(outside)
    with pytest.raises(DatasetError, match="is a link"):
        taking_out.set_aside(folder, ["image0.png"])
    assert list(outside.iterdir()) == []
    assert (folder / "image0.png").exists()

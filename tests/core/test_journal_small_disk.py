"""A disk that becomes full at any point of an edit, its undo or an import: all of it is made or nothing, and nothing is lost."""

import functools
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.incoming import folder, png
from trainer_core.curation import contents, importing
from trainer_core.curation.journal import Change, Journal
from trainer_core.errors import DatasetError

CAPTIONS = 100
FREE_KIB = (0, 1, 3, 8, 20, 60, 100, *range(124, 136), 200, 500)
"""What is free when the edit begins: from nothing to more than it needs."""


def mounted(arguments, disk):
    return not subprocess.run(["mount", *arguments, str(disk)], check=False, capture_output=True).returncode


@pytest.fixture(params=["tmpfs", "ext2"])
def disk(request, tmp_path):
    """A file system of about 1 MiB: one without blocks for folders, and one in a file, whose folders and names need blocks."""
    place = tmp_path / "disk"
    place.mkdir()
    if request.param == "tmpfs":
        is_there = mounted(["-t", "tmpfs", "-o", "size=1536k", "tmpfs"], place)
    else:
        image = tmp_path / "disk.img"
        image.write_bytes(bytes(768 << 10))
        made = shutil.which("mke2fs") and not subprocess.run(["mke2fs", "-q", "-F", "-m", "0", "-N", "600", "-t", "ext2", str(image)], check=False, capture_output=True).returncode  # fmt: skip
        is_there = made and mounted(["-o", "loop", str(image)], place)
    if not is_there:
        pytest.skip("a file system can only be mounted as root, with loop devices")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def content(root):
    """Every file of the dataset but Easel's own, and its bytes."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and contents.OWN not in path.relative_to(root).parts
    }


def fill(disk, left_kib):
    """Fills the disk until so much is free."""
    with (disk / "filling").open("wb", buffering=0) as file:
        block = 64 << 10
        while block >= 512:
            room = shutil.disk_usage(disk).free - (left_kib << 10)
            if room < block:
                block //= 2
                continue
            try:
                file.write(bytes(block))
            except OSError:
                block //= 2


def made(disk):
    root = disk / "images"
    for number in range(CAPTIONS):
        folder(root, **{f"{number:02}.txt": f"{number}, " + "a tag, " * 90})
    return folder(root, **{"a.png": os.urandom(9000)})


def changes():
    texts = [Change(f"{number:02}.txt", f"ohwx, {number}, ".encode() + b"a tag, " * 90) for number in range(CAPTIONS)]
    return [*texts, Change("a.png", None), Change("new/place/b.txt", b"b")]


def tried(work):
    """Whether it was done; what was said if not."""
    try:
        return work() is not None, ""
    except DatasetError as error:
        return False, error.message


def test_an_edit_and_its_undo_are_whole_or_nothing_whatever_is_free(disk):
    seen = set()
    for left_kib in FREE_KIB:
        root = made(disk)
        before = content(root)
        fill(disk, left_kib)
        is_done, said = tried(functools.partial(Journal(root).apply, "all", "All", changes()))
        now = content(root)
        (disk / "filling").unlink()
        after = {**{one.path: one.content for one in changes() if one.content is not None}}
        assert now == (after if is_done else before), (left_kib, said)
        if not is_done:
            assert said.startswith(("Nothing was changed", "Everything is as it was", "The dataset cannot be changed")), said  # fmt: skip
        Journal(root).recover()
        assert content(root) == now
        assert len(Journal(root).edits()) == is_done
        if is_done:
            assert Journal(root).edits()[0].refused == ()
            fill(disk, 3)
            is_undone, said = tried(Journal(root).undo)
            assert content(root) == (before if is_undone else after), said
            (disk / "filling").unlink()
            if not is_undone:
                Journal(root).undo()
            assert content(root) == before
        seen.add(is_done)
        shutil.rmtree(root)
    assert seen == {True, False}, "both a disk that is full in between and one that suffices were met"


def test_an_import_on_a_small_disk_is_whole_or_nothing(disk, tmp_path):
    source = folder(tmp_path / "in", **{f"{n}.png": png((n, 9, 9), (90, 90)) + os.urandom(6000) for n in range(8)})
    folder(source, **{f"{n}.txt": f"ohwx, {n}" for n in range(8)})
    seen = set()
    for left_kib in (0, 3, 20, 60, 90, 100, 110, 220):
        root = folder(disk / "images", **{"mine.png": png("red")})
        fill(disk, left_kib)
        is_done, said = tried(functools.partial(importing.add, root, [source]))
        found = content(root)
        (disk / "filling").unlink()
        assert len(found) == (17 if is_done else 1), (left_kib, said)
        assert not (root / contents.OWN / importing.INCOMING).exists()
        Journal(root).recover()
        assert content(root) == found
        seen.add(is_done)
        shutil.rmtree(root)
    assert seen == {True, False}


def test_a_new_dataset_that_does_not_fit_leaves_no_folder(disk, tmp_path):
    source = folder(tmp_path / "in", **{"a.png": os.urandom(2 << 20)})
    with pytest.raises(DatasetError, match=r"Nothing was changed|cannot be made"):
        importing.add(disk / "new", [source])
    assert not Path(disk / "new").exists()

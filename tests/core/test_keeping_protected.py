"""Files in folders that cannot be written, and files that are not what their names say: nothing is lost, and the true reason is said."""

import os
import subprocess

import pytest

from tests.support import recorded_headers
from trainer_core.errors import FilesError
from trainer_core.keeping import bounds, bringing, carrying, doubts, moving, trash, zipping


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "home"))
    for name in ("models/loras", "outputs"):
        (tmp_path / "home" / name).mkdir(parents=True)
    return tmp_path / "home"


def put(home, name, content=b"weights"):
    path = home / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return bounds.named(name)


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def protected(home):
    """A folder in which no name can be added or removed, also not by root."""
    folder = home / "models" / "loras"
    put(home, "models/loras/a.safetensors")
    put(home, "models/loras/set/b.safetensors")
    folder.chmod(0o555)
    locked = []
    if os.access(folder, os.W_OK):
        if subprocess.run(["chattr", "+i", str(folder)], capture_output=True, check=False).returncode:
            pytest.skip("nothing is protected against root on this disk")
        locked = ["chattr", "-i", str(folder)]
    yield folder
    if locked:
        subprocess.run(locked, check=True)
    folder.chmod(0o755)


@pytest.mark.parametrize("name", ["models/loras/a.safetensors", "models/loras/set"])
def test_what_lies_in_a_protected_folder_stays_whole_and_the_true_reason_is_said(home, protected, name):
    before = contents(home / "models")
    spot = bounds.named(name)
    for change in (
        lambda: trash.delete(spot),
        lambda: moving.rename(spot, "other"),
        lambda: moving.move([spot], bounds.spot("outputs")),
        lambda: moving.new_folder(bounds.named("models/loras"), "new"),
    ):
        with pytest.raises(FilesError, match="because it is write-protected") as told:
            change()
        assert str(protected) in str(told.value)
        assert "with this name" not in str(told.value)
    assert contents(home / "models") == before
    assert trash.listed() == []
    assert list((home / "outputs").iterdir()) == [], "no copy and no second name of it is left anywhere"


def test_a_protected_folder_is_named_when_files_come_in_or_are_unpacked(home, protected, tmp_path):
    source = tmp_path / "new.safetensors"
    source.write_bytes(b"weights")
    with pytest.raises(FilesError, match="because it is write-protected"):
        bringing.bring([str(source)], bounds.named("models/loras"))
    with pytest.raises(FilesError, match="because it is write-protected"):
        zipping.write(zipping.plan([bounds.named("models/loras/set")]), bounds.named("models/loras"))


def test_a_copy_is_kept_when_a_part_of_the_original_is_gone_and_removed_when_it_is_whole(home, monkeypatch):
    put(home, "outputs/set/a.bin", b"a")
    put(home, "outputs/set/b.bin", b"b")
    gone = {"count": 0}

    def remove(path):
        if path != home / "outputs" / "set":
            return whole(path)
        for each in sorted(path.iterdir())[: gone["count"]]:
            each.unlink()
        raise PermissionError(13, "Permission denied", str(path))

    whole = carrying._remove
    monkeypatch.setattr(carrying, "_remove", remove)
    monkeypatch.setattr(carrying, "put", another_disk(carrying.put, home / "outputs" / "set"))
    with pytest.raises(FilesError):
        trash.delete(bounds.named("outputs/set"))
    assert trash.listed() == []
    gone["count"] = 1
    with pytest.raises(FilesError):
        trash.delete(bounds.named("outputs/set"))
    [one] = trash.listed()
    assert contents(one.folder / trash.KEPT) == {"a.bin": b"a", "b.bin": b"b"}


def another_disk(put, source):
    def fails(one, target):
        if one == source:
            raise OSError(18, "Invalid cross-device link")
        put(one, target)

    return fails


def test_a_file_that_cannot_be_what_its_name_says_is_doubted_and_a_whole_one_is_not(home):
    recorded_headers.write("sd15", home / "outputs")
    whole = bounds.named(str(next((home / "outputs").glob("*.safetensors"))))
    assert doubts.doubt(whole) == ""
    for name, content, words in (
        ("zero.safetensors", b"", "It is empty"),
        ("zero.png", b"", "It is empty"),
        ("one.safetensors", b"x", "not a model that can be used"),
        ("text.ckpt", b"<html>not found</html>", "not a model that can be used"),
        ("notzip.zip", b"no zip at all", "not a zip"),
        ("caption.txt", b"", ""),
        ("notes.bin", b"anything", ""),
    ):
        assert words in doubts.doubt(put(home, f"models/{name}", content)), name
        assert bool(words) == bool(doubts.doubt(bounds.named(f"models/{name}"))), name

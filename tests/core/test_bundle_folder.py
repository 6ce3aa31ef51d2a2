"""The folder that a bundle is made in: nothing of the user's is deleted, overwritten or reached by a link."""

import fcntl
import json
import os
import subprocess

import pytest

from tests.support import tiny_bundle
from trainer_core.errors import InstallError
from trainer_core.install import bundle_files, bundling


@pytest.fixture(autouse=True)
def no_registry(monkeypatch, tmp_path):
    """Every `make` here ends at the latest where it asks for packages."""
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://127.0.0.1:9/simple?token=qrysecret")
    monkeypatch.setenv("UV_EXTRA_INDEX_URL", "http://bob:s3cretpw@127.0.0.1:9/simple?private=qrysecret")
    monkeypatch.setenv("UV_FIND_LINKS", "http://127.0.0.1:9/links?token=qrysecret")
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))


@pytest.fixture
def old(tmp_path, monkeypatch):
    """A bundle that was completed before."""
    folder = tiny_bundle.make(tmp_path / "old", tiny_bundle.uv_wheel(tmp_path, b"uv"), ("one",))
    (folder / "sources").mkdir()
    (folder / "sources/tiny.tar.gz").touch()
    bundling.write_record(folder, "3.12", {})
    return folder


@pytest.mark.parametrize("record", [None, "", "{}", '{"schema": 1, "files": {}}', "[" * 200_000])
def test_folders_of_the_user_that_only_have_the_same_names_are_kept(tmp_path, record):
    for name in ("sources/my_code.c", "hub/notes", "uv"):
        (tmp_path / "mine" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "mine" / name).write_text("mine")
    if record is not None:
        (tmp_path / "mine/bundle.json").write_text(record)
    with pytest.raises(InstallError, match="has other files: "):
        bundling.make(tmp_path / "mine", [])
    for name in ("sources/my_code.c", "hub/notes", "uv"):
        assert (tmp_path / "mine" / name).read_text() == "mine"


@pytest.mark.parametrize("name", ["sources/my_code.c", "hub/one/notes", "wheels/mine", ".easel-making/mine"])
def test_a_file_that_was_added_to_a_bundle_is_kept(old, name):
    (old / name).parent.mkdir(exist_ok=True)
    (old / name).write_text("mine")
    with pytest.raises(InstallError, match=f"has other files: {name}"):
        bundling.make(old, [])
    assert (old / name).read_text() == "mine"
    assert (old / "sources/tiny.tar.gz").exists()


@pytest.mark.parametrize("name", ["uv", "wheels", "bundle.log", "hub", "bundle.json"])
def test_no_link_is_followed(tmp_path, name):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("mine")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / name).symlink_to(outside)
    with pytest.raises(InstallError, match=f"{name} is a link"):
        bundling.make(tmp_path / "mine", [])
    assert [path.name for path in outside.iterdir()] == ["precious"]


def test_an_earlier_bundle_gives_its_packages(old):
    listed = bundling.prepare(old)
    assert set(listed) == {"wheels/a.whl", "wheels/uv-0.13.8-py3-none-any.whl"}
    assert not (old / "sources/tiny.tar.gz").exists()
    assert not (old / "hub/one/vocab.json").exists()


def test_one_that_was_interrupted_is_continued(tmp_path):
    making = bundling._Bundle(tmp_path, tmp_path / "uv", print, {})
    making.claim(["wheels/a.whl", "wheels/.a.whl.part", ".easel-making", "bundle.log"])
    for name in ("wheels/a.whl", "wheels/.a.whl.part", ".easel-making/tree/x.py", "bundle.log"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert set(bundling.prepare(tmp_path)) == {"wheels/a.whl", "bundle.log"}
    assert {path.name for path in tmp_path.iterdir()} == {"wheels", "bundle.log", "bundle.json"}


def test_two_at_once_are_refused(tmp_path):
    handle = os.open(tmp_path, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        with pytest.raises(InstallError, match="Another bundle is being made"):
            bundling.make(tmp_path, [])
    finally:
        os.close(handle)
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_folder_is_refused_in_a_sentence(tmp_path):
    (tmp_path / "file").write_text("mine")
    for path in (tmp_path / "file", "/dev/null"):
        with pytest.raises(InstallError, match="is no folder"):
            bundling.make(bundling.Path(path), [])
    for path in (tmp_path / "file/below", "/proc/x"):
        with pytest.raises(InstallError, match="cannot be made in"):
            bundling.make(bundling.Path(path), [])
    assert (tmp_path / "file").read_text() == "mine"


def test_what_opens_a_registry_is_in_no_message_and_no_log(tmp_path):
    said = []
    with pytest.raises(InstallError, match="could not be found") as caught:
        bundling.make(tmp_path / "new", [], report=said.append)
    log = (tmp_path / "new/bundle.log").read_text()
    assert "127.0.0.1:9" in log
    for text in (log, str(caught.value), *said):
        assert not [secret for secret in ("s3cretpw", "qrysecret") if secret in text]
    assert json.loads((tmp_path / "new/bundle.json").read_text())["unfinished"]


def test_folders_that_lie_deep_in_each_other_are_read(tmp_path):
    here = os.open(tmp_path, os.O_RDONLY)
    for _ in range(1200):
        os.mkdir("a", dir_fd=here)
        inner = os.open("a", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
    os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=here))
    os.close(here)
    try:
        assert list(bundle_files.names(tmp_path)) == ["a/" * 1200 + "file"]
    finally:
        # Python's own would call itself as often.
        subprocess.run(["rm", "-r", tmp_path / "a"], check=True)

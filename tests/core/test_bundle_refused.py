"""A bundle that is not what was packed is refused in a sentence, and nothing is taken from it."""

import json
import os

import pytest

from tests.support import tiny_bundle
from trainer_core.errors import InstallError
from trainer_core.install import bundling, from_bundle, hub_files


@pytest.fixture
def home(tmp_path, monkeypatch):
    """Easel's folder on the other machine, which does not exist yet."""
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "home"))
    for name in ("UV_FIND_LINKS", "UV_OFFLINE", "HF_HUB_OFFLINE"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    return tmp_path / "home"


@pytest.fixture
def folder(tmp_path, home, monkeypatch):
    """A complete bundle."""
    return tiny_bundle.make(tmp_path / "bundle", tiny_bundle.pinned_uv(tmp_path / "pinned", monkeypatch), ("one",))


def record_again(folder):
    bundling.write_record(folder, "3.12", {})


def missing(folder):
    (folder / "wheels/a.whl").unlink()


def changed(folder):
    (folder / "wheels/a.whl").write_text("b")


def added(folder):
    (folder / "wheels/torch-99.whl").touch()


def with_escape_codes(folder):
    (folder / "wheels/\x1b[31m.whl").touch()


def with_value(key, value):
    def change(folder):
        record = json.loads((folder / "bundle.json").read_text())
        (folder / "bundle.json").write_text(json.dumps({**record, key: value}))

    return change


def cut_short(folder):
    (folder / "bundle.json").unlink()


def nested_deeply(folder):
    (folder / "bundle.json").write_text("[" * 200_000)


def a_pipe_for_a_record(folder):
    (folder / "bundle.json").unlink()
    os.mkfifo(folder / "bundle.json")


def a_pipe_for_a_package(folder):
    (folder / "wheels/a.whl").unlink()
    os.mkfifo(folder / "wheels/a.whl")


def a_link_for_the_packages(folder):
    """The listed files are there, and others which the list of a link does not have."""
    elsewhere = folder.parent / "elsewhere"
    (folder / "wheels").rename(elsewhere)
    (elsewhere / "torch-9.whl").touch()
    (folder / "wheels").symlink_to(elsewhere)


def a_link_among_the_hub_files(folder):
    (folder.parent / "private").mkdir()
    (folder / "hub/two").symlink_to(folder.parent / "private")


def a_file_among_the_hub_files(folder):
    (folder / "hub/two").touch()
    record_again(folder)


def without_uv(folder):
    next((folder / "wheels").glob("uv-*")).unlink()
    record_again(folder)


def with_another_uv(folder):
    tiny_bundle.uv_wheel(folder / "wheels", b"#!/bin/sh\ntouch taken\n")
    record_again(folder)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (missing, r"is incomplete: wheels/a\.whl is missing"),
        (changed, r"is damaged: wheels/a\.whl"),
        (added, r"files that do not belong to it, such as wheels/torch-99\.whl"),
        (with_escape_codes, r"such as wheels/\\u001b\[31m\.whl"),
        (with_value("machine", "another\x1b[31m"), r"is for .* another\\u001b\[31m, and this is"),
        (with_value("easel", "another\x1b[31m"), r"was made by Easel another\\u001b\[31m"),
        (with_value("schema", "\x1b"), "is no complete bundle"),
        (with_value("files", []), "is no complete bundle"),
        (with_value("files", {"wheels/a.whl": "x"}), "is no complete bundle"),
        (with_value("python", 5), "is no complete bundle"),
        (with_value("engines", ["tiny"]), "is no complete bundle"),
        (with_value("engines", {"../../tiny": {"python": "3.12"}}), "is no complete bundle"),
        (with_value("engines", {"tiny": {"python": "/tmp/python"}}), "is no complete bundle"),
        (cut_short, "is no complete bundle"),
        (nested_deeply, "is no complete bundle"),
        (a_pipe_for_a_record, "is no complete bundle"),
        (a_pipe_for_a_package, r"wheels/a\.whl is no regular file"),
        (a_link_for_the_packages, "wheels is a link"),
        (a_link_among_the_hub_files, "hub/two is a link"),
        (a_file_among_the_hub_files, "hub/two should be a folder"),
        (without_uv, "does not have the uv that this Easel pins"),
        (with_another_uv, "does not have the uv that this Easel pins"),
    ],
)
def test_it_is_refused_and_nothing_is_taken_from_it(folder, home, change, said):
    change(folder)
    with pytest.raises(InstallError, match=said) as caught:
        from_bundle.use(folder, lambda _: None)
    assert "\x1b" not in str(caught.value)
    assert not [path for path in home.rglob("*") if path.name != "uv" and not path.is_dir()], "nothing was taken"
    assert change not in (without_uv, with_another_uv) or not home.exists()
    assert "UV_FIND_LINKS" not in os.environ


def test_a_uv_that_was_cut_off_or_replaced_is_brought_anew(folder, home):
    own = home / "tools/uv/bin/uv"
    from_bundle.use(folder, lambda _: None)
    first = own.stat()
    assert own.read_bytes() == tiny_bundle.PROGRAM
    assert os.access(own, os.X_OK)
    from_bundle.use(folder, lambda _: None)
    assert own.stat().st_ino == first.st_ino, "the same one stays"
    own.write_bytes(tiny_bundle.PROGRAM[:5])
    from_bundle.use(folder, lambda _: None)
    assert own.read_bytes() == tiny_bundle.PROGRAM
    own.unlink()
    own.symlink_to(home / "elsewhere")
    from_bundle.use(folder, lambda _: None)
    assert not (home / "elsewhere").exists(), "a link is replaced, not followed"
    assert [path.name for path in own.parent.iterdir()] == ["uv"]


def test_what_the_disk_refuses_is_said(folder, home):
    (home / "tools").mkdir(parents=True)
    (home / "tools/uv").touch()
    with pytest.raises(InstallError, match="cannot be used: Not a directory"):
        from_bundle.use(folder, lambda _: None)


def test_tokenizers_come_along_and_replace_none(folder, home):
    (folder / "hub/two").mkdir()
    (folder / "hub/two/vocab.json").write_text("packed")
    (folder / "hub/empty").mkdir()
    record_again(folder)
    mine = home / "models" / hub_files.TOKENIZERS / "two"
    mine.mkdir(parents=True)
    from_bundle.use(folder, lambda _: None)
    assert (mine.parent / "one/vocab.json").read_text() == "packed"
    assert list(mine.iterdir()) == []
    assert sorted(each.name for each in mine.parent.iterdir()) == ["one", "two"]

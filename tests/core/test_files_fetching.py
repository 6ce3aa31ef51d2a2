"""A link that is fetched into a folder by a job, and the command line for files."""

import hashlib
import json
import zipfile
from io import BytesIO

import pytest
from click.testing import CliRunner

from tests.support import misbehaving as bad
from tests.support.downloading import QUICK, SECRET, server, shared_server
from trainer_core.cli import easel
from trainer_core.errors import DownloadError, FilesError
from trainer_core.jobs.state import JobState
from trainer_core.keeping import bounds, fetching, trash
from trainer_core.keeping.fetching import Settings

__all__ = ["server", "shared_server"]
MODEL = bad.model()


def packed(*entries):
    file = BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in entries:
            archive.writestr(name, data)
    return file.getvalue()


def run(url, said=None, **more):
    return fetching.run(Settings(link="shown", **more), (said if said is not None else []).append, url, QUICK)


def test_a_zip_behind_a_link_is_fetched_and_unpacked(server):
    url = server.put("/sets/elena.zip", packed(("elena/a.png", b"a"), ("../evil", b"x")))
    bounds.folder(bounds.spot("datasets"))
    said = []
    path = run(url, said, root="datasets", unpacks=True)
    assert path == bounds.spot("datasets").path / "elena"
    assert [one.name for one in path.iterdir()] == ["a.png"]
    assert any("Unpacked 1 file into datasets/elena. 1 was left out." in line for line in said)
    assert "../evil: its name leads out of the folder." in said
    assert not path.with_suffix(".zip").exists()


def test_a_file_whose_name_is_taken_gets_a_number_and_says_its_hash(server):
    folder = bounds.folder(bounds.spot("datasets"))
    (folder / "words.txt").write_text("old")
    said = []
    assert run(server.put("/words.txt", b"new"), said, root="datasets").name == "words-2.txt"
    assert (folder / "words.txt").read_text() == "old"
    assert any(hashlib.sha256(b"new").hexdigest() in line for line in said)


def test_a_folder_outside_is_refused_before_anything_is_fetched(server):
    url = server.put("/a.zip", packed(("a", b"a")))
    for root, below in (("nothing", ""), ("models", "../.."), ("runs", "")):
        with pytest.raises(FilesError):
            run(url, root=root, below=below)


def test_a_path_is_no_link(server):
    with pytest.raises(DownloadError, match="not a link"):
        fetching.parse("/etc/passwd")


def test_the_job_fetches_a_model_and_keeps_no_secret(server, tmp_path, monkeypatch):
    monkeypatch.setenv("CIVITAI_TOKEN", "0123456789abcdef" * 2)
    bounds.folder(bounds.spot("models"))
    url = server.put("/files/mika.safetensors", MODEL)
    job = fetching.start(f"{url}?sig={SECRET}", bounds.spot("models"))
    assert job.wait(60) is JobState.COMPLETED, job.folder.log.read_text()
    path = bounds.spot("models").path / "mika.safetensors"
    assert path.read_bytes() == MODEL
    assert job.result["outputs"] == [str(path)]
    for file in (tmp_path / "home" / "jobs").rglob("*"):
        if file.is_file():
            assert SECRET.encode() not in file.read_bytes(), file
            assert b"0123456789abcdef" not in file.read_bytes(), file


def cli(*arguments):
    done = CliRunner().invoke(easel, [*arguments, "--json"])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, json.loads(done.output)


def test_files_are_brought_in_moved_deleted_and_restored_in_a_terminal(server, tmp_path):
    source = tmp_path / "elena.txt"
    source.write_text("caption")
    code, told = cli("upload", str(source), "--to", "datasets")
    assert (code, told["brought"][0]["sha256"]) == (0, hashlib.sha256(b"caption").hexdigest())
    assert cli("files", "new-folder", "datasets", "set")[0] == 0
    assert cli("files", "move", "datasets/elena.txt", "datasets/set")[1]["moved"][0]["file"] == "datasets/set/elena.txt"
    assert cli("files", "rename", "datasets/set/elena.txt", "two")[1]["file"] == "datasets/set/two.txt"
    assert [row["name"] for row in cli("files", "list", "datasets/set")[1]["entries"]] == ["two.txt"]
    assert cli("files", "delete", "datasets/set", "--yes")[0] == 0
    assert cli("files", "trash")[1]["trash"][0]["file"] == "datasets/set"
    assert cli("files", "restore", "set")[1]["file"] == "datasets/set"
    assert (bounds.spot("datasets").path / "set" / "two.txt").read_text() == "caption"
    assert cli("files", "zip", "datasets/set", "--to", "outputs")[1]["files"] == 1
    assert cli("files", "delete", "outputs/set.zip", "--yes")[0] == 0
    assert cli("files", "trash", "--empty", "--yes")[1]["bytes"] > 0
    assert trash.listed() == []
    assert source.read_text() == "caption"


@pytest.mark.parametrize(
    "arguments",
    [("list", "/etc"), ("list", "models/../.."), ("delete", "/etc/passwd", "--yes"), ("move", "/etc/passwd", "models"), ("rename", "models", "x"), ("restore", "nothing"), ("zip", "/etc/passwd")],
)  # fmt: skip
def test_a_command_for_a_file_elsewhere_is_refused_with_a_sentence(server, arguments):
    done = CliRunner().invoke(easel, ["files", *arguments, "--json"])
    assert isinstance(done.exception, FilesError)
    assert done.exception.message


def test_without_yes_nothing_is_deleted(server, tmp_path):
    source = tmp_path / "a.txt"
    source.write_text("a")
    cli("upload", str(source), "--to", "datasets")
    done = CliRunner().invoke(easel, ["files", "delete", "datasets/a.txt", "--json"])
    assert "Add --yes" in str(done.exception)
    assert (bounds.spot("datasets").path / "a.txt").exists()

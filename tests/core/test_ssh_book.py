"""The machines that have names here, and what neither the folder of a run nor a machine may decide."""

from __future__ import annotations

import json

import pytest

from tests.support import sshd
from trainer_core.cli import main
from trainer_core.errors import JobError
from trainer_core.remote.machines import book, carrier
from trainer_core.remote.machines.book import Entry
from trainer_core.remote.runs.notes import Notes


@pytest.fixture(scope="module")
def there():
    with sshd.machine() as made:
        yield made


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path):
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "home"))


def easel_command(*words):
    with pytest.raises(SystemExit) as ended:
        main(["remote", "machine", *words])
    return ended.value.code or 0


def test_the_folder_of_a_run_names_no_key_and_no_command():
    book.keep(Entry("box", "me@gpu", identity="/key", config="/dev/null", when_done=("true",)))
    target = carrier.kind.target("box")
    assert set(target) == {"kind", "name", "address", "easel"}
    evil = {**target, "config": "/tmp/evil", "identity": "/tmp/key", "when_done": ["rm"], "may_install": True}
    assert carrier.entry_of(evil) == book.find("box")
    other = carrier.entry_of({**evil, "address": "me@elsewhere"})
    assert (other.identity, other.config, other.when_done, other.may_install) == ("", "", (), False)
    with pytest.raises(JobError, match="is damaged"):
        carrier.entry_of({"kind": "ssh", "name": "box"})
    with pytest.raises(JobError, match="not the address"):
        str(carrier.entry_of({"name": "", "address": "-oProxyCommand=x", "easel": "easel"}).machine)


def test_names_of_files_that_a_machine_invents_are_refused(there, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    wrong = there.home / "wrong" / ".venv" / "bin"
    wrong.mkdir(parents=True, exist_ok=True)
    for name in ("../../.bashrc", "/etc/passwd", "output/../../x", "spec.json", "output/a\nb"):
        body = json.dumps({name: {"size": 1, "tag": "1", "sha256": ""}}).encode()
        answers = f"""#!{there.home}/easel/.venv/bin/python
import sys
from trainer_core.jobs.hosts.answering import serve
sys.exit(serve(lambda about, body: ({{}}, {body!r})))
"""
        (wrong / "python").write_text(answers)
        (wrong / "python").chmod(0o755)
        entry = Entry("", there.address, "wrong", str(there.key), "/dev/null")
        reached = carrier.SshCarrier(entry, "x-00000000", folder, Notes(folder))
        with pytest.raises(JobError, match=r"cannot be used|is no file that a run sends"):
            reached.files()
        with pytest.raises(JobError, match=r"cannot be used|is no file that a run sends"):
            reached.fetch(name, tmp_path / "target")
        reached.close()
    assert not (tmp_path / "target").exists()


def test_machines_have_names(tmp_path, capsys):
    key = tmp_path / "key"
    key.touch()
    options = ("--identity", str(key), "--install", "--when-done", "runpodctl stop pod $ID")
    assert easel_command("save", "box", "me@gpu:22022", *options) == 0
    assert "--on ssh:box" in capsys.readouterr().out
    assert book.find("box") == Entry(
        "box", "me@gpu:22022", "easel", str(key), "", True, ("runpodctl", "stop", "pod", "$ID")
    )
    assert book.path().stat().st_mode & 0o077 == 0
    easel_command("list", "--json")
    (row,) = json.loads(capsys.readouterr().out)
    assert row["when_done"] == ["runpodctl", "stop", "pod", "$ID"]
    assert carrier.kind.shown(carrier.kind.target("box")) == "box"
    easel_command("forget", "box")
    assert book.read() == {}
    for words in (
        ["save", "../x", "me@gpu"],
        ["save", "box", "-oProxyCommand=x"],
        ["forget", "box"],
        ["save", "b", "c", "--when-done", "'"],
    ):
        assert easel_command(*words) == 2
    book.path().write_text("[1]")
    with pytest.raises(JobError, match="cannot be read"):
        book.read()

"""Records that are damaged, are pipes, or have impossible numbers are no records: nothing fails, and nothing waits."""

from __future__ import annotations

import json
import os

import pytest

from tests.support import machines
from trainer_core.doctor.case import Case
from trainer_core.doctor.checks import jupyter_servers, network
from trainer_core.files import read_texts
from trainer_core.install import hub_reach, installed, jupyter, trials

DEEP = "[" * 200_000


def pipe(path):
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def test_the_record_of_an_engine(tmp_path):
    record = tmp_path / "installed.json"
    record.write_text(DEEP)
    assert installed.read_record(tmp_path) is None
    pipe(record)
    assert installed.read_record(tmp_path) is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"details": []},
        {"details": None},
        {"version": 5},
        {"fingerprint": {}},
        {"id": 5},
        # Its Python would be that of another folder.
        {"id": "simpletuner"},
        {"id": "../kohya"},
    ],
)
def test_the_record_of_an_engine_with_other_types_or_of_another_engine(tmp_path, monkeypatch, wrong):
    monkeypatch.setenv("EASEL_HOME", str(tmp_path))
    record = machines.install("kohya", "registry", "cuda", "2.10.0").home / "installed.json"
    assert installed.installed("kohya") is not None
    machines.install("simpletuner", "registry", "cuda", "2.10.0")
    (tmp_path / "kohya").symlink_to(record.parent)
    record.write_text(json.dumps({**json.loads(record.read_text()), **wrong}))
    assert installed.installed("kohya") is None


@pytest.mark.parametrize("text", ["[]", "5", '{"python": 5}', DEEP])
def test_a_record_of_texts_that_is_none(tmp_path, text):
    (tmp_path / "state.json").write_text(text)
    assert read_texts(tmp_path / "state.json") == {}


def test_the_trials_of_an_engine(tmp_path, monkeypatch):
    monkeypatch.setenv("EASEL_HOME", str(tmp_path))
    engine = installed.InstalledEngine("rehearsal", *[""] * 9)
    record = engine.home / "trials.json"
    record.parent.mkdir(parents=True)
    record.write_text(DEEP)
    assert not trials.load(engine, "", {})["optimizers"]
    pipe(record)
    assert not trials.load(engine, "", {})["optimizers"]


def test_the_records_of_jupyter_servers(tmp_path, monkeypatch):
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))
    (tmp_path / "jpserver-1.json").write_text(DEEP)
    (tmp_path / "jpserver-2.json").write_text('{"pid": 99999999999999999999999}')
    pipe(tmp_path / "jpserver-3.json")
    for number, text in enumerate(('{"pid": true}', '{"pid": -1}', f'{{"pid": {os.getpid()}, "url": 5}}', "[]")):
        (tmp_path / f"jpserver-1{number}.json").write_text(text.replace("{", f'{{"root_dir": "{tmp_path}", ', 1))
    assert str(tmp_path) not in str([each.root for each in jupyter.servers()])
    folder = f"{tmp_path}/Ida Ek"
    (tmp_path / "jpserver-4.json").write_text(json.dumps({"pid": os.getpid(), "url": "http://x/", "root_dir": folder}))
    assert folder in [each.root for each in jupyter.servers()]
    assert folder in [path for each in jupyter_servers.jupyter_servers(Case()) for path in each.private]


@pytest.mark.parametrize(
    "address", ["http://[bad", "mirror.example:8080", "//mirror.example", "http://x:99999", "\udcff"]
)
def test_an_address_of_the_hub_that_is_none(address, monkeypatch):
    assert not hub_reach.is_address(address)
    monkeypatch.setenv("HF_ENDPOINT", address)
    assert not hub_reach.answers(address)
    found = next(network.hub(Case()))
    assert (found.state, "not the address of a server" in found.found) == ("notice", True)


def test_a_mirror_is_an_address():
    assert all(map(hub_reach.is_address, (hub_reach.HUB, "http://10.1.2.3:9/x", "http://[::1]:8/")))

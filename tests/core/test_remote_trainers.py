"""What a trainer sends is not trusted: names, sizes, texts and contents are refused in functions. And the parts of remote runs."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from tests.support.remote_runs import Homes
from trainer_core.engines import registry
from trainer_core.errors import JobError
from trainer_core.events import Notice, Phase, Step
from trainer_core.jobs.folder import DiskError
from trainer_core.jobs.heard import Places
from trainer_core.jobs.journal import Copied, Journal
from trainer_core.plan.sections import TrainingPlan
from trainer_core.remote.runs import fetching, grown, kind, mirror, names, starting
from trainer_core.remote.runs.carrier import FileThere, NotNow
from trainer_core.remote.runs.contract import check_carrier_contract
from trainer_core.remote.runs.known import Known
from trainer_core.remote.runs.names import Names
from trainer_core.remote.runs.notes import Notes
from trainer_core.remote.runs.request import Request, changed, checked_id, new_id, paths_of
from trainer_core.remote.runs.target import Remote, named

ID = "20261130-101500-elena-0123abcd"


class Sent:
    """A trainer whose files a test has written."""

    def __init__(self, events=b"", log=b"", files=None, contents=None):
        self.sent = {"events.jsonl": events, "engine.log": log}
        self.listed, self.contents, self.piece = files or {}, contents or {}, 1 << 20

    def read(self, name, offset):
        return self.sent.get(name, b"")[offset : offset + self.piece]

    def files(self):
        return self.listed

    def fetch(self, name, target):
        fetching.fetch(self.listed[name], target, lambda offset, take: take(self.contents[name][offset:]))


@pytest.fixture
def run(tmp_path):
    (tmp_path / "run" / "remote").mkdir(parents=True)
    (tmp_path / "run" / "output").mkdir()
    return tmp_path / "run"


@pytest.fixture
def accepted(tmp_path):
    plan = TrainingPlan.model_validate({"output": {"name": "elena"}, "schedule": {"steps": 5}})
    from trainer_core.install.place import place_for

    backend = registry.get("rehearsal")
    return Names(backend.render(plan, place_for(backend, tmp_path)).artefacts)


def copied(run, sent, accepted, known=None):
    log = os.open(run / "engine.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    return mirror.Mirror(run, sent, known or Known(), accepted, log)


@pytest.mark.parametrize(
    "name",
    [
        "../elena.safetensors",
        "output/../../elena.safetensors",
        "output/../elena.safetensors",
        "/etc/elena.safetensors",
        "output//elena.safetensors",
        "output/./elena.safetensors",
        "output\\..\\elena.safetensors",
        "output/elena.safetensors\0",
        "output/elena\n.safetensors",
        "output/\u202eelena.safetensors",
        "output/.easel-0123.part",
        "output/evil.pkl",
        "output/other.safetensors",
        "output/elena.safetensors/../../x",
        "spec.json",
        "output",
        "output/" + "a" * 300,
        "output/sample/../elena.safetensors",
        7,
        None,
    ],
)
def test_a_name_that_the_engine_does_not_write_is_refused(accepted, name):
    assert not accepted.accepts(name)


def test_the_names_that_the_engine_writes_are_accepted(accepted):
    for name in ("elena.safetensors", "elena-step00000010.safetensors", "sample/elena_000010_00_1.png"):
        assert accepted.accepts(f"output/{name}"), name


def test_a_link_in_the_run_folder_leads_nothing_out_of_it(run, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (run / "output" / "sample").symlink_to(outside)
    assert names.place(run, "output/sample/x.png") is None
    (run / "output" / "x.safetensors").symlink_to(outside / "x")
    assert names.place(run, "output/x.safetensors") is None
    shutil.rmtree(run / "output")
    (run / "output").symlink_to(outside)
    assert names.place(run, "output/x.safetensors") is None
    assert not list(outside.iterdir())


def test_a_file_of_a_trainer_that_is_not_accepted_is_named_once_and_not_fetched(run, accepted):
    bad, good = "output/../../../x.safetensors", "output/elena.safetensors"
    events = json.dumps({"kind": "checkpoint", "path": bad, "step": 3}).encode() + b"\n"
    known = Known()
    here = copied(run, Sent(events=events), accepted, known)
    here.pull()
    listed = {bad: FileThere(3, "t"), good: FileThere(3, "t")}
    assert here.due(listed, all_of_them=True) == [good]
    assert here.due(listed, all_of_them=True) == [good]
    assert len(known.notices) == 1
    assert "does not accept" in known.notices[0]


def test_a_file_that_is_larger_than_the_disk_is_not_fetched(run):
    with pytest.raises(DiskError, match="free"):
        mirror.fetch(run, Sent(), "output/elena.safetensors", FileThere(1 << 43, "t"))
    for row in (
        {"size": 1 << 60, "tag": "t", "sha256": ""},
        {"size": -1, "tag": "t", "sha256": ""},
        [],
        {"size": True},
    ):
        with pytest.raises(JobError):
            fetching.file_there(row)


def test_a_file_that_grows_or_is_other_bytes_on_its_way_is_refused_and_removed(tmp_path):
    target, there = tmp_path / "elena.safetensors", FileThere(4, "t", "0" * 64)
    with pytest.raises(fetching.DamagedError):
        fetching.fetch(there, target, lambda _, take: take(b"12345"))
    with pytest.raises(fetching.DamagedError):
        fetching.fetch(there, target, lambda _, take: take(b"1234"))
    assert not target.exists()
    with pytest.raises(NotNow):
        fetching.fetch(FileThere(4, "t"), target, lambda _, take: take(b"12"))
    fetching.fetch(FileThere(4, "t"), target, lambda offset, take: take(b"1234"[offset:]))
    assert target.read_bytes() == b"1234"


def test_events_without_end_and_endless_lines_are_refused(run, accepted, monkeypatch):
    monkeypatch.setattr(mirror, "LARGEST_EVENTS_BYTES", 1000)
    sent = Sent(events=b"x\n" * 1000)
    here = copied(run, sent, accepted)
    sent.piece = 500
    for _ in range(3):
        here.pull()
    with pytest.raises(mirror.GrownTooLargeError):
        here.pull()
    monkeypatch.setattr(mirror, "SMALL_BYTES", 100)
    (run / "remote" / "events.jsonl").unlink()
    with pytest.raises(mirror.GrownTooLargeError):
        copied(run, Sent(events=b"x" * 400), accepted).pull()


@pytest.mark.parametrize("cut", [0, 1, 5, 10])
def test_a_log_is_copied_once_wherever_the_copying_was_cut(run, accepted, cut):
    known = Known()
    (run / "engine.log").write_bytes(b"own line\n" + b"0123456789"[:cut])
    known.log = [0, 9, 10]
    sent = Sent(log=b"0123456789abc")
    here = copied(run, sent, accepted, known)
    while here.pull():
        pass
    assert (run / "engine.log").read_bytes() == b"own line\n0123456789abc"
    assert Known.read(run).log[0] == 13


def test_events_of_another_file_are_copied_once_also_after_a_restart(tmp_path):
    path = tmp_path / "events.jsonl"
    journal = Journal(path)
    rows = [
        Copied(10, 100.0, Phase("training")),
        Copied(20, 101.0, Step(1, 0.5)),
        Copied(30, 90.0, Notice("info", "x")),
    ]
    journal.copy(rows[:2])
    journal.close()
    again = Journal.reopen(path, Places())
    assert again.place == 20
    again.copy([row for row in rows if row.place > again.place])
    again.copy([Copied(40, None, Phase("saving")), Copied(50, None, Phase("training"))])
    again.close()
    found = [json.loads(line) for line in path.read_text().splitlines()]
    assert [row["place"] for row in found] == [10, 20, 30, 40, 50]
    assert [row["time"] for row in found][:3] == [100.0, 101.0, 101.0], "times do not go back"


def test_a_torn_line_of_a_copied_event_is_written_again(tmp_path):
    path = tmp_path / "events.jsonl"
    journal = Journal(path)
    journal.copy([Copied(10, 100.0, Step(1, 0.5)), Copied(20, 101.0, Step(2, 0.5))])
    journal.close()
    path.write_bytes(path.read_bytes()[:-9])
    again = Journal.reopen(path, Places())
    assert again.place == 10
    again.copy([Copied(20, 101.0, Step(2, 0.5))])
    again.close()
    steps = [json.loads(line)["step"] for line in path.read_text().splitlines() if line.endswith("}")]
    assert steps == [1, 2]


def test_texts_of_a_trainer_are_shown_as_text_and_kept_short():
    line = json.dumps({"kind": "phase", "name": "\x1b[31m<script>" + "x" * 5000, "detail": "y" * 5000}).encode()
    event, _ = kind._event(line)
    assert isinstance(event, Phase)
    assert "\x1b" not in event.name
    assert len(event.name) <= 70
    assert len(event.detail) <= 320


@pytest.mark.parametrize(
    "wrong",
    [
        b"",
        b"[]",
        b"{",
        b'{"version": 1}',
        b'{"version": 2, "id": "a-01234567", "engine": "kohya", "plan": {}, "chosen": {}}',
        b'{"version": true, "id": "a-01234567", "engine": "kohya", "plan": {}, "chosen": {}}',
        b'{"version": 1, "id": "../a-01234567", "engine": "kohya", "plan": {}, "chosen": {}}',
        b'{"version": 1, "id": "a-01234567", "engine": "../x", "plan": {}, "chosen": {}}',
        b'{"version": 1, "id": "a-01234567", "engine": "kohya", "plan": {"x": 1}, "chosen": {}}',
        b'{"version": 1, "id": "a-01234567", "engine": "kohya", "plan": {}, "chosen": {"evil": "x"}}',
        b'{"version": 1, "id": "a-01234567", "engine": "kohya", "plan": {}, "chosen": {"profile": 1}}',
        b'{"version": 1, "id": "a-01234567", "engine": "kohya", "plan": {"a": {"b": NaN}}, "chosen": {}}',
        b'{"version": 1, "id": "a-01234567", "engine": "kohya", "plan": {}, "chosen": {}, "more": 1}',
        b"[" * 100_000,
    ],
)
def test_what_is_no_request_is_refused(wrong):
    with pytest.raises(JobError):
        Request.from_json(wrong)


def test_a_request_has_the_paths_of_the_trainer_and_no_folder_of_results():
    plan = {
        "model": {"path": "/m/base.safetensors", "vae": "/m/vae.safetensors"},
        "dataset": {"path": "/i/a", "subsets": [{"path": "/i/b", "masks": "/i/m", "repeats": 2}]},
        "output": {"folder": "/o", "copy_to": "/c", "name": "elena"},
    }
    assert [one.key for one in paths_of(plan, "rehearsal")] == [
        "model.path", "model.vae", "dataset.path", "dataset.subsets.0.path", "dataset.subsets.0.masks",
    ]  # fmt: skip
    made = changed(plan, "rehearsal", lambda one: f"/there/{one.key}")
    assert made["output"] == {"name": "elena"}
    assert made["dataset"]["subsets"] == [
        {"path": "/there/dataset.subsets.0.path", "masks": "/there/dataset.subsets.0.masks", "repeats": 2}
    ]
    request = Request(ID, "rehearsal", made, {"profile": "plain"})
    assert Request.from_json(request.to_json()) == request
    assert checked_id(new_id("x" * 300))
    own = {"native": {"kohya": {"vae": "/m/v", "seed": 1}}}
    weights = [one.key for one in paths_of(own, "kohya")]
    assert set(weights) <= {"native.kohya.vae"}


def test_a_file_that_grows_is_written_and_read_in_parts(tmp_path, monkeypatch):
    monkeypatch.setattr(grown, "PART_BYTES", 10)
    stored: dict[str, bytes] = {}
    written: list[str] = []

    def put(name: str, content: bytes) -> None:
        written.append(name)
        stored[name] = content

    file, content, done = tmp_path / "engine.log", bytes(range(95)), 0
    assert grown.write_grown(put, "engine.log", file, 0) == 0
    for size in (0, 3, 10, 11, 40, 95, 95):
        file.write_bytes(content[:size])
        done = grown.write_grown(put, "engine.log", file, done)
        assert done == size
        for offset in range(size + 1):
            found = b""
            while piece := grown.read_grown(stored.get, "engine.log", offset + len(found)):
                found += piece
            assert found == content[offset:size]
    assert written.count("engine.log") == 2, "a full part is not written again"


def test_what_is_written_while_a_part_is_uploaded_belongs_to_that_part(tmp_path, monkeypatch):
    monkeypatch.setattr(grown, "PART_BYTES", 10)
    stored: dict[str, bytes] = {}
    file, content, done = tmp_path / "engine.log", b"", 0

    def put(name: str, piece: bytes) -> None:
        nonlocal content
        stored[name] = piece
        if len(content) < 24:
            content += b"xy"
            file.write_bytes(content)

    file.write_bytes(content := b"abc")
    for _ in range(12):
        done = grown.write_grown(put, "engine.log", file, done)
    found = b""
    while piece := grown.read_grown(stored.get, "engine.log", len(found)):
        found += piece
    assert found == content
    assert done == len(content)


@pytest.fixture
def homes(tmp_path, monkeypatch):
    made = Homes(tmp_path, monkeypatch)
    yield made
    made.close()


def test_a_trainer_is_named_in_short_or_as_json(homes):
    assert named(f"home:{homes.there}") == homes.target
    assert named(json.dumps({"kind": "home", "home": "/x", "faults": "/y"}))["home"] == "/x"
    for wrong in ("home:", "home:relative", "pigeon:x", "{", '{"a": 1}', ""):
        with pytest.raises(JobError) as found:
            named(wrong)
        assert found.value.is_wrong_use or "Known" in str(found.value)
    with pytest.raises(JobError):
        Remote.from_dict({"version": 1, "id": "../../x-01234567", "target": {"kind": "home"}})


def test_the_carrier_of_the_tests_keeps_the_contract(homes, tmp_path):
    run = starting.prepared(homes.bench(steps_per_second=0), homes.target)
    remote = Remote.of(run.folder.path)
    (tmp_path / "fetched").mkdir()
    check_carrier_contract(lambda: remote.carrier(run.folder.path), tmp_path / "fetched")
    assert Notes(run.folder.path).read() == {}
    assert Path(homes.there, "remote-runs", remote.id).is_dir()

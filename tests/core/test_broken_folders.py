"""Damaged job folders, endless files and odd paths: nothing hangs, and one of them hides no other job."""

import os
import time

import pytest

from tests.support.commands import prepared
from tests.support.played import ended
from trainer_core import places
from trainer_core.datasets import caption_text
from trainer_core.engines import diagnosis
from trainer_core.errors import RunError
from trainer_core.jobs import tail
from trainer_core.jobs.folder import JobFolder
from trainer_core.jobs.hosts.local import LOCAL
from trainer_core.plan.names import as_file_name
from trainer_core.prepare import paths
from trainer_core.training import saved_plan
from trainer_core.training.results import validation_of
from trainer_core.training.run import Run


@pytest.mark.parametrize("name", ["spec.json", "result.json", "versions.json", "events.jsonl"])
def test_a_pipe_or_a_deep_file_in_a_job_folder_ends_no_listing(tmp_path, name):
    run = ended(tmp_path, steps=2)
    file = run.folder.path / name
    file.unlink(missing_ok=True)
    os.mkfifo(file)
    assert JobFolder(run.folder.path).read(name) is None
    assert LOCAL.read(file) == (b"", 0)
    file.unlink()
    file.write_text("[" * 300_000 + "\n")
    assert JobFolder(run.folder.path).read(name) is None
    assert run.summary is not None
    file.unlink()
    file.symlink_to("/dev/zero")
    assert JobFolder(run.folder.path).read(name) is None


def test_no_reader_of_a_job_folder_follows_a_link_out_of_it(tmp_path):
    job = prepared(tmp_path / "jobs", "print(1)")
    outside = tmp_path / "private"
    outside.write_text('{"kind": "validation", "step": 1, "loss": 0.5, "time": 1, "name": "OUTSIDE"}\n')
    for name in ("engine.log", "runner.log", "events.jsonl", "plan.toml", "labels.json"):
        (job.folder.path / name).symlink_to(outside)
    assert job.log.read() == []
    assert tail.last_lines(job.folder.log) == []
    assert tail.search(job.folder.log, "OUTSIDE")[0] == []
    assert job.events() == ([], 0)
    assert job.folder.read("labels.json") is None
    run = Run.attach(job.folder.path)
    assert validation_of(run) == {}
    with pytest.raises(RunError, match="is a link"):
        _ = run.folder.plan
    with pytest.raises(RunError, match="is a link"):
        saved_plan.save_plan(run, tmp_path / "copies")


def test_a_caption_of_bars_is_read_quickly():
    started = time.process_time()
    assert not caption_text.has_choices("ohwx {" + "|" * 1_000_000)
    assert caption_text.has_choices("a {red|blue} hat")
    assert time.process_time() - started < 1


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("CON", "CON-"),
        ("con.txt", "con.txt-"),
        ("a\u202eb", "ab"),
        ("a\u0085b", "a-b"),
        ("console", "console"),
        ("..", ""),
    ],
)
def test_a_file_name_is_valid_on_every_system(text, name):
    assert as_file_name(text) == name


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("''", ""),
        ("'file:///tmp/a%20b'", "/tmp/a b"),
        ("file://localhost/tmp/x", "/tmp/x"),
        ("FILE:///tmp/x", "/tmp/x"),
        ("file:///tmp/%ff", "/tmp/\udcff"),
        ("file.txt", "file.txt"),
    ],
)
def test_what_is_copied_as_a_path_is_one(text, path):
    assert places.unquoted(text) == path


@pytest.mark.parametrize("folder", ["/proc/x", "c" * 300, "o\0"])
def test_a_folder_that_cannot_be_created_is_not_writable(tmp_path, folder):
    values = {"output.folder": str(tmp_path / folder), "output.prefix": "", "output.name": "a"}
    from trainer_core.plan import fields

    every = {path: setting.default for path, setting in fields.all_fields().items()} | values
    assert not paths.look(every)["output.folder"].is_writable
    assert paths.look(every | {"output.folder": str(tmp_path / "new")})["output.folder"].is_writable


def test_a_quoted_line_has_no_secrets():
    line = f"401 for https://user:secret@host/x with hf_{'a' * 30}"
    assert diagnosis.quoted(line) == "401 for https://host/x with [token]"

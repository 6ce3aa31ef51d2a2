"""Deleting runs: into a trash, with nothing lost, and nothing else touched."""

from __future__ import annotations

import json
import os

import pytest

from tests.support import queued
from tests.support.played import start, until
from tests.support.written_runs import write_run
from trainer_core import places
from trainer_core.errors import EaselError
from trainer_core.jobs.queueing import requests
from trainer_core.jobs.state import JobState
from trainer_core.training import trash

bench = queued.bench


@pytest.fixture
def run(bench):
    return write_run("20260101-100000-a")


def test_a_deleted_run_can_be_restored_as_it_was(run):
    before = sorted(path.relative_to(run) for path in run.rglob("*"))
    target = trash.delete(run)
    assert not run.exists()
    assert target.parent == places.trash()
    assert [one.run for one in trash.trashed()] == [run.name]
    assert trash.restore(run.name) == run
    assert sorted(path.relative_to(run) for path in run.rglob("*")) == before
    assert trash.trashed() == []


def test_emptying_removes_only_what_is_in_the_trash(run, tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    (images / "a.png").write_bytes(b"mine")
    (run / "dataset").mkdir()
    (run / "dataset" / "1-a.png").symlink_to(images / "a.png")
    (run / "linked").symlink_to(images)
    other = write_run("20260102-100000-b")
    trash.delete(run)
    (places.trash() / "link").symlink_to(images)
    assert [one.run for one in trash.empty()] == [run.name]
    assert (images / "a.png").read_bytes() == b"mine"
    assert other.exists()
    with pytest.raises(EaselError, match="No deleted run"):
        trash.empty(("../runs",))


def test_what_stays_and_what_exists_only_in_the_run_is_said(run, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    for name, content in (("mika", b"final"), ("mika-step00000050", b"early"), ("mika-step00000100", b"later")):
        (run / "output" / f"{name}.safetensors").write_bytes(content)
    os.link(run / "output" / "mika.safetensors", out / "mika.safetensors")
    (out / "mika-step00000050.safetensors").write_bytes(b"early")
    taken = {"output/mika-step00000050.safetensors": str(out / "mika-step00000050.safetensors")}
    (run / "delivered.json").write_text(json.dumps(taken))
    listed = [str(out / "mika.safetensors"), str(out / "gone.safetensors")]
    (run / "result.json").write_text(json.dumps({"state": "COMPLETED", "outputs": listed}))
    found = trash.look(run)
    assert [path.name for path in found.kept] == ["mika.safetensors", "mika-step00000050.safetensors"]
    assert [path.name for path in found.only_here] == ["mika-step00000100.safetensors"]
    trash.delete(run)
    assert sorted(path.name for path in out.iterdir()) == ["mika-step00000050.safetensors", "mika.safetensors"]


def test_a_delivered_file_with_other_metadata_does_not_exist_only_in_the_run(run, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    rows = []
    for name, step in (("mika-step00000050", 50), ("mika-step00000060", 60)):
        (run / "output" / f"{name}.safetensors").write_bytes(b"weights")
        (out / f"{name}.safetensors").write_bytes(b"weights and metadata")
        place = str(out / f"{name}.safetensors")
        rows.append({"path": f"output/{name}.safetensors", "step": step, "ok": True, "delivered": place})
    (run / "output" / "mika.safetensors").write_bytes(b"final")
    (out / "mika.safetensors").write_bytes(b"final and metadata")
    listed = [str(out / "mika.safetensors"), *(row["delivered"] for row in rows)]
    (run / "result.json").write_text(json.dumps({"state": "COMPLETED", "outputs": listed, "checkpoints": rows}))
    taken = {row["path"]: row["delivered"] for row in rows}
    (run / "delivered.json").write_text(json.dumps(taken))
    assert trash.look(run).only_here == ()
    (out / "mika-step00000060.safetensors").unlink()
    assert [path.name for path in trash.look(run).only_here] == ["mika-step00000060.safetensors"]
    (out / "mika.safetensors").unlink()
    assert len(trash.look(run).only_here) == 2


def test_a_run_that_another_continues_is_deleted_only_with_force(run):
    write_run("20260102-100000-b", versions={"resumes": {"run": run.name, "folder": str(run)}})
    with pytest.raises(EaselError, match="20260102-100000-b"):
        trash.delete(run)
    trash.delete(run, force=True)
    assert not run.exists()


def test_a_live_or_waiting_run_is_not_deleted(bench, tmp_path):
    requests.pause()
    waiting = bench.queued()
    with pytest.raises(EaselError, match="queue cancel"):
        trash.delete(waiting.folder.path)
    running = start(tmp_path / "x", steps=40_000)
    places.runs().joinpath("link").symlink_to(running.folder.path)
    live = bench.prepared(steps=40_000)
    live.launch()
    with pytest.raises(EaselError, match="runs stop"):
        trash.delete(live.folder.path)
    live.stop(1.0)
    running.stop(1.0)
    trash.delete(live.folder.path)


def test_a_lost_run_whose_program_still_runs_is_not_deleted(bench):
    run = bench.prepared(steps=40_000)
    run.launch()
    until((run.folder.path / "engine.json").exists)
    os.kill(run.folder.read("runner.json")["pid"], 9)
    until(lambda: run.state is JobState.LOST)
    with pytest.raises(EaselError, match="runs stop"):
        trash.delete(run.folder.path)


def test_only_run_folders_in_the_folder_of_runs_are_deleted(run, tmp_path):
    outside = write_run("20260103-100000-c", folder=tmp_path / "elsewhere")
    (places.runs() / "link").symlink_to(outside)
    (places.runs() / "plain").mkdir()
    (places.runs() / "file").write_text("x")
    refused = [outside, places.runs() / "link", places.runs() / "plain", places.runs() / "file", places.runs()]
    refused += [run / "output", run / ".." / run.name, places.runs() / ".." / "runs" / run.name, places.home()]
    for path in refused:
        with pytest.raises(EaselError):
            trash.delete(path)
    assert outside.exists()
    assert run.exists()


def test_a_record_in_the_trash_cannot_lead_a_run_elsewhere(run):
    target = trash.delete(run)
    (target / "trashed.json").write_text(json.dumps({"run": "../../escaped", "deleted": "x"}))
    assert trash.restore(target.name) == run

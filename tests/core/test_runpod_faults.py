"""Every row of the table of faults: what Easel does, and that the run goes on when the fault is over. docs/remote-faults.md has the same rows."""

from __future__ import annotations

import json
import traceback

import pytest

from tests.support import runpod_runs
from tests.support.buckets import KEYS
from tests.support.checkout import ROOT
from tests.support.runpod_faults import ROWS, Scene
from tests.support.runpod_runs import Worker
from tests.support.runpod_twin import KEY
from trainer_core.errors import EaselError
from trainer_core.remote.patience import Patience
from trainer_core.remote.runpod import carrier as carriers
from trainer_core.remote.runs.carrier import is_passing

WORDS = {
    "passing": "asked again",
    "refused": "the user must act",
    "waiting": "waits",
    "running": "goes on",
    "ended": "ended",
    "lost": "lost",
}
DOCUMENT = ROOT / "docs" / "remote-faults.md"


@pytest.fixture
def scene(monkeypatch, tmp_path):
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(carriers, "BRIEF", Patience(attempts=2, first_wait_s=0.01, longest_wait_s=2.0, read_s=5.0))
    with runpod_runs.cloud(monkeypatch) as cloud:
        folder, run = runpod_runs.prepared(tmp_path)
        carrier = cloud.carrier(folder, run)
        carrier.begin(lambda _: None)
        worker = Worker(cloud).take()
        assert worker.begin()
        worker.step(1)
        yield Scene(cloud, worker, carrier, folder)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_fault(scene, row):
    row.go_wrong(scene)
    said = ""
    try:
        seen = scene.carrier.state()
        then, said = seen.phase, seen.sentence
    except EaselError as error:
        chain = "".join(traceback.format_exception(error))
        assert not any(secret in chain for secret in (KEY, *KEYS.values())), "a secret is in an error"
        then, said = "passing" if is_passing(error) else "refused", str(error)
    assert then == row.then, said
    told = scene.cloud.place.plain.list_objects_v2(Bucket=scene.cloud.place.name, Prefix=f"{scene.worker.prefix}result")
    if row.then == "ended" and told.get("Contents"):
        said += scene.cloud.place.get(f"{scene.worker.prefix}result.json").decode()
    assert row.says in said, said
    row.well(scene)
    if row.goes_on:
        assert scene.carrier.state().phase == "running"
        scene.worker.step(2)
        scene.worker.end()
        assert scene.carrier.state().phase == "ended"
    assert len(scene.cloud.twin.jobs) <= 1, "nothing is paid for twice"


@pytest.mark.parametrize(("row", "state"), [("killed", "FAILED"), ("time-over", "FAILED"), ("cancelled", "CANCELLED")])
def test_a_run_that_its_worker_cannot_end_has_a_result_that_says_why(scene, row, state):
    next(each for each in ROWS if each.id == row).go_wrong(scene)
    assert scene.carrier.state().phase == "ended"
    result = json.loads(scene.carrier.read("result.json", 0))
    assert result["state"] == state
    assert result["document"]["status"] == "failed"
    if state == "FAILED":
        assert result["diagnosis"]["cause"]
        assert result["diagnosis"]["advice"]


def test_a_checkpoint_survives_cuts_and_is_never_half_there(scene, tmp_path):
    content = bytes(range(256)) * 8192
    scene.worker.put("output/cg_mika-step00000010.safetensors", content)
    name, target = "output/cg_mika-step00000010.safetensors", tmp_path / "here.safetensors"
    for cut in (1000, 500_000):
        scene.cloud.place.network.fault(method="GET", path="step00000010", cut_answer=cut)
        scene.cloud.place.network.fault(method="GET", path="step00000010", times=9, cut_answer=0)
        with pytest.raises(EaselError) as error:
            scene.carrier.fetch(name, target)
        assert is_passing(error.value)
        assert not target.exists()
        scene.cloud.place.network.faults.clear()
    scene.carrier.fetch(name, target)
    assert target.read_bytes() == content


def test_a_checkpoint_that_is_damaged_on_the_way_is_not_accepted(scene, tmp_path):
    scene.worker.put("output/a.safetensors", b"weights" * 100)
    scene.cloud.place.network.fault(method="GET", path="output/a.safetensors", times=9, flip=True)
    with pytest.raises(EaselError):
        scene.carrier.fetch("output/a.safetensors", tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_names_that_lead_out_of_the_run_are_left_out(scene):
    for name in ("output/../../evil", "output/a\\b", "output//x", "finished/ok.safetensors"):
        scene.cloud.place.put(f"{scene.worker.prefix}{name}", b"x")
    assert list(scene.carrier.files()) == ["finished/ok.safetensors"]


def test_the_document_has_the_rows_of_the_table():
    lines = DOCUMENT.read_text(encoding="utf-8").splitlines()
    wanted = [f"| {row.what} | {row.does} | {WORDS[row.then]} |" for row in ROWS]
    missing = [line for line in wanted if line not in lines]
    assert not missing, "write these rows into docs/remote-faults.md:\n" + "\n".join(missing)

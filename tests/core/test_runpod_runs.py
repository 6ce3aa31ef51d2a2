"""Runs on RunPod from their start to the LoRA here: the follower and the real worker with RunPod's own library, on this machine."""

from __future__ import annotations

import pytest

from tests.support import runpod_runs, runpod_worker
from tests.support.runpod_twin import ENDPOINT, KEY
from trainer_core.jobs.state import JobState
from trainer_core.plan.sections import TrainingPlan
from trainer_core.remote import credentials
from trainer_core.remote.runpod.connection import BASE_URL_NAME
from trainer_core.remote.runs import starting
from trainer_core.remote.runs.target import named

LIMIT_S = 120.0


@pytest.fixture
def worker(monkeypatch, tmp_path):
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    with runpod_worker.running(tmp_path / "worker") as found:
        for name in credentials.KNOWN:
            monkeypatch.delenv(name, raising=False)
        for name, value in {**found.place.environment, "RUNPOD_API_KEY": KEY, BASE_URL_NAME: found.twin.url}.items():
            monkeypatch.setenv(name, value)
        yield found


def plan(tmp_path, steps=30, **player):
    folder = tmp_path / "10_mika"
    if not folder.is_dir():
        runpod_runs.images(folder, 4)
    tables = {
        "model": {"path": "runpod-volume:checkpoints/sd15.safetensors", "family": "sd15"},
        "dataset": {"path": str(folder), "trigger": "mika"},
        "network": {"rank": 4, "alpha": 2.0},
        "schedule": {"steps": steps},
        "output": {"name": "mika", "folder": str(tmp_path / "loras"), "save_every_steps": 10},
        "native": {"rehearsal": {"steps_per_second": 200.0, **player}},
    }
    return TrainingPlan.model_validate(tables)


def started(worker, tmp_path, **player):
    target = named(f"runpod:{ENDPOINT}@s3://{worker.place.name}/team/")
    tables = plan(tmp_path, **player).model_dump(exclude_none=True)
    bench = starting.bench_of("rehearsal", tables)
    bench.set({"output.folder": tables["output"]["folder"]})
    return starting.start(bench, target)


def test_a_lora_is_trained_on_runpod_and_delivered_here(worker, tmp_path):
    run = started(worker, tmp_path)
    assert run.wait(LIMIT_S) is JobState.COMPLETED, (
        run.diagnosis,
        run.folder.log.read_text()[-2000:],
        worker.said[-2000:],
    )
    assert (tmp_path / "loras" / "mika.safetensors").is_file()
    assert run.folder.where == f"RunPod endpoint {ENDPOINT}"
    assert len(worker.twin.jobs) == 1

"""A run that is started here, sent to RunPod's twin, trained by the real worker, and delivered here: the whole way, without a cloud."""

from pathlib import Path

import pytest

from tests.support import runpod_twin, runpod_worker, small_models
from tests.support.runpod_runs import images
from trainer_core.events import Step
from trainer_core.jobs.state import JobState
from trainer_core.plan.sections import TrainingPlan
from trainer_core.remote import credentials
from trainer_core.remote.runpod import worker_models
from trainer_core.remote.runpod.carrier import kind
from trainer_core.remote.runpod.connection import BASE_URL_NAME
from trainer_core.remote.runs import starting


@pytest.fixture
def worker(tmp_path, monkeypatch):
    with runpod_worker.running(tmp_path / "there") as found:
        for name in credentials.KNOWN:
            monkeypatch.delenv(name, raising=False)
        here = {**found.place.environment, "RUNPOD_API_KEY": runpod_twin.KEY, BASE_URL_NAME: found.twin.url}
        for name, value in {**here, "EASEL_HOME": str(tmp_path / "here")}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.chdir(tmp_path)
        yield found


def start(worker, tmp_path, made=small_models.sd15_file, **player):
    model = made(tmp_path)
    bucket = worker.place.connect()
    worker_models.upload(worker_models.place_of(str(model), bucket, "team/"), bucket)
    tables = {
        "model": {"path": str(model)},
        "dataset": {"path": str(images(tmp_path / "10_mika")), "trigger": "mika"},
        "network": {"rank": 4, "alpha": 2.0},
        "schedule": {"steps": player.pop("steps", 20)},
        "output": {"name": "mika", "save_every_steps": 10},
        "native": {"rehearsal": {"steps_per_second": 50.0, **player}},
    }
    target = kind.target(f"{runpod_twin.ENDPOINT}@s3://{worker.place.name}/team/")
    return starting.start(TrainingPlan.model_validate(tables), target, engine="rehearsal")


def shown(run, worker):
    return f"{run.diagnosis} {(run.folder.log).read_text()[-2000:]} {worker.said[-2000:]}"


def test_a_run_started_here_is_trained_there_and_its_lora_is_delivered_here(worker, tmp_path):
    run = start(worker, tmp_path, small_models.sd15_folder)
    assert run.wait(120) is JobState.COMPLETED, shown(run, worker)
    delivered = [Path(path) for path in run.result["outputs"]]
    assert delivered[0].name == "mika.safetensors"
    assert all(path.is_file() and path.is_relative_to(tmp_path / "here") for path in delivered)
    assert [event.step for event in run.events()[0] if isinstance(event, Step)] == list(range(1, 21))
    assert [each.step for each in run.summary.checkpoints][:1] == [10]


def test_a_stop_here_ends_every_process_there(worker, tmp_path):
    run = start(worker, tmp_path, steps=100_000)
    runpod_worker.until(lambda: run.summary.step > 20, 90, lambda: shown(run, worker))
    assert worker.processes()
    assert run.stop(60) is JobState.CANCELLED, shown(run, worker)
    runpod_worker.until(lambda: not worker.processes(), 60)


def test_a_failure_there_has_its_cause_here(worker, tmp_path):
    run = start(worker, tmp_path, ending="oom")
    assert run.wait(120) is JobState.FAILED, shown(run, worker)
    assert "memory" in run.diagnosis.cause

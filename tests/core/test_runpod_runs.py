"""Runs on RunPod from their start to the LoRA here: the follower and the real worker with RunPod's own library, on this machine."""

from __future__ import annotations

import contextlib
import json
import urllib.request
from pathlib import Path

import pytest

from tests.support import runpod_runs, runpod_worker
from tests.support.buckets import KEYS
from tests.support.remote_runs import kill
from tests.support.runpod_twin import ENDPOINT, KEY, Fault
from tests.support.runpod_worker import until
from trainer_core import cli, places
from trainer_core.jobs.recovery import recover
from trainer_core.jobs.state import JobState
from trainer_core.plan.sections import TrainingPlan
from trainer_core.remote import credentials
from trainer_core.remote.runpod.connection import BASE_URL_NAME
from trainer_core.remote.runs import starting
from trainer_core.remote.runs.target import named
from trainer_core.training.run import Run

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


def put_style(worker, number=4):
    """A style of the documents in the worker's bucket, with one selection set."""
    uris = worker.put_images(number, "styles/16", "a foggy valley, style_16")
    names = [uri.rpartition("/")[2] for uri in uris if uri.endswith(".png")]
    sets = {"sets": [{"id": 1, "name": "Set 1", "images": names}]}
    worker.place.put("resources/style_images/16_water/selection_sets.json", json.dumps(sets).encode())


def easel(capsys, *arguments):
    with pytest.raises(SystemExit) as end:
        cli.main([*arguments])
    said = capsys.readouterr()
    # The id of an access key is a part of every link.
    assert not any(secret in said.out + said.err for secret in (KEY, KEYS["AWS_SECRET_ACCESS_KEY"]))
    return end.value.code, said.out, said.err


def told(run, worker):
    return run.diagnosis, run.folder.log.read_text()[-2000:], worker.said[-2000:]


STYLE = ("--selection", "Set 1", "--name", "v1.0", "--endpoint", ENDPOINT, "--engine", "rehearsal")


def test_a_dry_run_of_a_style_says_why_and_starts_nothing(worker, capsys):
    put_style(worker)
    code, out, err = easel(capsys, "remote", "style", "train", "16", *STYLE, "--dry-run")
    assert code == 0, err
    assert "4 images and 4 captions of Set 1" in out
    assert "max_train_steps: 500" in out
    _, out, _ = easel(capsys, "remote", "actor", "train", "16", *STYLE, "--dry-run", "--json")
    found = json.loads(out)
    assert found["version"]["parameters"]["max_train_steps"] == 800
    assert found["version"]["parameters"]["class_tokens"] == "actor_16"
    assert "800" in found["reason"]
    assert not worker.twin.jobs
    assert not [key for key in worker.place.keys("resources/") if "training_versions" in key]
    code, _, _ = easel(
        capsys, "remote", "style", "train", "16", *STYLE, "--set", "model.path=/no/such/model.safetensors"
    )
    assert code == 3
    assert not [key for key in worker.place.keys("resources/") if "training_versions" in key], (
        "no version without a run"
    )


def test_a_style_is_trained_by_its_name_and_its_version_gets_the_address_of_the_lora(worker, capsys):
    put_style(worker)
    fast = ("--set", "schedule.steps=30", "--set", "native.rehearsal.steps_per_second=300", "--json")
    code, out, err = easel(capsys, "remote", "style", "train", "16", *STYLE, *fast)
    assert code == 0, (out, err)
    run = Run.attach(places.runs() / json.loads(out)["run"])
    assert run.wait(LIMIT_S) is JobState.COMPLETED, told(run, worker)
    _, out, _ = easel(capsys, "remote", "versions", "16", "--json")
    (version,) = json.loads(out)["versions"]
    assert (version["name"], version["status"]) == ("v1.0", "completed")
    assert (version["imageCount"], version["selectionSetId"]) == (4, 1)
    assert version["parameters"]["max_train_steps"] == 30
    assert version["loraUrl"].startswith(f"s3://{worker.place.name}/easel/runs/{run.name}-")
    with urllib.request.urlopen(version["link"]) as answer:
        assert len(answer.read()) > 100


@pytest.mark.parametrize(
    "killed", [("engine.json",), ("runner.json", "wrapper.json", "engine.json")], ids=["follower", "both"]
)
def test_what_is_killed_here_goes_on_where_it_was_and_nothing_is_paid_for_twice(worker, tmp_path, killed):
    run = started(worker, tmp_path, steps=200, steps_per_second=20.0)
    until((run.folder.path / "remote" / "events.jsonl").exists)
    for name in killed:
        kill(run, name)
    if "runner.json" in killed:
        until(lambda: run.state is JobState.LOST)
    worker.twin.faults = [Fault(503)] * 6
    again = Run.attach(run.folder.path)
    assert recover([again]) or "runner.json" not in killed
    assert again.wait(LIMIT_S) is JobState.COMPLETED, told(again, worker)
    assert (tmp_path / "loras" / "mika.safetensors").is_file()
    assert len(worker.twin.jobs) == 1


def test_a_run_that_is_stopped_here_ends_there_and_what_it_saved_is_here(worker, tmp_path):
    run = started(worker, tmp_path, steps=400, steps_per_second=10.0)
    until(lambda: list(run.folder.output.glob("*.safetensors")), LIMIT_S, lambda: str(told(run, worker)))
    run.stop(60)
    assert run.wait(LIMIT_S) is JobState.CANCELLED, told(run, worker)
    (job,) = worker.twin.jobs.values()
    assert job.status == "CANCELLED"
    until(lambda: not worker.processes())


def test_no_secret_is_in_a_job_folder_a_log_a_request_a_bucket_or_a_command(worker, tmp_path):
    run = started(worker, tmp_path, steps=60, steps_per_second=30.0)
    secrets = [value.encode() for value in (KEY, *KEYS.values())]
    until(lambda: (run.folder.path / "remote" / "events.jsonl").exists() or not run.is_live)
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                command = (entry / "cmdline").read_bytes()
                assert not any(secret in command for secret in secrets), command
    assert run.wait(LIMIT_S) is JobState.COMPLETED, told(run, worker)
    read = [file for file in run.folder.path.rglob("*") if file.is_file() and not file.is_symlink()]
    assert len(read) > 10
    for file in [*read, worker.log]:
        assert not any(secret in file.read_bytes() for secret in secrets), file
    for key in worker.place.keys(""):
        assert not any(secret in worker.place.get(key) for secret in secrets), key
    for asked in worker.twin.asked:
        assert not any(secret in asked.body + asked.path.encode() for secret in secrets), asked.path
    for seen in worker.place.network.seen:
        # The id of an access key is a part of each signature.
        assert not any(secret in seen.body + seen.path.encode() for secret in secrets), seen.path


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

"""Runs on RunPod for tests: a twin of RunPod, a bucket behind a bad network, a run of this machine, and a worker that a test drives."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from tests.support import buckets, runpod_twin
from tests.support.buckets import Place
from tests.support.played import job
from tests.support.runpod_twin import ENDPOINT, KEY, Twin
from trainer_core.datasets.scan import scan
from trainer_core.engines import registry
from trainer_core.plan.sections import TrainingPlan
from trainer_core.remote import credentials
from trainer_core.remote.runpod.bucket_run import RUNS, claim
from trainer_core.remote.runpod.carrier import RunPodCarrier, kind
from trainer_core.remote.runpod.connection import BASE_URL_NAME
from trainer_core.remote.runs import outgoing
from trainer_core.remote.runs.notes import Notes
from trainer_core.remote.runs.request import new_id
from trainer_core.training.run import Run

FOLDER = "team/"
"""The folder of the bucket that the tests use as storage."""


@dataclass
class Cloud:
    """RunPod and a bucket, as this machine sees them; `text` names the target."""

    twin: Twin
    place: Place
    environment: dict[str, str]

    @property
    def text(self) -> str:
        return f"{ENDPOINT}@s3://{self.place.name}/{FOLDER}"

    def carrier(self, run: Path, id: str, **more: Any) -> RunPodCarrier:  # noqa: A002
        return kind.carrier({**kind.target(self.text), **more}, id, run, Notes(run))


@contextlib.contextmanager
def cloud(monkeypatch: Any) -> Iterator[Cloud]:
    """A cloud whose keys are in the environment, and nowhere else."""
    for name in credentials.KNOWN:
        monkeypatch.delenv(name, raising=False)
    with runpod_twin.running() as twin, buckets.place() as place:
        environment = {**place.environment, "RUNPOD_API_KEY": KEY, BASE_URL_NAME: twin.url}
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        yield Cloud(twin, place, environment)


def images(folder: Path, number: int = 3) -> Path:
    """A folder with images and captions."""
    folder.mkdir(parents=True)
    for each in range(number):
        Image.new("RGB", (64, 64), (each * 40 % 255, 90, 30)).save(folder / f"image_{each:03d}.png")
        (folder / f"image_{each:03d}.txt").write_text(f"a cat on a chair, number {each}")
    return folder


def prepared(tmp_path: Path, name: str = "mika", model: dict[str, Any] | None = None, **more: Any) -> tuple[Path, str]:
    """The folder of a run of this machine that a follower would bring to a trainer, and its id."""
    folder = tmp_path / f"10_{name}"
    rules = registry.get("rehearsal").manifest.dataset
    dataset = scan(folder if folder.is_dir() else images(folder), rules)
    tables = job(tmp_path, **more).model_dump()
    tables["dataset"]["path"] = str(folder)
    tables["model"] |= model or {}
    plan = TrainingPlan.model_validate(tables)
    run = Run.prepare(plan, registry.get("rehearsal"), dataset, folder=tmp_path / "runs")
    (run.folder.path / outgoing.FOLDER).mkdir(exist_ok=True)
    outgoing.write(run.folder.path, plan, dataset)
    return run.folder.path, new_id(run.name)


@dataclass
class Worker:
    """A worker that does what a test tells it, with the bucket's layout: it takes one job, and writes what a training would."""

    cloud: Cloud
    name: str = "w1"
    job: Any = None
    lines: list[dict[str, Any]] = field(default_factory=list)

    def take(self) -> Worker:
        """Takes the next job from the queue."""
        self.job = self.cloud.twin.take(self.name)
        assert self.job, "there is no job in the queue"
        return self

    @property
    def request(self) -> dict[str, Any]:
        return self.job.input["easel"]["request"]

    @property
    def prefix(self) -> str:
        address = self.job.input["easel"]["storage"]
        start = f"s3://{self.cloud.place.name}/"
        assert address == f"{start}{FOLDER}{RUNS}{self.request['id']}/"
        return address.removeprefix(start)

    def begin(self) -> bool:
        """Claims the run for its job; whether it may train."""
        if claim(self.cloud.place.connect(), self.prefix, self.job.id):
            return True
        self.cloud.twin.finish(self.job, "FAILED", error="Another job trains this request.")
        return False

    def put(self, name: str, data: bytes | str) -> None:
        self.cloud.place.put(f"{self.prefix}{name}", data.encode() if isinstance(data, str) else data)

    def step(self, number: int) -> None:
        """Writes one more line of events, and one of the log."""
        self.lines.append({"step": number})
        self.put("events.jsonl", "".join(f"{json.dumps(each)}\n" for each in self.lines))
        self.put("engine.log", "".join(f"step {each['step']}\n" for each in self.lines))

    def end(self, *, is_success: bool = True, finishes: bool = True, error: str = "") -> None:
        """Writes the result, and ends the job at RunPod if it `finishes`."""
        said: dict[str, Any] = {"status": "failed", "job_id": self.request["id"], "error": error}
        if is_success:
            self.put("output/cg_mika.safetensors", b"lora" * 100)
            address = f"s3://{self.cloud.place.name}/{self.prefix}output/cg_mika.safetensors"
            info = {"size_bytes": 400, "model_type": "lora"}
            said = {
                "status": "success",
                "job_id": self.request["id"],
                "loraName": "cg_mika.safetensors",
                "loraUrl": address,
            }
            said["model_info"] = info
        self.put("result.json", json.dumps({"state": "COMPLETED" if is_success else "FAILED", "document": said}))
        if finishes:
            self.cloud.twin.finish(self.job, "COMPLETED" if is_success else "FAILED", said, error or None)

    def kill(self) -> None:
        """Ends as a worker whose machine is gone: RunPod notices, and nothing more is written."""
        self.cloud.twin.finish(self.job, "FAILED", error="worker exited with exit code 137")

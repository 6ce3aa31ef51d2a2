"""A worker of RunPod for tests: the real library in a process of its own, between the twin of RunPod and a bucket."""

from __future__ import annotations

import contextlib
import functools
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from tests.support import buckets, model_forms, recorded_headers, runpod_twin
from tests.support.checkout import ROOT
from trainer_core.remote.runpod.client import Client
from trainer_core.remote.runpod.limits import policy
from trainer_core.remote.training.workflow import LoRATrainingWorkflow

PYTHON = "EASEL_RUNPOD_PYTHON"
"""The Python of an environment with `requirements/worker.txt`, for machines where the tests' own has no library of RunPod."""
PATH = os.pathsep.join(path for path in sys.path if path)
LIMIT_S = 90.0


@functools.cache
def python() -> str:
    """A Python that has RunPod's library. Skips the test if there is none."""
    for candidate in filter(None, (os.environ.get(PYTHON), sys.executable)):
        # It must also load the packages of Easel, some of which are compiled for one version of Python.
        command = [candidate, "-c", "import runpod, pydantic_core, orjson"]
        if (
            subprocess.run(command, env={**os.environ, "PYTHONPATH": PATH}, capture_output=True, check=False).returncode
            == 0
        ):
            return candidate
    pytest.skip(
        f"RunPod's library is not installed: install requirements/worker.txt into an environment, and set {PYTHON} to its Python"
    )


MODELS = {
    "checkpoints/sd15.safetensors": "sd15",
    "vae/ae.safetensors": "vae-flux",
    "clip/clip_l.safetensors": "clip-l",
    "clip/t5xxl_fp8_e4m3fn.safetensors": "t5xxl",
}
"""Files of a network volume, and the recorded header of each."""
FLUX = "unet/flux1-dev-fp8.safetensors"
"""A checkpoint with all parts, because the rehearsal engine reads them from one file."""


def put_models(folder: Path) -> None:
    """Model files whose weights are a hole, so that they take no room."""
    for name, header in MODELS.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if not (folder / name).exists():
            recorded_headers.write_file(folder / name, recorded_headers.load(header)["tensors"])
    (folder / FLUX).parent.mkdir(parents=True, exist_ok=True)
    if not (folder / FLUX).exists():
        whole = {
            "model.diffusion_model.": "flux-dev",
            "vae.": "vae-flux",
            "text_encoders.clip_l.transformer.": "clip-l",
            "text_encoders.t5xxl.transformer.": "t5xxl",
        }
        tensors = {}
        for prefix, header in whole.items():
            tensors |= model_forms.under(prefix, model_forms.model(header))
        recorded_headers.write_file(folder / FLUX, tensors)


class Worker:
    """A worker that runs. `say` is what it has printed."""

    def __init__(self, twin, place, home: Path, **environment: str) -> None:
        self.twin, self.place, self.home = twin, place, home
        home.mkdir(exist_ok=True)
        self.models = home.parent / "volume"
        put_models(self.models)
        self.log = home.parent / f"{home.name}-worker.log"
        half = twin.worker_url
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "S3_", "RUNPOD_"))}
        self.environment = {
            **kept,
            **place.environment,
            "EASEL_HOME": str(home),
            "EASEL_WORKER_ENGINE": "rehearsal",
            "EASEL_WORKER_MODELS": str(self.models),
            "PYTHONPATH": PATH,
            "RUNPOD_WEBHOOK_GET_JOB": f"{half}/job-take/$ID?gpu=t",
            "RUNPOD_WEBHOOK_POST_OUTPUT": f"{half}/job-done/$RUNPOD_POD_ID/$ID?gpu=t",
            "RUNPOD_WEBHOOK_POST_STREAM": f"{half}/job-stream/$RUNPOD_POD_ID/$ID?gpu=t",
            "RUNPOD_WEBHOOK_PING": f"{half}/ping/$RUNPOD_POD_ID",
            "RUNPOD_PING_INTERVAL": "2000",
            "RUNPOD_POD_ID": "w1",
            "RUNPOD_AI_API_KEY": runpod_twin.KEY,
            "RUNPOD_SKIP_AUTO_SYSTEM_CHECKS": "true",
            "RUNPOD_SKIP_GPU_CHECK": "true",
            **environment,
        }
        self.start()

    def start(self) -> None:
        command = [python(), "-m", "trainer_core.remote.worker"]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, env=self.environment, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )

    def kill(self) -> None:
        """Kills the worker as the system does."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)

    @property
    def said(self) -> str:
        return self.log.read_text(errors="replace")

    # ---- jobs ----
    def send(self, data, run_s: float = 3600):
        """A job of the twin for an input."""
        return self.twin.jobs[self._client().run(data, policy(run_s)).id]

    def _client(self):
        from trainer_core.remote.credentials import Secret

        return Client(runpod_twin.ENDPOINT, Secret(runpod_twin.KEY, "RUNPOD_API_KEY", "test"), self.twin.url)

    def cancel(self, job) -> None:
        self._client().cancel(job.id)

    def ended(self, job, limit_s: float = LIMIT_S):
        """The job when it has ended."""
        until(lambda: job.status in runpod_twin.FINAL, limit_s, lambda: self.said[-3000:])
        return job

    def trained(self, job, step: int = 1) -> None:
        """Returns when the training of a job has reached a step."""

        def reached() -> bool:
            figures = job.output if isinstance(job.output, dict) else {}
            return job.status in runpod_twin.FINAL or (figures.get("step") or 0) >= step

        until(reached, LIMIT_S, lambda: self.said[-3000:])
        assert job.status == "IN_PROGRESS", (job.error, job.output, self.said[-3000:])

    # ---- what there is ----
    def processes(self) -> list[str]:
        """The commands of all processes of its trainings."""
        return processes_below(self.home)

    def record(self, prefix: str):
        """The result.json of a run."""
        return json.loads(self.place.get(f"{prefix}result.json"))

    def put_images(self, count: int = 3, folder: str = "images", caption: str | None = "a field, mika") -> list[str]:
        """The addresses of drawn images, and of their captions."""
        uris = []
        for number in range(count):
            drawn = io.BytesIO()
            Image.new("RGB", (256, 256), (40 * number, 90, 120)).save(drawn, "PNG")
            self.place.put(f"{folder}/{number}.png", drawn.getvalue())
            uris.append(f"s3://{self.place.name}/{folder}/{number}.png")
            if caption is not None:
                self.place.put(f"{folder}/{number}.txt", caption.encode())
                uris.append(f"s3://{self.place.name}/{folder}/{number}.txt")
        return uris


def processes_below(folder: Path) -> list[str]:
    """The commands of all running processes that work in a folder, or that name it."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                place = str((entry / "cwd").readlink())
                if f"{folder}/requests" in command or place.startswith(f"{folder}/requests"):
                    found.append(command)
    return found


def environments_below(folder: Path) -> bytes:
    """The environment variables of all these processes."""
    found = b""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if str((entry / "cwd").readlink()).startswith(f"{folder}/requests"):
                    found += (entry / "environ").read_bytes()
    return found


def until(condition, limit_s: float = LIMIT_S, shown=lambda: "") -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, f"waited too long: {shown()}"
        time.sleep(0.1)


@contextlib.contextmanager
def running(home: Path, speed: float = 1.0, **environment: str):
    """A worker that runs, with its own bucket and its own twin of RunPod."""
    python()
    with buckets.place() as place, runpod_twin.running(speed) as twin:
        worker = Worker(twin, place, home, **environment)
        try:
            yield worker
        finally:
            # RunPod's library has a process of its own for the signs of life.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(worker.process.pid, signal.SIGKILL)
            worker.process.wait(10)
            until(lambda: not worker.processes())


def plan(place, folder: str = "images/", steps: int = 20, name: str = "mika", **player):
    """The tables of a plan for the rehearsal engine, with images in a bucket."""
    return {
        "model": {"path": "sd15.safetensors"},
        "dataset": {"path": f"s3://{place.name}/{folder}", "trigger": "mika"},
        "network": {"rank": 4, "alpha": 2.0},
        "schedule": {"steps": steps},
        "output": {"name": name},
        "native": {"rehearsal": {"steps_per_second": 200.0, **player}},
    }


def own(place, request_id="mika-0123abcd", **more):
    """An input of Easel's own form."""
    request = {"version": 1, "id": request_id, "engine": "rehearsal", "plan": plan(place, **more), "chosen": {}}
    return {"easel": {"request": request, "storage": f"s3://{place.name}/easel/runs/{request_id}/"}}


def documents(worker, uris, request_id="16_1234567890", steps=20, **changes):
    """An input of the documents' form, with the values that the rehearsal engine can play; `changes` are inputs by node."""
    captioned = any(uri.endswith(".txt") for uri in uris)
    workflow = LoRATrainingWorkflow("mika", "custom-styles", 0.0004, steps, captioned=captioned).build()
    # The other values are options of sd-scripts.
    workflow["107"]["inputs"]["apply_t5_attn_mask"] = False
    workflow["109"]["inputs"] |= {"min_bucket_reso": 512, "max_bucket_reso": 2048}
    for node, inputs in changes.items():
        workflow[node.removeprefix("n")]["inputs"] |= inputs
    config = {
        "mode": "custom-styles",
        "user_id": "actor_maker_user",
        "tenant_id": "actor_maker",
        "request_id": request_id,
        "model_name": "style_16_v1.0",
        "learning_rate": 0.0004,
        "max_train_steps": steps,
    }
    return {"workflow": workflow, "training_data": {"s3_urls": uris}, "training_config": config}

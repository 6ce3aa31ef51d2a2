"""Real runs of real engines, and nothing of them left behind in the user's own history."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.hub_server import serving
from trainer_core.demo import assets
from trainer_core.demo.dataset import draw_dataset
from trainer_core.events import Step
from trainer_core.jobs.state import FINAL_STATES, JobState
from trainer_core.training.run import Run

GIB = 1024**3
STEPS = 4
SMALL = {
    "dataset.trigger": "blobbert",
    "dataset.resolution": 64,
    "network.rank": 4,
    "network.alpha": 2.0,
    "schedule.steps": STEPS,
    "schedule.scheduler": "constant",
    "optimizer.learning_rate": 1e-3,
    "memory.mixed_precision": "no",
    "memory.gradient_checkpointing": False,
    "output.name": "blob",
    "output.save_every_steps": 2,
}
"""A plain LoRA with AdamW, at a size a CPU can do."""


@pytest.fixture
def launch(tmp_path):
    """Starts `easel train` in a process of its own, kills that with -9, and attaches from this one."""
    launched = []

    def start(arguments):
        (tmp_path / "comfy").mkdir(exist_ok=True)
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
        command = [sys.executable, "-m", "trainer_core.cli", "train", *map(str, arguments)]
        starter = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
        )
        with starter:
            first = starter.stdout.readline()
            if first.startswith("Run "):
                starter.send_signal(signal.SIGKILL)
            rest = starter.stdout.read()
        assert first.startswith("Run "), first + rest
        run = Run.attach(Path(first.rpartition(" in ")[2].strip()))
        launched.append(run)
        return run

    yield start
    for run in launched:
        run.stop(grace_s=2)
        run.folder.remove()


@pytest.fixture
def train(launch, tmp_path):
    """Trains with an engine what differs from `SMALL`, and gives the folder of the results once the run was accepted.

    The model is the engine's tiny one, or the one that is given.
    """

    def to_the_end(engine, name, values, model=None):
        draw_dataset(tmp_path / "images")
        settings = {**SMALL, **values, "output.folder": tmp_path / "out", "dataset.path": tmp_path / "images"}
        words = [f"--set={path}={value}" for path, value in settings.items()]
        run = launch(["--engine", engine, "--model", model or assets.make_base(engine), *words])
        deadline = time.monotonic() + 1000
        while run.state not in FINAL_STATES:
            assert time.monotonic() < deadline, run.summary
            time.sleep(0.5)
        assert run.state is JobState.COMPLETED, (run.diagnosis, run.result)
        steps = [event for event in run.events(0)[0] if isinstance(event, Step)]
        assert [event.step for event in steps] == list(range(1, STEPS + 1))
        assert all(event.loss is not None and event.learning_rate for event in steps)
        assert run.result["acceptance"]["ok"]
        figures = f"{run.result['seconds']:.0f} s, {run.result['peak_memory_bytes'] / GIB:.1f} GiB"
        print(f"\n{engine}, {name}: {figures}, {run.result['acceptance']}", file=sys.stderr)
        return tmp_path / "out"

    return to_the_end


@pytest.fixture
def requests(monkeypatch):
    """Everything that is asked of the Hub or of a proxy, as paths; nothing else can be reached by name."""
    seen = []
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    with serving({}, seen) as url:
        for name in ("HF_ENDPOINT", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
            monkeypatch.setenv(name, url)
        yield seen

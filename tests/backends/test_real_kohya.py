"""sd-scripts really trains what Easel offers with it: kinds of network, optimizers, the model itself, a new word.

Each run goes through `easel train` on a model of random weights, at a size a CPU can do, and ends with an accepted file.
"""

import sys
import time

import pytest

from trainer_core import environments, hardware, places
from trainer_core.demo import assets
from trainer_core.demo.dataset import draw_dataset
from trainer_core.events import Step
from trainer_core.runs.run import FINAL_STATES, RunState

pytestmark = [pytest.mark.backend, pytest.mark.timeout(1200)]
STEPS = 4
GIB = 1024**3

RUNS = {
    "AdamW8bit": ({"optimizer.name": "AdamW8bit"}, 9),
    "Prodigy": ({"optimizer.name": "Prodigy", "optimizer.learning_rate": 1.0, "optimizer.d0": 1e-4}, 9),
    "Lion": ({"optimizer.name": "Lion", "optimizer.beta2": 0.95}, 9),
    "LoCon": ({"network.algorithm": "locon", "network.conv_rank": 2, "network.conv_alpha": 1.0}, 13),
    "LoHa": ({"network.algorithm": "loha"}, 13),
    "LoKr": ({"network.algorithm": "lokr", "network.factor": 8, "network.targets": "attention_mlp"}, 11),
    "full": (
        {
            "model.method": "full",
            "optimizer.name": "Adafactor",
            "optimizer.learning_rate": 1e-4,
            "output.save_every_steps": 0,
        },
        16,
    ),
    "textual inversion": (
        {
            "model.method": "textual_inversion",
            "embedding.init_word": "cat",
            "embedding.vectors": 2,
            "optimizer.learning_rate": 5e-3,
        },
        9,
    ),
}
"""What differs from a plain LoRA with AdamW, and the memory it takes on a CPU, in GiB."""
COMMON = {
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


@pytest.fixture
def installed():
    if environments.installed("kohya") is None:
        pytest.skip("kohya is not installed here (python installer.py backend install kohya)")


@pytest.mark.parametrize("name", RUNS)
@pytest.mark.usefixtures("installed")
def test_it_trains(name, launch, tmp_path):
    values, needed_gib = RUNS[name]
    machine = hardware.machine(places.home())
    if machine.accelerator.kind == "cpu" and machine.free_ram_bytes < needed_gib * GIB:
        pytest.skip(f"{name} needs {needed_gib} GiB of free memory on a CPU")
    draw_dataset(tmp_path / "pictures")
    settings = {**COMMON, **values, "output.folder": tmp_path / "out", "dataset.path": tmp_path / "pictures"}
    words = [f"--set={path}={value}" for path, value in settings.items()]
    run = launch(["--engine", "kohya", "--model", assets.make_base("kohya"), *words])
    deadline = time.monotonic() + 1000
    while run.state not in FINAL_STATES:
        assert time.monotonic() < deadline, run.summary
        time.sleep(0.5)
    assert run.state is RunState.COMPLETED, (run.diagnosis, run.result)
    steps = [event for event in run.events(0)[0] if isinstance(event, Step)]
    assert [event.step for event in steps] == list(range(1, STEPS + 1))
    assert all(event.loss is not None and event.learning_rate for event in steps)
    assert run.result["acceptance"]["ok"]
    assert (tmp_path / "out" / "blob.safetensors").is_file()
    figures = run.result
    print(
        f"\n{name}: {figures['seconds']:.0f} s, {figures['peak_memory_bytes'] / GIB:.1f} GiB,"
        f" {(tmp_path / 'out' / 'blob.safetensors').stat().st_size / 2**20:.2f} MiB, {figures['acceptance']}",
        file=sys.stderr,
    )

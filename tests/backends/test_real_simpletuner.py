"""SimpleTuner really trains what Easel offers with it: optimizers, kinds of network, the model itself.

Each run goes through `easel train` on a model of random weights, at a size a CPU can do, and ends with an accepted result.
The pairs of a network and an optimizer are arbitrary: neither knows the other, and a run spends most of its time on imports.
"""

import sys
import time

import pytest

from trainer_core import environments
from trainer_core.demo import assets
from trainer_core.demo.dataset import draw_dataset
from trainer_core.events import Step
from trainer_core.runs.run import FINAL_STATES, RunState

pytestmark = [pytest.mark.backend, pytest.mark.timeout(900)]
STEPS = 4
GIB = 1024**3

RUNS = {
    "LoCon with Adan": {
        "network.algorithm": "locon",
        "network.conv_rank": 2,
        "network.conv_alpha": 1.0,
        "optimizer.name": "Adan",
        "optimizer.epsilon": 1e-7,
    },
    "LoHa with Lion": {
        "network.algorithm": "loha",
        "optimizer.name": "Lion",
        "dataset.shuffle_captions": True,
        "memory.cache_latents": False,
    },
    "LoKr with Prodigy": {
        "network.algorithm": "lokr",
        "network.factor": 4,
        "network.targets": "attention",
        "optimizer.name": "Prodigy",
        "optimizer.learning_rate": 1.0,
        "optimizer.d0": 1e-4,
    },
    "the model itself with StableAdamW": {
        "model.method": "full",
        "memory.fused_backward": True,
        "optimizer.name": "StableAdamW",
        "optimizer.max_grad_norm": 0,
        "optimizer.learning_rate": 1e-4,
    },
}
"""What differs from a plain LoRA with AdamW, which `test_real_training.py` trains."""
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
    found = environments.installed("simpletuner")
    if found is None:
        pytest.skip("simpletuner is not installed here (python installer.py backend install simpletuner)")
    if found.version.startswith("3."):
        pytest.skip("SimpleTuner 3 is used for plain LoRA only")


@pytest.mark.parametrize("name", RUNS)
@pytest.mark.usefixtures("installed")
def test_it_trains(name, launch, tmp_path):
    draw_dataset(tmp_path / "pictures")
    settings = {**COMMON, **RUNS[name], "output.folder": tmp_path / "out", "dataset.path": tmp_path / "pictures"}
    words = [f"--set={path}={value}" for path, value in settings.items()]
    run = launch(["--engine", "simpletuner", "--model", assets.make_base("simpletuner"), *words])
    deadline = time.monotonic() + 800
    while run.state not in FINAL_STATES:
        assert time.monotonic() < deadline, run.summary
        time.sleep(0.5)
    assert run.state is RunState.COMPLETED, (run.diagnosis, run.result)
    steps = [event for event in run.events(0)[0] if isinstance(event, Step)]
    assert [event.step for event in steps] == list(range(1, STEPS + 1))
    assert all(event.loss is not None and event.learning_rate for event in steps)
    assert run.result["acceptance"]["ok"]
    if RUNS[name].get("model.method") == "full":
        assert (tmp_path / "out" / "blob" / "model_index.json").is_file()
        assert (tmp_path / "out" / "blob" / "text_encoder").is_dir()
        assert (tmp_path / "out" / "blob-step00000002").is_dir()
    else:
        assert (tmp_path / "out" / "blob.safetensors").is_file()
    print(
        f"\n{name}: {run.result['seconds']:.0f} s, {run.result['peak_memory_bytes'] / GIB:.1f} GiB,"
        f" {run.result['acceptance']}",
        file=sys.stderr,
    )

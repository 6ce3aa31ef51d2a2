"""With a GPU: one SDXL LoRA on random weights of the real architecture, through `easel train`."""

import sys

import pytest

from tests.support.real_runs import GIB, wait
from trainer_core import hardware, places
from trainer_core.demo import assets, checkpoint
from trainer_core.demo.dataset import draw_dataset
from trainer_core.events import Step
from trainer_core.install import environments
from trainer_core.jobs.state import FINAL_STATES, JobState

pytestmark = [pytest.mark.backend, pytest.mark.gpu, pytest.mark.timeout(1800)]
STEPS = 20


@pytest.fixture
def card():
    machine = hardware.machine(places.home())
    if machine.accelerator.kind not in ("cuda", "rocm"):
        pytest.skip("no GPU on this machine")
    if environments.installed("kohya") is None:
        pytest.skip("kohya is not installed here (python installer.py backend install kohya)")
    if machine.disk_bytes < 10 * GIB:
        pytest.skip("less than 10 GiB of disk are free for a random SDXL checkpoint")
    return machine.accelerator


def test_an_sdxl_lora_is_trained_on_the_gpu(card, launch, tmp_path):
    assets.tokenizers()
    draw_dataset(tmp_path / "images")
    model = checkpoint.write("sdxl", tmp_path / "sdxl-random.safetensors")
    options = ["--engine", "kohya", "--model", model, "--dataset", tmp_path / "images", "--trigger", "blobbert"]
    options += ["--profile", "sdxl-character", "--name", "gpu", "--output", tmp_path / "loras", "--steps", str(STEPS)]
    options += ["--schedule-warmup-steps", "2", "--sampling-every-steps", "0", "--output-save-every-steps", "0"]
    run = launch(options)
    wait(run, lambda run: run.state in FINAL_STATES, seconds=1500)
    assert run.state is JobState.COMPLETED, run.diagnosis
    events, _ = run.events(0)
    assert [event.step for event in events if isinstance(event, Step)] == list(range(1, STEPS + 1))
    assert run.result["peak_gpu_memory_bytes"]
    peak = run.result["peak_gpu_memory_bytes"] / GIB
    print(f"\n{card.name}: {run.summary.seconds_per_step:.2f} s/step at 1024 px, {peak:.1f} GiB", file=sys.stderr)

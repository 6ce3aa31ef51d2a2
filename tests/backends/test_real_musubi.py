"""musubi-tuner trains a real LoRA of Qwen-Image on this machine, with one block of random weights, and continues it twice.

If it is not installed, the reason is printed. The text encoder is the only part that does not run: see tests/support/tiny_qwen_image.py.
"""

from __future__ import annotations

import dataclasses
import math
import os
import re
import shutil
import subprocess
import sys

import pytest
from safetensors import safe_open

from tests.support import tiny_qwen_image
from tests.support.real_runs import GIB, stop_after_state, wait
from trainer_core import hardware, places
from trainer_core.child import child_environment
from trainer_core.datasets.scan import scan
from trainer_core.demo.dataset import draw_dataset
from trainer_core.engines import registry
from trainer_core.events import Phase, Step
from trainer_core.install import environments
from trainer_core.jobs.state import FINAL_STATES, JobState
from trainer_core.plan import fields
from trainer_core.plan.sections import TrainingPlan
from trainer_core.training import resume
from trainer_core.training.run import Run

pytestmark = [pytest.mark.backend, pytest.mark.timeout(2400)]
ENGINE = "musubi"
STEPS, WARM_UP, RATE = 40, 4, 1e-3
NEEDED_GIB = 6
PLAN = {
    "model.family": "qwen_image",
    "dataset.trigger": "blobbert",
    "dataset.resolution": 64,
    "dataset.bucket_step": 16,
    "network.rank": 4,
    "network.alpha": 2.0,
    "optimizer.learning_rate": RATE,
    "schedule.steps": STEPS,
    "schedule.warmup_steps": WARM_UP,
    "memory.gradient_checkpointing": False,
    "memory.cache_text_encoder": True,
    "output.name": "blob",
    "output.prefix": "cg_",
    "output.save_every_steps": 2,
    "output.save_precision": "float",
    "output.keep_states": 2,
    "native": {ENGINE: {"num_layers": 1}},
}


@pytest.fixture(scope="module")
def engine():
    found = environments.installed(ENGINE)
    if found is None or found.source is None:
        pytest.skip(f"{ENGINE} is not installed here (python installer.py backend install {ENGINE})")
    machine = hardware.machine(places.home())
    if machine.accelerator.kind == "cpu" and machine.free_ram_bytes < NEEDED_GIB * GIB:
        pytest.skip(f"this training needs {NEEDED_GIB} GiB of free memory on a CPU")
    return found


@pytest.fixture(scope="module")
def base(engine, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    command = [str(engine.python), tiny_qwen_image.__file__, "models", str(folder)]
    environment = child_environment({"PYTHONPATH": str(engine.source / "src")})
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return folder


@pytest.fixture
def begin(base, engine, tmp_path):
    """Starts runs, or continues them, and removes them at the end. Random numbers stand for the encoded captions."""
    draw_dataset(tmp_path / "images")
    begun = []

    def launched(before=None, **values):
        if before is None:
            backend, root = registry.get(ENGINE), tmp_path / "images"
            parts = {
                "model.path": base / "dit.safetensors",
                "model.vae": base / "vae.safetensors",
                "model.qwen": base / "vae.safetensors",
            }
            flat = {
                **PLAN,
                **{path: str(file) for path, file in parts.items()},
                "dataset.path": str(root),
                "output.folder": str(tmp_path / "out"),
                **values,
            }
            native = flat.pop("native")
            plan = TrainingPlan.model_validate({**fields.nest(flat), "native": native})
            run = Run.prepare(plan, backend, scan(root, backend.manifest.dataset, trigger="blobbert"))
        else:
            run = resume.start(resume.propose(before, **values))
        spec = run.folder.spec
        program = (str(engine.python), tiny_qwen_image.__file__, "captions", str(run.folder.path))
        steps = [dataclasses.replace(one, argv=program) if one.name == "encode captions" else one for one in spec.steps]
        run.folder.write_spec(dataclasses.replace(spec, steps=tuple(steps)))
        begun.append(run)
        run.launch()
        return run

    yield launched
    for run in begun:
        run.stop(grace_s=2)
        run.folder.remove()


def to_the_end(run: Run) -> None:
    wait(run, lambda run: run.state in FINAL_STATES, seconds=900)
    assert run.state is JobState.COMPLETED, (
        run.diagnosis,
        run.result,
        run.folder.log.read_text(errors="replace")[-3000:],
    )
    assert run.result["acceptance"]["ok"], run.result["acceptance"]


def trained(*runs: Run) -> dict[int, tuple[float | None, float | None]]:
    """Loss and learning rate of each step, each as it was recorded last."""
    events = [event for run in runs for event in run.events(0)[0] if isinstance(event, Step)]
    return {event.step: (event.loss, event.learning_rate) for event in events}


def saved(run: Run, upto: int) -> dict[int, bytes]:
    """The checkpoints of a run up to a step, by step."""
    pattern = re.compile(run.folder.rendered.artefacts.checkpoints.pattern)
    found = {int(match["step"]): file for file in run.folder.output.iterdir() if (match := pattern.match(file.name))}
    return {step: file.read_bytes() for step, file in found.items() if step <= upto}


def rate(step: int) -> float:
    """The learning rate that is recorded for a step: that of the next one, in a cosine with a warm-up."""
    if step < WARM_UP:
        return RATE * step / WARM_UP
    return RATE * (1 + math.cos(math.pi * (step - WARM_UP) / (STEPS - WARM_UP))) / 2


def test_a_lora_of_qwen_image_is_trained_and_continued_twice_with_its_own_step_numbers(begin, tmp_path):
    runs = [begin()]
    for step in (2, 4):
        stop_after_state(runs[-1], step)
        runs.append(begin(runs[-1]))
    first, second, third = runs
    to_the_end(third)

    assert 2 <= second.folder.done_steps < third.folder.done_steps < STEPS
    for run in (second, third):
        own = [event.step for event in run.events(0)[0] if isinstance(event, Step)]
        assert own[0] == run.folder.done_steps + 1, "the steps are counted from the beginning of the training"
        assert not {file.name for file in run.folder.output.glob("*-step00000001*")}
    # No name of a file is used again for another step: what was saved before is what it was.
    assert saved(third, second.folder.done_steps) == saved(first, second.folder.done_steps)
    assert saved(third, third.folder.done_steps) == saved(second, third.folder.done_steps)
    steps = trained(*runs)
    assert sorted(steps) == list(range(1, STEPS + 1))
    assert all(loss is not None and loss > 0 for loss, _ in steps.values())
    assert {step: found for step, (_, found) in steps.items()} == {
        step: pytest.approx(rate(step), abs=1e-9) for step in steps
    }
    names = {file.name for file in (tmp_path / "out").iterdir()}
    assert {f"cg_blob-step{step:08d}.safetensors" for step in range(2, STEPS + 1, 2)} | {"cg_blob.safetensors"} <= names
    with safe_open(tmp_path / "out" / "cg_blob.safetensors", "numpy") as file:
        assert all(name.startswith("lora_unet_transformer_blocks_0_") for name in file.keys())  # noqa: SIM118 - it is no mapping
        about = file.metadata()
    assert (about["ss_steps"], about["ss_base_model_version"]) == (str(STEPS), "qwen_image")
    said = [event.name for event in first.events(0)[0] if isinstance(event, Phase)]
    assert {"caching latents", "loading model", "training", "saving"} <= set(said)
    seconds = sum(run.result["seconds"] for run in runs)
    parts = [run.folder.done_steps for run in runs[1:]]
    print(
        f"\nmusubi: {seconds:.0f} s in three runs, continued after the steps {parts}, {third.result['acceptance']}",
        file=sys.stderr,
    )


SHORT = {
    "schedule.steps": 3,
    "schedule.scheduler": "constant",
    "schedule.warmup_steps": 0,
    "output.save_every_steps": 0,
    "output.keep_states": 0,
}


@pytest.mark.parametrize(
    ("algorithm", "more"),
    [("loha", {"memory.gradient_checkpointing": True, "memory.offload_checkpointing": True}), ("lokr", {})],
    ids=["loha, activations offloaded", "lokr"],
)
def test_the_engines_own_networks_are_accepted_and_nothing_is_asked_of_the_network(begin, algorithm, more, requests):
    run = begin(**SHORT, **more, **{"network.algorithm": algorithm})
    to_the_end(run)
    assert not requests, requests
    print(f"\nmusubi: {algorithm}, {run.result['acceptance']}", file=sys.stderr)


def test_a_run_whose_loss_is_no_number_fails_with_its_cause_and_delivers_nothing(begin, base, tmp_path):
    """The engine itself ends with 0 and saves the file."""
    broken = tmp_path / "broken.safetensors"
    shutil.copyfile(base / "dit.safetensors", broken)
    with broken.open("r+b") as file:
        file.seek(-4, os.SEEK_END)
        file.write(b"\xff" * 4)  # two NaN in the last weight
    run = begin(**SHORT, **{"model.path": str(broken)})
    wait(run, lambda run: run.state in FINAL_STATES, seconds=900)
    assert run.state is JobState.FAILED, run.result
    assert "NaN" in run.diagnosis.cause, run.diagnosis
    assert not list((tmp_path / "out").glob("*.safetensors"))
    print(f"\nmusubi: {run.diagnosis.cause}", file=sys.stderr)

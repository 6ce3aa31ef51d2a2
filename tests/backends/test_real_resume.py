"""Real engines continue real trainings: interrupted three times, in any epoch, with accumulation and with buckets.

An engine that is not installed is skipped, and the reason is printed.
"""

from __future__ import annotations

import json
import random
import sys

import pytest
from PIL import Image

from tests.support.real_runs import GIB, stop_after_state, wait
from trainer_core import hardware, places
from trainer_core.datasets.scan import scan
from trainer_core.demo import assets
from trainer_core.engines import registry
from trainer_core.events import Step
from trainer_core.install import environments
from trainer_core.jobs.state import FINAL_STATES, JobState
from trainer_core.plan import fields
from trainer_core.plan.sections import TrainingPlan
from trainer_core.training import resume
from trainer_core.training.run import Run

pytestmark = [pytest.mark.backend, pytest.mark.timeout(3000)]
STEPS = 5
SIDES = ((64, 64), (128, 64), (64, 64))
"""Three batches of one image in two buckets: with accumulation 2, two steps an epoch, the second with one batch only."""
SMALL = {
    "model.family": "sd15",
    "dataset.trigger": "blob",
    "dataset.resolution": 64,
    "network.rank": 4,
    "network.alpha": 2.0,
    "schedule.steps": STEPS,
    "schedule.scheduler": "cosine",
    "schedule.warmup_steps": 2,
    "schedule.gradient_accumulation": 2,
    "optimizer.learning_rate": 1e-3,
    "memory.mixed_precision": "no",
    "memory.gradient_checkpointing": False,
    "output.name": "blob",
    "output.save_every_steps": 1,
    "output.keep_states": 1,
}


@pytest.fixture
def begin(tmp_path):
    """Starts runs, or continues them, and removes them at the end."""
    for number, side in enumerate(SIDES):
        (tmp_path / "images").mkdir(exist_ok=True)
        Image.new("RGB", side, (80 * number, 90, 120)).save(tmp_path / "images" / f"{number}.png")
    begun = []

    def launched(engine, before=None, **values):
        if before is None:
            backend, root = registry.get(engine), tmp_path / "images"
            base = {"model.path": str(assets.make_base(engine)), "dataset.path": str(root)}
            flat = {**SMALL, **base, "output.folder": str(tmp_path / "out"), **values}
            plan = TrainingPlan.model_validate(fields.nest(flat))
            run = Run.prepare(plan, backend, scan(root, backend.manifest.dataset, trigger="blob"))
        else:
            run = resume.start(resume.propose(before, **values))
        begun.append(run)
        run.launch()
        return run

    yield launched
    for run in begun:
        run.stop(grace_s=2)
        run.folder.remove()


def rates(*runs):
    """The learning rate of each step of the runs, each as it was recorded last."""
    events = [event for run in runs for event in run.events(0)[0] if isinstance(event, Step)]
    return {event.step: event.learning_rate for event in events}


def interrupted(begin, engine, at, **values):
    """The runs of a training that is interrupted after the state of each of these steps; the last one is complete."""
    runs = [begin(engine, **values)]
    for step in at:
        stop_after_state(runs[-1], step)
        runs.append(begin(engine, runs[-1]))
    wait(runs[-1], lambda run: run.state in FINAL_STATES, seconds=900)
    assert runs[-1].state is JobState.COMPLETED, (runs[-1].diagnosis, runs[-1].result)
    return runs


def test_sd_scripts_continues_with_the_same_learning_rates_to_the_planned_step(begin):
    if environments.installed("kohya") is None:
        pytest.skip("kohya is not installed here (python installer.py backend install kohya)")
    machine = hardware.machine(places.home())
    if machine.accelerator.kind == "cpu" and machine.free_ram_bytes < 9 * GIB:
        pytest.skip("sd-scripts needs 9 GiB of free memory on a CPU")
    at = sorted(random.sample(range(1, STEPS), 3))
    print(f"\ninterrupted after the steps {at}", file=sys.stderr)
    runs = interrupted(begin, "kohya", at)
    whole = begin("kohya")
    wait(whole, lambda run: run.state in FINAL_STATES, seconds=900)
    assert whole.state is JobState.COMPLETED, whole.diagnosis
    assert sorted(rates(*runs)) == sorted(rates(whole)) == list(range(1, STEPS + 1))
    assert rates(*runs) == rates(whole)
    last = runs[-1]
    assert last.folder.done_steps + len(rates(last)) == STEPS
    assert last.summary.step == last.summary.total == STEPS
    (kept,) = last.folder.output.glob("*-state")
    assert json.loads((kept / "train_state.json").read_text())["current_step"] == STEPS
    assert (last.folder.output / f"blob-step{STEPS:08d}.safetensors").is_file()
    assert len(list(last.folder.dataset.glob("*.npz"))) == len(SIDES)

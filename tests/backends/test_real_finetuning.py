"""Real engines finetune through the finetuning trainer: the app is opened, a method chosen, and Start pressed.

The models have random weights, at a size a CPU can do. An engine that is not installed is skipped, and the reason is printed.
"""

import os
import sys
import time

import pytest

from tests.support.page import enter
from trainer_core import hardware, places
from trainer_core.demo import assets
from trainer_core.demo.dataset import draw_dataset
from trainer_core.events import Step
from trainer_core.install import environments
from trainer_core.jobs.state import FINAL_STATES, JobState
from trainer_core.prepare.workbench import Workbench
from trainer_ui.apps.finetuning_trainer import FinetuningTrainer

pytestmark = [pytest.mark.backend, pytest.mark.timeout(1200)]
GIB = 1024**3
STEPS = 4
SMALL = {
    "dataset.trigger": "blobbert",
    "dataset.resolution": 64,
    "schedule.steps": STEPS,
    "schedule.batch_size": 1,
    "schedule.gradient_accumulation": 1,
    "schedule.scheduler": "constant",
    "schedule.warmup_steps": 0,
    "optimizer.learning_rate": 1e-3,
    "memory.mixed_precision": "no",
    "memory.gradient_checkpointing": False,
    "memory.cache_text_encoder": False,
    "output.name": "blob",
    "output.save_every_steps": 2,
}
"""A size that a CPU can do; the optimizer is that of the profile."""
RUNS = {
    "kohya full": ("kohya", "full", {"output.save_every_steps": 0}, 16),
    "kohya textual inversion": (
        "kohya",
        "textual_inversion",
        {"embedding.init_word": "cat", "embedding.vectors": 2, "optimizer.learning_rate": 5e-3},
        9,
    ),
    "simpletuner full": ("simpletuner", "full", {"output.save_every_steps": 0}, 4),
}
"""The engine, the method, what differs from its profile, and the memory it takes on a CPU, in GiB.

The model of sd-scripts is a Stable Diffusion 1.5; that of SimpleTuner a small Stable Diffusion XL.
"""
LONG = ("simpletuner full",)
"""A minute, and `tests/browser/test_journey.py` does the same in a page: trained where that is asked for."""


@pytest.fixture
def open_trainer():
    opened = []

    def open_one(engine):
        app = FinetuningTrainer(Workbench(engine=engine))
        opened.append(app)
        app.open()
        return app

    yield open_one
    for app in opened:
        run = app.session.run
        app.close()
        if run is not None:
            run.stop(grace_s=2)
            run.folder.remove()


@pytest.mark.parametrize("name", RUNS)
def test_a_training_that_was_started_in_the_app_is_accepted(name, open_trainer, tmp_path):
    if name in LONG and not os.environ.get("EASEL_LONG"):
        pytest.skip("set EASEL_LONG=1 to train this too")
    engine, method, values, needed_gib = RUNS[name]
    if environments.installed(engine) is None:
        pytest.skip(f"{engine} is not installed here (python installer.py backend install {engine})")
    machine = hardware.machine(places.home())
    if machine.accelerator.kind == "cpu" and machine.free_ram_bytes < needed_gib * GIB:
        pytest.skip(f"{name} needs {needed_gib} GiB of free memory on a CPU")
    draw_dataset(tmp_path / "images")
    app = open_trainer(engine)
    session = app.session
    session.handler(lambda _: session.change({"model.path": str(assets.make_base(engine))}))()
    enter(app.recipe.profile.uses.buttons[method], True)
    assert session.bench.state.profile.method == method
    settings = {
        **SMALL,
        **values,
        "dataset.path": str(tmp_path / "images"),
        "output.folder": str(tmp_path / "out"),
    }
    session.handler(lambda _: session.change(settings))()
    app.launch.start.click()
    run = ended(session)
    assert run.state is JobState.COMPLETED, (run.diagnosis, run.result)
    steps = [event for event in run.events(0)[0] if isinstance(event, Step)]
    assert [event.step for event in steps] == list(range(1, STEPS + 1))
    assert run.result["acceptance"]["ok"]
    outputs = list((tmp_path / "out").iterdir())
    assert outputs, "the result is delivered"
    print(f"\n{name}: {run.result['seconds']:.0f} s, {run.result['acceptance']}", file=sys.stderr)


def ended(session):
    deadline = time.monotonic() + 1000
    while session.run is None or session.run.state not in FINAL_STATES:
        assert "Not started" not in session.message, session.message
        assert time.monotonic() < deadline, session.run and session.run.summary
        time.sleep(0.5)
    return session.run

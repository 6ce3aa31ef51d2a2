"""sd-scripts trains class images beside those of the subject, as often as Easel counts them."""

import re

import pytest

from trainer_core import hardware, places
from trainer_core.demo.dataset import draw_dataset
from trainer_core.engines import batches, registry
from trainer_core.install import environments
from trainer_core.plan.sections import TrainingPlan
from trainer_core.training.run import Run

pytestmark = [pytest.mark.backend, pytest.mark.timeout(1200)]
GIB = 1024**3


def test_a_real_engine_trains_class_images_as_they_are_counted(train, tmp_path, monkeypatch):
    if environments.installed("kohya") is None:
        pytest.skip("kohya is not installed here (python installer.py backend install kohya)")
    if hardware.machine(places.home()).free_ram_bytes < 9 * GIB:
        pytest.skip("it needs 9 GiB of free memory on a CPU")
    draw_dataset(tmp_path / "class")
    for name in tmp_path.glob("class/*.txt"):
        name.unlink()
    launched = []
    attach = Run.attach
    monkeypatch.setattr(Run, "attach", lambda *words: launched.append(attach(*words)) or launched[-1])
    settings = {
        "dataset.class_path": tmp_path / "class",
        "dataset.class_caption": "a blob",
        "dataset.class_weight": 0.5,
        "dataset.repeats": 3,
        "output.save_every_steps": 0,
    }
    train("kohya", "class images", settings)
    (run,) = launched
    log = run.folder.log.read_text(encoding="utf-8")
    images, of_class = (len(list(folder.glob("*.txt"))) for folder in (run.folder.dataset, run.folder.class_images))
    assert images
    assert of_class
    uses = batches.class_uses(
        TrainingPlan.model_validate(run.folder.plan), images, of_class, registry.get("kohya").manifest
    )
    assert int(re.findall(r"(\d+) train images with repeats", log)[0]) == 3 * images
    loaded = int(re.findall(r"num batches per epoch[^:]*: (\d+)", log)[0])
    assert loaded == 3 * images + sum(many * each for many, each in uses) == 6 * images
    assert "is_reg: True" in log

"""SimpleTuner really trains on pairs of images: tiny models with random weights of each family that it shows control images."""

import os
import subprocess
from pathlib import Path

import pytest
from PIL import Image, ImageOps

from trainer_core.child import child_environment
from trainer_core.demo.dataset import draw_dataset
from trainer_core.install import environments
from trainer_core.training.run import Run

pytestmark = [pytest.mark.backend, pytest.mark.timeout(900)]
MAKERS = Path(__file__).parents[1] / "support"
CHANGES = {"before": ImageOps.grayscale, "negative": ImageOps.invert}
FIRST, SECOND = "dataset.controls", "dataset.controls_2"
SAMPLED = {"sampling.every_steps": 4, "sampling.width": 64, "sampling.height": 64, "sampling.inference_steps": 2}
ONE_A_STEP = {"schedule.batch_size": 1}
MODELS = {
    "flux2": {},
    "z_image": {"model.variant": "base"},
    "qwen_edit_2509": ONE_A_STEP,
    "qwen_edit_2511": ONE_A_STEP,
}
"""What the plan of a model says more."""


@pytest.fixture
def python():
    found = environments.installed("simpletuner")
    if found is None or found.version.startswith("3."):
        pytest.skip("SimpleTuner 4 is not installed here (python installer.py backend install simpletuner)")
    if not os.environ.get("EASEL_LONG"):
        pytest.skip("set EASEL_LONG=1 to train this too")
    return found.python


@pytest.fixture
def caches(tmp_path, train, monkeypatch):
    """Trains with control images, and gives the files that the engine made of them and of the images, by cache folder."""

    def trained(model, folders, values):
        launched = []
        attach = Run.attach
        monkeypatch.setattr(Run, "attach", lambda *words: launched.append(attach(*words)) or launched[-1])
        draw_dataset(tmp_path / "images")
        for setting, (folder, change) in zip(folders, CHANGES.items(), strict=False):
            (tmp_path / folder).mkdir()
            for path in (tmp_path / "images").glob("*.png"):
                with Image.open(path) as image:
                    change(image.convert("RGB")).convert("RGB").save(tmp_path / folder / f"{path.stem}.jpg")
            values = {**values, setting: tmp_path / folder}
        results = train("simpletuner", model.name, values, model=model)
        assert (results / "blob.safetensors").is_file()
        (run,) = launched
        return {path.name: sorted(path.iterdir()) for path in (run.folder.path / "cache").glob("vae*")}

    return trained


def make(python, maker, *words):
    environment = child_environment({"HF_HUB_OFFLINE": "1"})
    subprocess.run([python, MAKERS / maker, *words], check=True, capture_output=True, env=environment)


def differ(caches, names):
    """Whether there is a file for each image in each cache, and each is that of another image under the same name."""
    assert {name: len(files) for name, files in caches.items()} == dict.fromkeys(names, 12)
    for files in zip(*caches.values(), strict=True):
        assert len({path.read_bytes() for path in files}) == len(names)


def test_it_reads_every_control_image(python, caches, tmp_path):
    make(python, "tiny_kontext.py", tmp_path / "kontext")
    found = caches(tmp_path / "kontext", (FIRST, SECOND), {})
    differ(found, ("vae", "vae-controls-1", "vae-controls-2"))


@pytest.mark.parametrize("name", MODELS)
def test_it_trains_on_pairs(name, python, caches, tmp_path):
    make(python, "tiny_pipelines.py", name, tmp_path / name)
    values = {**SAMPLED, **MODELS[name]}
    found = caches(tmp_path / name, (FIRST, SECOND) if name == "flux2" else (FIRST,), values)
    differ(found, sorted(found))
    assert "vae-controls-1" in found

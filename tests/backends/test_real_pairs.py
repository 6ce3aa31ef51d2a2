"""SimpleTuner really trains a FLUX.1 Kontext on pairs of images: a tiny one with random weights, at a size a CPU can do."""

import os
import subprocess
from pathlib import Path

import pytest
from PIL import Image, ImageOps

from trainer_core.demo.dataset import draw_dataset
from trainer_core.install import environments
from trainer_core.training.run import Run

pytestmark = [pytest.mark.backend, pytest.mark.timeout(900)]
MAKER = Path(__file__).parents[1] / "support" / "tiny_kontext.py"


@pytest.fixture
def kontext(tmp_path):
    found = environments.installed("simpletuner")
    if found is None or found.version.startswith("3."):
        pytest.skip("SimpleTuner 4 is not installed here (python installer.py backend install simpletuner)")
    if not os.environ.get("EASEL_LONG"):
        pytest.skip("set EASEL_LONG=1 to train this too")
    subprocess.run([found.python, MAKER, tmp_path / "kontext"], check=True, capture_output=True)
    return tmp_path / "kontext"


def test_it_reads_every_control_image(train, kontext, tmp_path, monkeypatch):
    launched = []
    attach = Run.attach
    monkeypatch.setattr(Run, "attach", lambda *words: launched.append(attach(*words)) or launched[-1])
    draw_dataset(tmp_path / "images")
    for folder, change in (("before", ImageOps.grayscale), ("negative", ImageOps.invert)):
        (tmp_path / folder).mkdir()
        for path in (tmp_path / "images").glob("*.png"):
            with Image.open(path) as image:
                change(image.convert("RGB")).convert("RGB").save(tmp_path / folder / f"{path.stem}.jpg")
    controls = {"dataset.controls": tmp_path / "before", "dataset.controls_2": tmp_path / "negative"}
    results = train("simpletuner", "Kontext", controls, model=kontext)
    assert (results / "blob.safetensors").is_file()
    (run,) = launched
    caches = {path.name: sorted(path.iterdir()) for path in (run.folder.path / "cache").glob("vae*")}
    assert {name: len(files) for name, files in caches.items()} == {
        "vae": 12,
        "vae-controls-1": 12,
        "vae-controls-2": 12,
    }
    # Each is that of another image under the same name.
    for files in zip(*caches.values(), strict=True):
        assert len({path.read_bytes() for path in files}) == 3

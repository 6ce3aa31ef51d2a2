"""The real engines train several image folders at once: with repeats of their own, masks, class images and held-out images."""

import json

import pytest
from PIL import Image

from trainer_core import hardware, places
from trainer_core.demo.dataset import draw_dataset
from trainer_core.engines import registry
from trainer_core.events import Validation
from trainer_core.install import environments
from trainer_core.training.run import Run

pytestmark = [pytest.mark.backend, pytest.mark.timeout(1200)]
GIB = 1024**3


def folders(root):
    """A second folder, with a mask for one of its images, and a folder of class images."""
    draw_dataset(root / "3_more")
    draw_dataset(root / "class")
    for path in sorted((root / "3_more").iterdir())[6:]:
        path.unlink()
    (root / "masks").mkdir()
    image = next((root / "3_more").glob("*.png"))
    with Image.open(image) as opened:
        mask = Image.new("L", opened.size, 0)
        mask.paste(255, (0, 0, opened.width // 2, opened.height))
        mask.save(root / "masks" / image.name)
    return [
        {"path": str(root / "3_more"), "repeats": 3, "masks": str(root / "masks"), "validation_share": 0},
        {"path": str(root / "class"), "kind": "regularisation", "caption": "a blob"},
    ]


@pytest.mark.parametrize("engine", ["kohya", "simpletuner"])
def test_a_real_engine_trains_several_folders(engine, train, tmp_path, monkeypatch):
    if environments.installed(engine) is None:
        pytest.skip(f"{engine} is not installed here (python installer.py backend install {engine})")
    if hardware.machine(places.home()).free_ram_bytes < 9 * GIB:
        pytest.skip("it needs 9 GiB of free memory on a CPU")
    launched = []
    attach = Run.attach
    monkeypatch.setattr(Run, "attach", lambda *words: launched.append(attach(*words)) or launched[-1])
    tables = folders(tmp_path)
    if engine == "simpletuner":
        # Its steps with class images change nothing in a new network, and here all four may be such steps.
        tables = tables[:1]
    settings = {"dataset.subsets": json.dumps(tables), "output.save_every_steps": 0}
    holds_out = any(claim.cell("lora").validation for claim in registry.get(engine).manifest.families.values())
    if holds_out:
        settings |= {"dataset.validation_share": 0.1, "dataset.validate_every": 2}
    train(engine, "several folders", settings)
    (run,) = launched
    staged = sorted(path.name for path in run.folder.path.iterdir() if path.is_dir())
    assert {"dataset", "subset_2", "subset_2_masks", "subset_3"} - set(staged) <= {f"subset_{len(tables) + 2}"}
    found = [event for event in run.events(0)[0] if isinstance(event, Validation)]
    if holds_out:
        assert len(list((run.folder.path / "dataset_validation").glob("*.png"))) == 1
        assert [event.step for event in found] == [2, 4]
        assert all(event.loss > 0 for event in found)

"""What Easel says of a folder is what sd-scripts' own dataset code makes of it, where that engine is installed."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from trainer_core import environments, registry
from trainer_core.datasets.scan import scan
from trainer_core.datasets.stage import stage

# Runs inside the engine: its list of a folder's pictures, and what it makes of a staged one.
PROBE = """
import argparse, json, os, sys
source, raw, staged = sys.argv[1:]
sys.path.insert(0, source)
from PIL import Image
from library import config_util, train_util
seen = sorted(os.path.basename(path) for path in train_util.glob_images(raw))
dataset = {"batch_size": 1, "subsets": [{"image_dir": staged, "num_repeats": 1}]}
general = {"enable_bucket": True, "resolution": 256, "min_bucket_reso": 64, "caption_extension": ".txt"}
sanitizer = config_util.ConfigSanitizer(True, True, False, True)
arguments = argparse.Namespace(prior_loss_weight=1.0, debug_dataset=False)
blueprint = config_util.BlueprintGenerator(sanitizer).generate({"general": general, "datasets": [dataset]}, arguments)
group = config_util.generate_dataset_group_by_blueprint(blueprint.dataset_group)
group = group[0] if isinstance(group, tuple) else group
found = sorted(group.datasets[0].image_data.values(), key=lambda info: info.absolute_path)
rows = [[info.caption, *(info.image_size or Image.open(info.absolute_path).size)] for info in found]
print("PROBE " + json.dumps({"seen": seen, "rows": rows}))
"""


def draw(path: Path, size: tuple[int, int] = (300, 280), **options: Any) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (size[1], size[0], 3), np.uint8)
    Image.fromarray(noise).save(path, **options)


def wild_folder(root: Path) -> None:
    (root / "sub").mkdir(parents=True)
    formats = {".jfif": "JPEG", ".tif": "TIFF"}
    names = ("a.png", "b.JPG", "c.Jpg", ".h.png", "._m.png", "d.webp", "e.gif", "f.tif", "j.jfif", "sub/g.png", "i.bmp")
    for name in (
        *names,
        "cat.png",
        "cat.jpg",
        "cat_2024_01_02_15.png",
        "caf\u00e9.png",
        "x y [1].png",
        f"{'n' * 200}.png",
    ):
        draw(root / name, format=formats.get(Path(name).suffix))
    exif = Image.Exif()
    exif[0x0112] = 6
    draw(root / "turned.jpg", (400, 300), exif=exif)
    captions = {"a": b"\xef\xbb\xbfsks a", "b": b"one\ntwo\n", "cat": b"a cat", "d": b"", "x y [1]": b"\n\nsks bracket"}
    for stem, data in {**captions, "i": "caf\u00e9".encode("utf-16")}.items():
        (root / f"{stem}.txt").write_bytes(data)


@pytest.mark.backend
def test_sd_scripts_sees_and_reads_what_the_scan_says(tmp_path: Path) -> None:
    engine = environments.installed("kohya")
    if engine is None:
        pytest.skip("sd-scripts is not installed")
    raw, folder = tmp_path / "raw", tmp_path / "staged"
    wild_folder(raw)
    found = scan(raw, registry.get("kohya").manifest.dataset, trigger="sks")
    stage(found, folder, "sks")
    command = [engine.python, "-c", PROBE, engine.source, raw, folder]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False, cwd=tmp_path)
    line = next((line for line in done.stdout.splitlines() if line.startswith("PROBE ")), None)
    assert line is not None, done.stderr[-2000:]
    engine_says = json.loads(line.removeprefix("PROBE "))
    assert engine_says["seen"] == [picture.path.name for picture in found.pictures]
    assert engine_says["rows"] == [[p.caption or "sks", p.width, p.height] for p in found.pictures]

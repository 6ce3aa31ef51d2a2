"""What an image loses in its bucket is what the engines' own bucket code crops away."""

import json
from pathlib import Path

import pytest
from PIL import Image

from trainer_core.curation import placements
from trainer_core.datasets import bucket_places, scan
from trainer_core.engines import registry

RECORDED = json.loads((Path(__file__).parents[1] / "data" / "bucket_places.json").read_text())
"""Size, resolution and step, and what `BucketManager.select_bucket` of sd-scripts 48d368f and
`calculate_new_size_by_pixel_area` of SimpleTuner 4.10.1 gave for them: bucket and scaled size. All of 14,500 sizes agreed."""


@pytest.mark.parametrize("way", ["listed", "shrunk", "rounded"])
def test_images_are_placed_as_the_engines_do(way):
    rows = [row for row in RECORDED if row[0] == way]
    assert len(rows) > 30
    for _, size, side, step, bucket, scaled in rows:
        placed = bucket_places.placed(tuple(size), way, side, step)
        assert (list(placed.bucket), list(placed.scaled)) == (bucket, scaled), size


def test_the_lost_share_is_what_lies_outside_of_the_bucket():
    # As the engine did with such images: 2400x200 was scaled to 3072x256, and its bucket was 1024x256.
    assert bucket_places.placed((2400, 200), "listed", 512, 64) == bucket_places.Placed((1024, 256), (3072, 256))
    assert bucket_places.placed((2400, 200), "listed", 512, 64).lost == pytest.approx(2 / 3)
    assert bucket_places.placed((600, 400), "square", 512, 64).lost == pytest.approx(1 / 3, abs=0.01)
    assert bucket_places.placed((512, 512), "listed", 512, 64).lost == 0


def test_the_worst_image_is_first(tmp_path):
    for name, size in (("a", (512, 512)), ("wide", (1200, 200)), ("c", (600, 400)), ("tiny", (100, 100))):
        Image.new("RGB", size).save(tmp_path / f"{name}.png")
    rules = registry.get("kohya").manifest.dataset
    found = placements.placements(scan.scan(tmp_path, rules, quick=True), bucket_places.way(rules), 512, 64)
    assert [one.name for one in found] == ["wide.png", "c.png", "tiny.png", "a.png"]
    assert found[0].lost > 0.25
    assert found[2].enlarged == 5.12


def test_the_way_follows_the_rules_of_the_engine():
    kohya, simpletuner = (registry.get(name).manifest.dataset for name in ("kohya", "simpletuner"))
    assert bucket_places.way(kohya) == "listed"
    assert bucket_places.way(kohya.with_native({"bucket_no_upscale": True})) == "shrunk"
    assert bucket_places.way(simpletuner) == "rounded"
    assert bucket_places.way(simpletuner, bucketing=False) == "square"

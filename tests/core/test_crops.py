"""An image that was cut out of another one is asked about; other images are not."""

import numpy as np
import pytest

from tests.support.scenes import drawn as scene
from trainer_core.curation import crops, fingerprints


def cut(image, share, chance):
    wide, high = int(image.width * share), int(image.height * share)
    left, top = int(chance.integers(0, image.width - wide + 1)), int(chance.integers(0, image.height - high + 1))
    return image.crop((left, top, left + wide, top + high))


@pytest.mark.parametrize(("share", "least"), [(0.9, 23), (0.8, 22), (0.65, 8)])
def test_crops_are_found(share, least):
    chance = np.random.default_rng(3)
    prints = {}
    for seed in range(24):
        image = scene(seed)
        prints[f"{seed}"] = fingerprints.of_image(image)
        prints[f"{seed} cut"] = fingerprints.of_image(cut(image, share, chance).resize((400, 300)))
    found = crops.find(prints)
    right = [crop for crop in found if crop.path == f"{crop.whole} cut"]
    assert len(right) >= least
    assert len(found) - len(right) <= 1
    assert all(abs(crop.share - share**2) < 0.2 for crop in right)


def test_other_images_and_known_pairs_are_not_asked_about():
    prints = {f"{seed}": fingerprints.of_image(scene(seed)) for seed in range(40)}
    assert crops.find(prints) == []
    assert crops.find({}) == []
    prints = {
        "a": fingerprints.of_image(scene(1)),
        "b": fingerprints.of_image(cut(scene(1), 0.9, np.random.default_rng(1))),
    }
    assert [crop.path for crop in crops.find(prints)] == ["b"]
    assert crops.find(prints, {frozenset(("a", "b"))}) == []


def test_a_square_part_of_a_wide_image_is_found():
    wide = scene(7)
    prints = {"wide": fingerprints.of_image(wide), "square": fingerprints.of_image(wide.crop((60, 0, 444, 384)))}
    (crop,) = crops.find(prints)
    assert (crop.path, crop.whole) == ("square", "wide")
    assert abs(crop.share - 0.75) < 0.08

"""Copies of images are found however they were saved, and other images are not taken for copies."""

import io

import pytest
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageOps

from tests.support.scenes import drawn as scene
from tests.support.scenes import natural
from trainer_core.curation import duplicates, fingerprints


def again(image, kind="JPEG", **more):
    file = io.BytesIO()
    image.save(file, kind, **more)
    return Image.open(io.BytesIO(file.getvalue()))


COPIES = {
    "compressed": lambda image: again(image, quality=40),
    "small": lambda image: image.resize((200, 150), Image.Resampling.LANCZOS),
    "large": lambda image: image.resize((1024, 768), Image.Resampling.BICUBIC),
    "webp": lambda image: again(image, "WEBP", quality=60),
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.15),
    "gray": ImageOps.grayscale,
    "blurred": lambda image: image.filter(ImageFilter.GaussianBlur(2)),
}


@pytest.mark.parametrize("kind", COPIES)
def test_copies_are_near(kind):
    for seed in range(12):
        one, other = fingerprints.of_image(scene(seed)), fingerprints.of_image(COPIES[kind](scene(seed)))
        bits = sum((a ^ b).bit_count() for a, b in zip(one.hash, other.hash, strict=True))
        assert bits <= duplicates.NEAR_BITS, (seed, bits)
        # What became white by more light is gone.
        most = duplicates.EDITED if kind == "brighter" else duplicates.SAME
        assert fingerprints.difference(one, other) <= most


def test_other_scenes_are_far_and_mirrored_ones_are_known():
    found = [fingerprints.of_image(scene(seed)) for seed in range(60)]
    for place, one in enumerate(found):
        for other in found[place + 1 :]:
            for hash_ in (other.hash, other.mirrored):
                bits = sum((a ^ b).bit_count() for a, b in zip(one.hash, hash_, strict=True))
                assert bits > duplicates.NEAR_BITS
    turned = fingerprints.of_image(ImageOps.mirror(scene(3)))
    assert sum((a ^ b).bit_count() for a, b in zip(found[3].mirrored, turned.hash, strict=True)) <= 24
    assert fingerprints.difference(found[3], turned, mirrored=True) <= duplicates.SAME


def test_groups_name_the_best_and_what_the_others_are(tmp_path):
    scene(1).save(tmp_path / "one.png")
    scene(1).save(tmp_path / "one-again.png")
    scene(1).resize((200, 150)).save(tmp_path / "small.jpg", quality=60)
    ImageOps.mirror(scene(1)).save(tmp_path / "mirrored.png")
    scene(2).save(tmp_path / "two.png")
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "empty too.png").write_bytes(b"")
    Image.new("RGB", (64, 64), "red").save(tmp_path / "red.png")
    Image.new("RGB", (64, 64), "blue").save(tmp_path / "blue.png")
    (tmp_path / "one-again.txt").write_text("a caption")
    found = duplicates.groups(tmp_path)
    first, second = found
    assert first.best.path == "one-again.png", "of the same size, the one with a caption"
    assert [(one.path, one.kind, one.is_mirrored) for one in first.others] == [
        ("one.png", "exact", False),
        ("small.jpg", "same", False),
        ("mirrored.png", "edited", True),
    ]
    assert {second.best.path, *(one.path for one in second.others)} == {"empty.png", "empty too.png"}


def test_a_moved_subject_is_a_variation_and_stays(tmp_path):
    image = scene(5)
    for number, x in enumerate((60, 130, 260)):
        part = image.copy()
        ImageDraw.Draw(part).ellipse((x, 120, x + 150, 330), fill="white", outline="black", width=6)
        part.save(tmp_path / f"{number}.png")
    assert duplicates.groups(tmp_path) == []


def test_an_image_without_detail_has_no_fingerprint(tmp_path):
    assert fingerprints.of_image(Image.new("RGB", (300, 300), "white")) is None
    assert fingerprints.of_file(tmp_path / "none.png") is None
    assert duplicates.groups(tmp_path) == []


def test_a_copy_without_visible_blocks_is_kept(tmp_path):
    natural(3, (480, 360)).save(tmp_path / "good.png")
    natural(3, (480, 360)).save(tmp_path / "blocky.jpg", quality=5)
    (tmp_path / "blocky.txt").write_text("with a caption")
    (group,) = duplicates.groups(tmp_path)
    assert group.best.path == "good.png"
    assert [one.is_blocky for one in (group.best, *group.others)] == [False, True]

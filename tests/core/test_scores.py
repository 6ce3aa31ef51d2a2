"""Each image is decoded once; what was seen is kept, and says what is wrong with a blurred, dark or enlarged image."""

import io
import os
import sqlite3

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageFilter

from tests.support.scenes import natural as scene
from trainer_core.curation import look_store, looks, quality, scores
from trainer_core.datasets import images, scan
from trainer_core.engines import registry

KOHYA = registry.get("kohya").manifest.dataset


def again(image, quality_):
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality_)
    return Image.open(io.BytesIO(file.getvalue())).convert("RGB")


def enlarged(image, times):
    small = image.resize((image.width // times, image.height // times), Image.Resampling.LANCZOS)
    return small.resize(image.size, Image.Resampling.BICUBIC)


def barred(image):
    whole = Image.new("RGB", image.size, "black")
    whole.paste(image.resize((image.width, image.height * 3 // 4)), (0, image.height // 8))
    return whole


FAULTS = {
    "blank": lambda image: Image.new("RGB", image.size, (90, 90, 92)),
    "dark": lambda image: ImageEnhance.Brightness(image).enhance(0.13),
    "bright": lambda image: image.point(lambda value: 220 + value // 7),
    "low_contrast": lambda image: image.point(lambda value: 110 + value // 7),
    "blurred": lambda image: image.filter(ImageFilter.GaussianBlur(9)),
    "soft": lambda image: enlarged(image, 4),
    "blocky": lambda image: again(image, 4),
    "barred": barred,
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "home"))
    (tmp_path / "images").mkdir()
    return tmp_path / "images"


@pytest.mark.parametrize("key", quality.FINDINGS)
def test_each_fault_is_found(folder, key):
    FAULTS[key](scene()).save(folder / "a.png")
    found = quality.found(scores.measured(folder)["a.png"].scores)
    assert found.get(key) == "found", (found, scores.measured(folder)["a.png"].scores)
    assert key == "blank" or "blank" not in found


def test_nothing_is_found_in_good_images(folder):
    for seed in range(6):
        scene(seed).save(folder / f"{seed}.jpg", quality=(75, 90)[seed % 2])
        scene(seed, (1400, 1100)).save(folder / f"{seed}.png")
        scene(seed, (300, 300)).convert("L").save(folder / f"{seed}.webp")
    found = {path: quality.found(look.scores) for path, look in scores.measured(folder).items()}
    assert len(found) == 18
    assert not any(found.values()), found


def test_a_subject_before_a_plain_background_has_no_bars(folder):
    image = Image.new("RGB", (600, 600), "white")
    image.paste(scene(1, (200, 360)), (200, 120))
    image.save(folder / "a.png")
    assert "barred" not in quality.found(scores.measured(folder)["a.png"].scores)


def test_an_image_that_cannot_be_measured_is_said_to_be_not_measured(folder):
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0" + bytes(50))
    Image.new("RGB", (20, 20)).save(folder / "tiny.png")
    Image.new("F", (64, 64)).save(folder / "values.tif")
    found = scores.measured(folder)
    assert [quality.state("blurred", look.scores) for look in found.values()] == ["not measured"] * 3
    assert not any(quality.found(look.scores) for look in found.values())
    assert quality.counts(look.scores for look in found.values())["blurred"] == {"not measured": 3}


def test_a_threshold_moves_without_measuring_again():
    seen = [{"blur": value} for value in (1.0, 3.0, 9.0)]
    assert [quality.state("blurred", one) for one in seen] == ["found", "unsure", "fine"]
    assert [quality.state("blurred", one, {"blurred": 8.5}) for one in seen] == ["found", "found", "unsure"]
    assert quality.counts(seen, {"blurred": 8.5})["blurred"] == {"found": 2, "unsure": 1}


def test_every_measure_and_finding_is_explained():
    used = {limit.measure for finding in quality.FINDINGS.values() for limit in finding.limits}
    assert used == set(quality.MEASURES)
    for row in [*quality.MEASURES.values(), *quality.FINDINGS.values()]:
        assert all((row.title, row.meaning, row.source))


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1", "CMYK", "I;16"])
def test_every_kind_of_image_is_measured(folder, mode):
    image = scene(3)
    plain = (
        Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
        if mode == "I;16"
        else image.convert(mode)
    )
    plain.save(folder / ("a.tif" if mode == "CMYK" else "a.png"))
    (look,) = scores.measured(folder).values()
    assert set(look.scores) == set(quality.MEASURES)
    assert abs(look.scores["brightness"] - 128) < 20 or mode == "1"
    assert look.fingerprint is not None


def test_a_damaged_jpeg_is_found_as_by_the_decoder_of_the_engines(tmp_path):
    """The gray decoding of a look reads every part of a JPEG, as the decoding of colours does."""
    whole, chance = io.BytesIO(), np.random.default_rng(5)
    scene(2, (320, 256)).save(whole, "JPEG", quality=85)
    progressive = io.BytesIO()
    scene(2, (320, 256)).save(progressive, "JPEG", quality=85, progressive=True)
    path = tmp_path / "a.jpg"
    damaged = 0
    for number in range(240):
        data = bytearray((whole if number % 2 else progressive).getvalue())
        if number % 3 == 0:
            del data[int(chance.integers(2, len(data))) :]
        for _ in range(number % 4):
            data[int(chance.integers(0, len(data)))] ^= int(chance.integers(1, 255))
        path.write_bytes(data)
        expected = images.inspect(path, quick=False)
        assert looks.look(path).info == expected, number
        damaged += bool({"damaged", "heic"} & set(expected.defects))
    assert damaged > 60


def test_only_changed_files_are_decoded_again(folder, monkeypatch):
    for seed in range(3):
        scene(seed, (200, 200)).save(folder / f"{seed}.png")
    first = scores.measured(folder)
    decoded = []
    with monkeypatch.context() as patched:
        patched.setattr(looks, "look", lambda path: decoded.append(path.name))
        assert scores.measured(folder) == first
        assert scores.stored(folder) == first
    assert decoded == []
    scene(9, (200, 200)).save(folder / "1.png")
    os.utime(folder / "1.png", ns=(1, 1))
    assert set(scores.stored(folder)) == {"0.png", "2.png"}
    assert scores.measured(folder)["1.png"] != first["1.png"]


def test_files_that_are_gone_are_forgotten(folder):
    for name in ("a.png", "b.png"):
        scene(1, (100, 100)).save(folder / name)
    other = folder.with_name("images2")
    other.mkdir()
    scene(1, (100, 100)).save(other / "c.png")
    scores.measured(other)
    scores.measured(folder)
    (folder / "a.png").unlink()
    scores.measured(folder)
    with sqlite3.connect(look_store.file()) as database:
        names = {os.path.basename(path) for (path,) in database.execute("select path from looks")}  # noqa: PTH119 - bytes
    assert names == {b"b.png", b"c.png"}


def test_a_damaged_cache_is_made_anew(folder):
    scene(1, (100, 100)).save(folder / "a.png")
    first = scores.measured(folder)
    look_store.file().write_bytes(b"not a database" * 500)
    assert scores.stored(folder) == {}
    assert scores.measured(folder) == first
    assert scores.stored(folder) == first


def test_a_check_can_be_stopped_and_goes_on_from_there(folder, monkeypatch):
    monkeypatch.setattr(scores, "AT_ONCE", 2)
    for seed in range(6):
        scene(seed, (100, 100)).save(folder / f"{seed}.png")
    told = []
    first = scores.measured(folder, went_on=lambda *numbers: told.append(numbers), is_cancelled=lambda: len(told) > 2)
    assert sorted(first) == ["0.png", "1.png"]
    assert told == [(0, 6), (1, 6), (2, 6)]
    scores.measured(folder, went_on=lambda *numbers: told.append(numbers))
    assert told[3] == (2, 6)
    assert told[-1] == (6, 6)


def test_a_scan_with_what_is_known_says_the_same(folder):
    scene(1).save(folder / "a.png")
    (folder / "b.jpg").write_bytes(b"\xff\xd8\xff" + bytes(99))
    turned = scene(2, (200, 100))
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(folder / "c.jpg", exif=exif)
    Image.new("RGBA", (300, 300), (9, 9, 9, 90)).save(folder / "d.png")
    inspect = scores.inspector(folder, scores.measured(folder))
    assert scan.scan(folder, KOHYA, inspect=inspect) == scan.scan(folder, KOHYA)

"""The list of the images of a dataset has everything that is known of each, also of those that no engine trains."""

import os

from PIL import Image

from tests.support.page import draw_images
from trainer_core.curation import catalogue, filtering, selections
from trainer_core.engines import registry

KOHYA = registry.get("kohya").manifest.dataset


def test_an_entry_has_what_is_known_of_an_image(tmp_path):
    folder = draw_images(tmp_path / "images", ["elena, smile"])
    image = next(folder.glob("*.png"))
    name, text = image.name, image.with_suffix(".txt").name
    os.utime(image, (5, 5))
    selections.keep(folder, "best", [name])
    selections.choose(folder, [name], "keep")
    more = {"scores": {name: {"blur": 3.0}}, "authors": {text: "user"}, "copies": {name: "other.png"}}
    (entry,) = catalogue.entries(folder, KOHYA, **more)
    with Image.open(image) as opened:
        size = opened.size
    assert entry == catalogue.Entry(
        name, *size, image.stat().st_size, 5.0, "elena, smile", text, entry.defects, True, {"blur": 3.0}, "user", "keep", ("best",), "other.png"
    )  # fmt: skip


def test_images_that_are_not_trained_are_listed_with_the_reason(tmp_path):
    folder = draw_images(tmp_path / "images", ["one"])
    (folder / "Odd.Jpg").write_bytes(b"")
    Image.new("RGB", (40, 30), "red").save(folder / "moving.gif")
    (folder / "moving.txt").write_text("a gif\u202e\n")
    (folder / "inner").mkdir()
    turned = Image.new("RGB", (60, 40), "red")
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(folder / "inner" / "turned.jpg", exif=exif)
    (folder / ".hidden.png").write_bytes(b"")
    found = {entry.path: entry for entry in catalogue.entries(folder, KOHYA)}
    assert [entry.is_trained for entry in found.values()].count(True) == 1
    assert ".hidden.png" not in found
    gif = found["moving.gif"]
    assert (gif.width, gif.height, gif.defects, gif.caption, gif.caption_path) == (
        40,
        30,
        ("ending",),
        "a gif\\u202e",
        "moving.txt",
    )
    assert found["Odd.Jpg"].defects == ("case",)
    assert found["Odd.Jpg"].width == 0
    assert (found["inner/turned.jpg"].width, found["inner/turned.jpg"].height) == (40, 60)
    assert "sub_folder" in found["inner/turned.jpg"].defects


def test_a_filter_finds_the_defects_of_a_dataset(tmp_path):
    folder = draw_images(tmp_path / "images", ["one, two", "", "sks three"])
    entries = catalogue.entries(folder, KOHYA, trigger="sks")
    assert len([one for one in entries if filtering.parse("problem:no_trigger").matches(one)]) == 1

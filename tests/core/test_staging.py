"""The run's own folder contains links to the images and the captions as shown; the user's folder is only read."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from tests.support.colour_profiles import LINEAR, profile
from trainer_core.datasets import colours
from trainer_core.datasets.rules import DatasetRules
from trainer_core.datasets.scan import Dataset, scan
from trainer_core.datasets.stage import Staged, stage
from trainer_core.errors import DatasetError

KOHYA = DatasetRules(frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp"}), False, "first")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    return folder


def draw(path: Path, size: tuple[int, int] = (300, 260), color: str = "teal", **options: object) -> Path:
    Image.new("RGB", size, color).save(path, **options)
    return path


def staged(root: Path, trigger: str = "", rules: DatasetRules = KOHYA) -> tuple[Staged, Path]:
    folder = root.parent / "run" / "dataset"
    return stage(scan(root, rules, trigger=trigger), folder, trigger), folder


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_images_are_links_and_captions_are_written(root: Path) -> None:
    draw(root / "a.png").with_suffix(".txt").write_bytes(b"\xef\xbb\xbfa cat\r\n")
    draw(root / "b.JPG")
    record, folder = staged(root, "sks")
    assert record == Staged(links=2, captions={"1-a.png": "a cat", "2-b.jpg": "sks"})
    assert names(folder) == ["1-a.png", "1-a.txt", "2-b.jpg", "2-b.txt"]
    link = folder / "1-a.png"
    assert link.is_symlink()
    assert link.readlink() == (root / "a.png").resolve()
    assert (folder / "1-a.txt").read_bytes() == b"a cat\n"
    assert (folder / "2-b.txt").read_bytes() == b"sks\n"


def test_the_users_folder_is_only_read(root: Path) -> None:
    draw(root / "a.png")
    before = {path: path.stat().st_mtime_ns for path in (root, *root.iterdir())}
    _, folder = staged(root)
    (folder / "1-a.npz").write_bytes(b"a cache of the engine")
    assert {path: path.stat().st_mtime_ns for path in (root, *root.iterdir())} == before


def test_unseen_and_stopping_files_are_not_staged(root: Path) -> None:
    draw(root / "a.png")
    draw(root / ".hidden.png")
    draw(root / "b.gif")
    (root / "c.png").write_bytes(b"")
    assert names(staged(root)[1]) == ["1-a.png", "1-a.txt"]


def test_every_image_gets_a_caption_so_that_none_is_borrowed(root: Path) -> None:
    draw(root / "cat.png").with_suffix(".txt").write_text("a cat")
    draw(root / "cat_2024_01_02_15.png")
    _, folder = staged(root)
    assert (folder / "2-cat_2024_01_02_15.txt").read_text() == "\n"


def test_images_with_the_same_stem_get_different_names(root: Path) -> None:
    for name in ("a.jpg", "a.png", "A.png", "img1.png", "img10.png"):
        draw(root / name)
    _, folder = staged(root)
    stems = {path.stem.casefold() for path in folder.iterdir() if path.suffix != ".txt"}
    assert len(stems) == 5
    assert not any(one != other and other.startswith(one) for one in stems for other in stems)


def test_names_are_made_safe_and_short(root: Path) -> None:
    wild = ["x" * 240, "\u5f71" * 80, "a\nb\x1b[31m", "<img onerror=x>", "a.b.c", "[x]*?", "caf\u00e9 2"]
    for stem in wild:
        draw(root / f"{stem}.png")
    draw(Path(os.fsdecode(os.fsencode(root) + b"/\xff\xfe.png")))
    record, folder = staged(root)
    assert record.links == 8
    for path in folder.iterdir():
        assert len(os.fsencode(path.name)) <= 190
        assert path.name.isprintable()
        assert not set(path.name) & set('<>:"/\\|?*[]')
        assert path.exists()
    assert any("caf\u00e9 2" in name for name in names(folder))


def test_copies_where_links_fail(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError("no links on this file system")

    draw(root / "a.png")
    monkeypatch.setattr(Path, "symlink_to", refuse)
    record, folder = staged(root)
    assert record.copies == 1
    assert not (folder / "1-a.png").is_symlink()
    assert (folder / "1-a.png").read_bytes() == (root / "a.png").read_bytes()


@pytest.mark.parametrize("ending", ["jpg", "png", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_rotated_images_are_staged_upright(root: Path, ending: str, orientation: int) -> None:
    upright = Image.new("RGB", (320, 480), "blue")
    upright.paste("red", (0, 0, 160, 160))  # Red in the upper left corner only.
    back = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # The transpose from upright to the stored orientation.
    stored = upright.transpose(Image.Transpose(back[orientation])) if orientation > 1 else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(root / f"a.{ending}", exif=exif, **({"quality": 95} if ending != "png" else {}))
    record, folder = staged(root)
    assert (record.links, record.corrected) == ((1, 0) if orientation == 1 else (0, 1))
    (path,) = [path for path in folder.iterdir() if path.suffix != ".txt"]
    with Image.open(path) as image:
        assert image.size == (320, 480)
        assert image.getexif().get(0x0112, 1) == 1
        red, blue = image.convert("RGB").getpixel((40, 40)), image.convert("RGB").getpixel((280, 440))
    assert red[0] - red[2] > 150
    assert blue[2] - blue[0] > 150


def test_sixteen_bit_gray_keeps_its_brightness(root: Path) -> None:
    values = np.linspace(0, 65535, 300 * 300).reshape(300, 300).astype(np.uint16)
    Image.fromarray(values).save(root / "a.png")
    record, folder = staged(root)
    assert record.corrected == 1
    assert set(record.captions) <= {path.name for path in folder.iterdir()}
    with Image.open(folder / "1-a.png") as image:
        assert image.mode == "L"
        assert 126 < np.asarray(image.convert("RGB")).mean() < 129


@pytest.mark.parametrize(
    ("mode", "ending"),
    [("RGB", "png"), ("RGB", "jpg"), ("RGB", "webp"), ("RGB", "tif"), ("L", "png"), ("L", "jpg"), ("L", "tif"),
     ("RGBA", "png"), ("RGBA", "webp"), ("RGBA", "tif")],
)  # fmt: skip
def test_colours_with_a_profile_are_converted_to_srgb(root: Path, mode: str, ending: str) -> None:
    own = profile((0, 0, 0), b"GRAY") if mode == "L" else LINEAR
    color = {"RGB": (55, 55, 55), "L": 55, "RGBA": (55, 55, 55, 128)}[mode]
    Image.new(mode, (300, 280), color).save(root / f"a.{ending}", icc_profile=own)
    rules = DatasetRules(KOHYA.extensions | {".tif"}, False, "first")
    found = scan(root, rules, quick=True)
    assert any("converted to sRGB" in problem.message for problem in found.problems)
    record = stage(found, root.parent / "run")
    assert record.corrected == 1
    with Image.open(root.parent / "run" / next(iter(record.captions))) as image:
        assert "icc_profile" not in image.info
        # A linear value of 55/255 is 127/255 in sRGB: ((55/255)^(1/2.4) * 1.055 - 0.055) * 255.
        assert np.abs(np.asarray(image.convert("RGB")).astype(int) - 127).max() <= 2
        assert image.has_transparency_data == (mode == "RGBA")
        if mode == "RGBA":
            assert image.getpixel((100, 100))[3] == 128


@pytest.mark.parametrize(
    "own",
    [ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(), b"x" * 300, LINEAR[:300], b"", LINEAR[:128],
     profile((0, 0, 0), b"GRAY")],
)  # fmt: skip
def test_srgb_and_profiles_that_cannot_be_used_change_nothing(root: Path, own: bytes) -> None:
    draw(root / "a.png", icc_profile=own)
    draw(root / "b.jpg", icc_profile=own)
    record, _ = staged(root)
    assert (record.links, record.corrected) == (2, 0)


@given(st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_a_damaged_profile_never_stops_the_scan(tmp_path: Path, data: st.DataObject) -> None:
    own = bytearray(LINEAR)
    for _ in range(data.draw(st.integers(1, 8))):
        own[data.draw(st.integers(0, len(own) - 1))] = data.draw(st.integers(0, 255))
    draw(tmp_path / "a.png", (20, 20), icc_profile=bytes(own))
    (image,) = scan(tmp_path, KOHYA).images
    if image.has_profile:
        with Image.open(image.path) as opened:
            assert colours.to_srgb(opened, bytes(own)).size == (20, 20)


def test_all_lines_of_a_caption_are_staged_where_each_is_a_caption(root: Path) -> None:
    draw(root / "a.png").with_suffix(".txt").write_text("one {a|b}\ntwo\n")
    rules = DatasetRules(KOHYA.extensions, False, "first", native={"wild": "wildcards"})
    record, folder = staged(root, rules=rules.with_native({"wild": True}))
    assert (folder / "1-a.txt").read_text() == "one {a|b}\ntwo\n"
    assert record.captions == {"1-a.png": "one {a|b}\ntwo"}


def test_masks_and_regularisation_images_are_not_staged(root: Path) -> None:
    draw(root / "a.png")
    for place in ("masks/a.png", "1_woman/b.png"):
        (root / place).parent.mkdir()
        draw(root / place, color="white")
    _, folder = staged(root, "elena", DatasetRules(KOHYA.extensions, True, "each", recursive=True))
    assert names(folder) == ["1-a.png", "1-a.txt"]


def test_captions_are_written_as_txt_and_with_the_chosen_extension(root: Path) -> None:
    draw(root / "a.png").with_suffix(".caption").write_text("a cat")
    folder = root.parent / "run"
    stage(scan(root, KOHYA, caption_extension=".caption"), folder)
    assert names(folder) == ["1-a.caption", "1-a.png", "1-a.txt"]
    assert (folder / "1-a.caption").read_text() == "a cat\n"


def test_each_line_stays_a_separate_caption(root: Path) -> None:
    draw(root / "a.png").with_suffix(".txt").write_text("a cat\r\n\r\nan animal\r\n")
    _, folder = staged(root, rules=DatasetRules(KOHYA.extensions, True, "each"))
    assert (folder / "1-a.txt").read_bytes() == b"a cat\nan animal\n"


def test_a_folder_inside_the_dataset_or_with_files_is_refused(root: Path) -> None:
    draw(root / "a.png")
    dataset = scan(root, KOHYA)
    with pytest.raises(DatasetError, match="inside the dataset"):
        stage(dataset, root / "run")
    assert names(root) == ["a.png"]
    (root.parent / "full").mkdir()
    (root.parent / "full" / "old.npz").write_bytes(b"")
    with pytest.raises(DatasetError, match="not empty"):
        stage(dataset, root.parent / "full")


def test_the_error_for_a_removed_image_names_it(root: Path) -> None:
    draw(root / "a.png")
    dataset: Dataset = scan(root, KOHYA)
    (root / "a.png").unlink()
    with pytest.raises(DatasetError, match=r"a\.png was removed"):
        stage(dataset, root.parent / "run")

"""The run's own folder holds links to the pictures and the captions as they were shown; the user's is only read."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trainer_core.backend import DatasetRules
from trainer_core.datasets.scan import Dataset, scan
from trainer_core.datasets.stage import Staged, stage
from trainer_core.errors import DatasetError

KOHYA = DatasetRules(frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp"}), False, "first")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
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


def test_pictures_are_links_and_captions_are_written(root: Path) -> None:
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


def test_what_was_not_seen_or_stops_is_not_staged(root: Path) -> None:
    draw(root / "a.png")
    draw(root / ".hidden.png")
    draw(root / "b.gif")
    (root / "c.png").write_bytes(b"")
    assert names(staged(root)[1]) == ["1-a.png", "1-a.txt"]


def test_every_picture_has_a_caption_so_that_none_is_borrowed(root: Path) -> None:
    draw(root / "cat.png").with_suffix(".txt").write_text("a cat")
    draw(root / "cat_2024_01_02_15.png")
    _, folder = staged(root)
    assert (folder / "2-cat_2024_01_02_15.txt").read_text() == "\n"


def test_one_stem_with_two_endings_and_one_name_in_two_cases(root: Path) -> None:
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
def test_pictures_are_trained_upright(root: Path, ending: str, orientation: int) -> None:
    upright = Image.new("RGB", (320, 480), "blue")
    upright.paste("red", (0, 0, 160, 160))  # Red in the upper left corner only.
    back = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # The transpose that stores upright as that orientation.
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


def test_another_caption_extension_is_kept_beside_txt(root: Path) -> None:
    draw(root / "a.png").with_suffix(".caption").write_text("a cat")
    folder = root.parent / "run"
    stage(scan(root, KOHYA, caption_extension=".caption"), folder)
    assert names(folder) == ["1-a.caption", "1-a.png", "1-a.txt"]
    assert (folder / "1-a.caption").read_text() == "a cat\n"


def test_each_line_stays_a_caption(root: Path) -> None:
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


def test_a_picture_that_has_gone_is_named(root: Path) -> None:
    draw(root / "a.png")
    dataset: Dataset = scan(root, KOHYA)
    (root / "a.png").unlink()
    with pytest.raises(DatasetError, match=r"a\.png has gone"):
        stage(dataset, root.parent / "run")

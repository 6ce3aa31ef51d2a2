"""Folders as users have them, drawn at random from a seed: image files of all kinds, captions, masks, sub-folders, damage."""

from __future__ import annotations

import random
from pathlib import Path

from PIL import Image

from tests.support.colour_profiles import LINEAR

STEMS = ("a", "b", "cat", "cat_2024_01_02_15", "img1", "img10", "x y [1]", "caf\u00e9", "\u732b", "a.b.c", "n" * 150, "a_mask", "b-masklabel")  # fmt: skip
FORMATS = {
    ".png": "PNG", ".PNG": "PNG", ".Png": "PNG", ".jpg": "JPEG", ".JPG": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP",
    ".bmp": "BMP", ".gif": "GIF", ".tif": "TIFF", ".jfif": "JPEG", ".jpg_large": "JPEG", "": "PNG",
}  # fmt: skip
PLACES = ("", "", "", "", "sub", "sub/deep", "masks", "reg", "1_woman", "10_elena", "3_tom", "depth", "Masks")
CAPTIONS = (
    None, b"a cat", b"\xef\xbb\xbfa cat", "a caf\u00e9".encode("utf-16"), b"sks one\nsks two\n", b"", b" \n\n", b"sks\r\n",
    "caf\u00e9".encode("latin-1"), b"\n\nsks late", b"{red|blue} (x:1.3) \\(y\\)", b"a\x00b",
)  # fmt: skip
DAMAGE = (b"", b"<!DOCTYPE html><title>403</title>", b"\xff\xd8\xff\xe0" + bytes(60), b"version https://git-lfs")


def make(root: Path, seed: int) -> None:
    """Fills a new folder."""
    chance = random.Random(seed)
    root.mkdir(parents=True)
    if chance.random() < 0.1:  # a name from which sd-scripts would take another caption
        (root / "cat.txt").write_bytes(b"a cat")
        _draw(root / "cat_2024_01_02_15.png", "PNG", chance)
    for _ in range(chance.randint(2, 9)):
        folder = root / chance.choice(PLACES)
        folder.mkdir(parents=True, exist_ok=True)
        ending = chance.choice([*FORMATS, ".png", ".jpg", ".png"])
        path = folder / f"{'.' if chance.random() < 0.05 else ''}{chance.choice(STEMS)}{ending}"
        if path.exists() or path.is_symlink():
            continue
        if chance.random() < 0.12:
            _damage(path, chance)
        else:
            _draw(path, FORMATS[ending], chance)
        caption = chance.choice(CAPTIONS)
        if caption is not None:
            name = path.name if chance.random() < 0.1 else path.stem
            path.with_name(f"{name}{chance.choice(['.txt', '.txt', '.txt', '.TXT'])}").write_bytes(caption)


def _draw(path: Path, written_as: str, chance: random.Random) -> None:
    size = chance.choice([(64, 48), (48, 64), (300, 280), (80, 300), (96, 96)])
    if path.parent.name.lower() == "masks" or "mask" in path.stem:
        Image.new("L", size, chance.choice([0, 255])).save(path, written_as)
        return
    mode = chance.choice(["RGB", "RGB", "L", "RGBA"]) if written_as in ("PNG", "WEBP", "TIFF") else "RGB"
    color = {"RGB": (90, 30, 200), "L": 80, "RGBA": (10, 200, 90, 128)}[mode]
    options = {}
    if written_as in ("JPEG", "PNG", "WEBP"):
        if chance.random() < 0.2:
            exif = Image.Exif()
            exif[0x0112] = chance.randint(1, 8)
            options["exif"] = exif
        if chance.random() < 0.2 and mode != "L":
            options["icc_profile"] = LINEAR
    Image.new(mode, size, color).save(path, written_as, **options)


def _damage(path: Path, chance: random.Random) -> None:
    kind = chance.randint(0, len(DAMAGE) + 1)
    if kind < len(DAMAGE):
        path.write_bytes(DAMAGE[kind])
    elif kind == len(DAMAGE):
        path.symlink_to("nowhere.png")
    else:
        path.mkdir()

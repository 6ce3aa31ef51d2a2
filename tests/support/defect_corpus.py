"""A dataset with one case of each defect that can be made: what each is, and what a check must say of it for each engine.

`CASES` maps a name to the maker, which writes files into an empty folder, and to the expected keys: of `defects.DEFECTS`, of
`quality.FINDINGS`, or "" where the engine trains the file rightly. Every case lies beside one clean image.
"""

from __future__ import annotations

import functools
import io
import os
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from tests.support.colour_profiles import LINEAR
from tests.support.scenes import natural

ENGINES = ("kohya", "simpletuner")
NAME = "case"


@dataclass(frozen=True)
class Case:
    """How a case is made, and which key is expected with each engine (the same one, if there is one only)."""

    make: Callable[[Path], None]
    keys: tuple[str, ...]

    def key(self, engine: str) -> str:
        """The expected key with an engine."""
        return self.keys[ENGINES.index(engine) if len(self.keys) > 1 else 0]


@functools.cache
def shown(seed: int = 1, size: tuple[int, int] = (420, 360)) -> Image.Image:
    """A clean image; do not change it."""
    return natural(seed, size)


def encoded(kind: str, image: Image.Image | None = None, **more: object) -> bytes:
    """The bytes of an image file."""
    file = io.BytesIO()
    (image or shown()).save(file, kind, **more)
    return file.getvalue()


def _file(name: str, data: Callable[[], bytes]) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        (folder / name).write_bytes(data())
        (folder / name).with_suffix(".txt").write_text("sks, a case")

    return make


def _caption(data: bytes | None, name: str = f"{NAME}.png", caption: str = f"{NAME}.txt") -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        (folder / name).write_bytes(encoded("PNG"))
        if data is not None:
            (folder / caption).write_bytes(data)

    return make


def _image(
    change: Callable[[Image.Image], Image.Image], name: str = f"{NAME}.png", kind: str = "PNG", **more: object
) -> Callable[[Path], None]:
    return _file(name, lambda: encoded(kind, change(shown()), **more))


def _cut(kind: str, share: float, name: str, **more: object) -> Callable[[Path], None]:
    def data() -> bytes:
        whole = encoded(kind, **more)
        return whole[: int(len(whole) * share)]

    return _file(name, data)


def _png(change: Callable[[list[tuple[bytes, bytes, int]]], None]) -> bytes:
    """A PNG whose parts (kind, content, checksum) were changed."""
    whole, parts, at = encoded("PNG"), [], 8
    while at < len(whole):
        (length,) = struct.unpack(">I", whole[at : at + 4])
        kind, content = whole[at + 4 : at + 8], whole[at + 8 : at + 8 + length]
        parts.append((kind, content, zlib.crc32(kind + content)))
        at += 12 + length
    change(parts)
    return whole[:8] + b"".join(
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check) for kind, content, check in parts
    )


def _rotten(parts: list[tuple[bytes, bytes, int]]) -> None:
    place = next(number for number, part in enumerate(parts) if part[0] == b"IDAT")
    content = bytearray(parts[place][1])
    content[len(content) // 2 : len(content) // 2 + 400] = bytes(400)
    parts[place] = b"IDAT", bytes(content), zlib.crc32(b"IDAT" + bytes(content))


def _false_head(parts: list[tuple[bytes, bytes, int]]) -> None:
    parts[0] = parts[0][0], parts[0][1], parts[0][2] ^ 1


def _bomb() -> bytes:
    head = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)
    parts = ((b"IHDR", head), (b"IDAT", zlib.compress(b"")), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    )


def _turned(number: int) -> Callable[[Path], None]:
    def data() -> bytes:
        exif = Image.Exif()
        exif[0x0112] = number
        return encoded("JPEG", exif=exif, quality=92)

    return _file(f"{NAME}.jpg", data)


def _hidden_colour(image: Image.Image) -> Image.Image:
    found = image.convert("RGBA")
    found.paste((255, 0, 255, 0), (0, 0, 200, 200))
    return found


def _gray16(image: Image.Image) -> Image.Image:
    return Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)


def _floats(image: Image.Image) -> Image.Image:
    return Image.fromarray(np.asarray(image.convert("L")).astype(np.float32) / 255)


def _frames(kind: str, name: str) -> Callable[[Path], None]:
    return _file(name, lambda: encoded(kind, save_all=True, append_images=[shown(2), shown(3)], duration=90))


def _larger(times: int) -> Callable[[Image.Image], Image.Image]:
    def change(image: Image.Image) -> Image.Image:
        small = image.resize((image.width // times, image.height // times), Image.Resampling.LANCZOS)
        return small.resize(image.size, Image.Resampling.BICUBIC)

    return change


def _recompressed(image: Image.Image) -> Image.Image:
    return Image.open(io.BytesIO(encoded("JPEG", image, quality=3))).convert("RGB")


def _barred(image: Image.Image) -> Image.Image:
    whole = Image.new("RGB", image.size, "black")
    whole.paste(image.resize((image.width, image.height - 80)), (0, 40))
    return whole


def _pipe(folder: Path) -> None:
    os.mkfifo(folder / f"{NAME}.png")


def _same_stem(folder: Path) -> None:
    (folder / f"{NAME}.png").write_bytes(encoded("PNG"))
    (folder / f"{NAME}.jpg").write_bytes(encoded("JPEG", shown(4)))
    (folder / f"{NAME}.txt").write_text("sks, one caption for two")


def _borrowing(folder: Path) -> None:
    (folder / "cat_2024_01_02_15.png").write_bytes(encoded("PNG"))
    (folder / "cat.png").write_bytes(encoded("PNG", shown(5)))
    (folder / "cat.txt").write_text("sks, a cat")


def _in_folder(name: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        (folder / name).mkdir()
        (folder / name / f"{NAME}.png").write_bytes(encoded("PNG"))
        (folder / name / f"{NAME}.txt").write_text("sks, inside")

    return make


def _mask(folder: Path) -> None:
    (folder / f"{NAME}.png").write_bytes(encoded("PNG"))
    (folder / f"{NAME}.txt").write_text("sks, with a mask")
    (folder / f"{NAME}-masklabel.png").write_bytes(encoded("PNG", Image.new("L", (420, 360), 255)))


def _orphan(folder: Path) -> None:
    (folder / "nobody.txt").write_text("sks, no image")


BROKEN = {
    "jpeg cut to a tenth": Case(_cut("JPEG", 0.1, f"{NAME}.jpg", quality=90), ("damaged",)),
    "jpeg cut to a half": Case(_cut("JPEG", 0.5, f"{NAME}.jpg", quality=90), ("damaged",)),
    "jpeg cut near its end": Case(_cut("JPEG", 0.95, f"{NAME}.jpg", quality=90), ("damaged",)),
    "progressive jpeg cut": Case(_cut("JPEG", 0.9, f"{NAME}.jpg", progressive=True), ("damaged",)),
    "png cut": Case(_cut("PNG", 0.5, f"{NAME}.png"), ("damaged",)),
    "png with rotten content": Case(_file(f"{NAME}.png", lambda: _png(_rotten)), ("damaged",)),
    "png with a false head": Case(_file(f"{NAME}.png", lambda: _png(_false_head)), ("damaged",)),
    "webp cut": Case(_cut("WEBP", 0.5, f"{NAME}.webp"), ("damaged",)),
    "bmp cut": Case(_cut("BMP", 0.5, f"{NAME}.bmp"), ("damaged",)),
    "gif cut": Case(_cut("GIF", 0.5, f"{NAME}.gif"), ("ending", "damaged")),
    "empty file": Case(_file(f"{NAME}.jpg", lambda: b""), ("empty",)),
    "web page": Case(_file(f"{NAME}.jpg", lambda: b"<!DOCTYPE html><title>403</title>"), ("html",)),
    "lfs pointer": Case(_file(f"{NAME}.png", lambda: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"), ("lfs",)),
    "heic with another ending": Case(_file(f"{NAME}.jpg", lambda: b"\0\0\0\x18ftypheic" + bytes(60)), ("heic",)),
    "jxl with another ending": Case(_file(f"{NAME}.png", lambda: b"\xff\x0a" + bytes(60)), ("jxl",)),
    "bomb": Case(_file(f"{NAME}.png", _bomb), ("bomb",)),
    "text": Case(_file(f"{NAME}.png", lambda: b"hello"), ("damaged",)),
    "dead link": Case(lambda folder: (folder / f"{NAME}.png").symlink_to("nowhere.png"), ("dead_link",)),
    "pipe": Case(_pipe, ("special",)),
    "folder with the name of an image": Case(lambda folder: (folder / f"{NAME}.png").mkdir(), ("folder",)),
    "latin-1 caption": Case(_caption("sks, caf\u00e9".encode("latin-1")), ("caption_not_utf8",)),
    "shift-jis caption": Case(_caption("sks, \u732b\u306e\u5199\u771f".encode("shift_jis")), ("caption_not_utf8",)),
}  # fmt: skip
UNSEEN = {
    "jfif": Case(_file(f"{NAME}.jfif", lambda: encoded("JPEG")), ("ending", "")),
    "tif": Case(_file(f"{NAME}.tif", lambda: encoded("TIFF")), ("ending", "")),
    "gif": Case(_file(f"{NAME}.gif", lambda: encoded("GIF")), ("ending", "")),
    "mixed case": Case(_file(f"{NAME}.Jpg", lambda: encoded("JPEG")), ("case", "")),
    "no ending": Case(_file(NAME, lambda: encoded("PNG")), ("no_ending",)),
    "heic": Case(_file(f"{NAME}.heic", lambda: b"\0\0\0\x18ftypheic" + bytes(60)), ("ending",)),
    "psd": Case(_file(f"{NAME}.psd", lambda: b"8BPS" + bytes(60)), ("ending",)),
    "hidden": Case(_file(f"._{NAME}.jpg", lambda: bytes(60)), ("hidden",)),
    "sub-folder": Case(_in_folder("inner"), ("sub_folder", "")),
    "regularisation folder": Case(_in_folder("reg"), ("regularisation",)),
    "mask": Case(_mask, ("mask_left_out",)),
    "sample of a run": Case(_file("my_000100_00_20240101120000_42.png", lambda: encoded("PNG")), ("sample",)),
}
WRONGLY_TRAINED = {
    "hidden colour": Case(_image(_hidden_colour), ("alpha",)),
    "fully transparent": Case(_image(lambda image: Image.new("RGBA", image.size, (9, 9, 9, 0))), ("transparent",)),
    "gray with alpha": Case(_image(lambda image: Image.merge("LA", (image.convert("L"), Image.new("L", image.size, 60)))), ("alpha",)),
    "16-bit gray": Case(_image(_gray16), ("deep_gray",)),
    "float values": Case(_image(_floats, f"{NAME}.tif", "TIFF"), ("ending", "float_values")),
    "cmyk": Case(_image(lambda image: image.convert("CMYK"), f"{NAME}.jpg", "JPEG"), ("cmyk",)),
    "colour profile": Case(_image(lambda image: image, icc_profile=LINEAR), ("colour_profile",)),
    **{f"orientation {number}": Case(_turned(number), ("turned",)) for number in range(2, 9)},
    "animated webp": Case(_frames("WEBP", f"{NAME}.webp"), ("animated",)),
    "animated png": Case(_frames("PNG", f"{NAME}.png"), ("animated",)),
    "one pixel": Case(_image(lambda _: Image.new("RGB", (1, 1))), ("small",)),
    "small": Case(_image(lambda image: image.resize((200, 180))), ("small",)),
    "narrow": Case(_image(lambda image: image.resize((1800, 150))), ("long_shape",)),
    "huge": Case(_image(lambda _: Image.new("1", (8_000, 8_000))), ("huge",)),
    "no caption": Case(_caption(None), ("caption_missing_mixed",)),
    "empty caption": Case(_caption(b""), ("caption_blank_mixed",)),
    "blank caption": Case(_caption(b" \n\t\n"), ("caption_blank_mixed",)),
    "caption with another ending": Case(_caption(b"sks, a case", caption=f"{NAME}.caption"), ("caption_missing_mixed",)),
    "byte order mark": Case(_caption(b"\xef\xbb\xbfsks, a case"), ("caption_mark",)),
    "utf-16 caption": Case(_caption("sks, a case".encode("utf-16")), ("caption_utf16",)),
    "several lines": Case(_caption(b"sks, one\nsks, two\n"), ("many_lines", "many_captions")),
    "control characters": Case(_caption(b"sks, a\0 case"), ("caption_control",)),
    "weights": Case(_caption(b"sks, (a case:1.3)"), ("caption_weights",)),
    "escapes": Case(_caption(b"sks, case \\(film\\)"), ("caption_escapes",)),
    "choices": Case(_caption(b"sks, {red|blue} case"), ("caption_choices",)),
    "no trigger word": Case(_caption(b"a case"), ("no_trigger",)),
    "caption without image": Case(_orphan, ("orphan_caption",)),
    "two images of one name": Case(_same_stem, ("shared_caption",)),
    "borrowed caption": Case(_borrowing, ("borrowed", "caption_missing_mixed")),
}  # fmt: skip
DOUBTFUL = {
    "blank": Case(_image(lambda image: Image.new("RGB", image.size, (120, 121, 120))), ("blank",)),
    "dark": Case(_image(lambda image: image.point(lambda value: value // 8)), ("dark",)),
    "bright": Case(_image(lambda image: image.point(lambda value: 220 + value // 7)), ("bright",)),
    "low contrast": Case(_image(lambda image: image.point(lambda value: 110 + value // 7)), ("low_contrast",)),
    "blurred": Case(_image(lambda image: image.filter(ImageFilter.GaussianBlur(9))), ("blurred",)),
    "enlarged": Case(_image(_larger(4)), ("soft",)),
    "strongly compressed": Case(_image(_recompressed), ("blocky",)),
    "barred": Case(_image(_barred), ("barred",)),
}
CASES = {**BROKEN, **UNSEEN, **WRONGLY_TRAINED, **DOUBTFUL}


def fill(folder: Path, case: Case) -> None:
    """Makes a folder with a clean image and a case."""
    folder.mkdir(parents=True)
    shown(9).save(folder / "clean.png")
    (folder / "clean.txt").write_text("sks, a clean image")
    case.make(folder)


FORMS = (
    ("png", "PNG", "RGB", {}), ("jpg", "JPEG", "RGB", {"quality": 92}), ("jpeg", "JPEG", "RGB", {"quality": 75, "progressive": True}),
    ("webp", "WEBP", "RGB", {"quality": 85}), ("webp", "WEBP", "RGB", {"lossless": True}), ("bmp", "BMP", "RGB", {}), ("PNG", "PNG", "RGB", {}),
    ("png", "PNG", "L", {}), ("jpg", "JPEG", "L", {"quality": 90}), ("png", "PNG", "P", {}), ("png", "PNG", "RGBA", {}), ("JPG", "JPEG", "RGB", {"quality": 85, "subsampling": 0}),
)  # fmt: skip
SIZES = ((512, 512), (768, 512), (480, 720), (640, 640), (1024, 640), (300, 420), (1200, 900), (333, 777), (2100, 1500))
TEXTS = (
    "sks, red dress, smile",
    "A photo of sks in front of a bridge.",
    "sks, caf\u00e9, \u732b",
    "sks",
    "sks, 1girl, looking at viewer\n",
)


def clean(folder: Path, count: int) -> None:
    """Fills a folder with images and captions that have nothing wrong with them."""
    folder.mkdir(parents=True)
    for number in range(count):
        ending, kind, mode, more = FORMS[number % len(FORMS)]
        image = natural(number, SIZES[number % len(SIZES)])
        place = folder / f"image {number:03}.{ending}"
        image.convert(mode).save(place, kind, **more)
        place.with_suffix(".txt").write_text(TEXTS[number % len(TEXTS)], encoding="utf-8")

"""Reads one image file with Pillow, the decoder that the engines use in the end."""

from __future__ import annotations

import functools
import os
import stat
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from PIL import Image, ImageChops

from trainer_core.datasets import colours

Found = TypeVar("Found")

# The image formats in datasets. Others that Pillow knows start programs (EPS, for example) or are not for images.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "DIB", "GIF", "TIFF", "AVIF", "PPM")
ORIENTATION = 0x0112
UPRIGHT = 1
LARGEST_DECODED_PIXELS = 60_000_000
SMALL_SIDE_PX = 256
LONGEST_SHAPE = 3.0
# Pixels with a smaller alpha show a hidden colour. A small share of them is the soft edge of an opaque image.
OPAQUE_ALPHA, HIDDEN_SHARE = 250, 0.001

# A mask saved as JPEG has slight colours.
GRAY_SIDE_PX, GRAY_DIFFERENCE = 64, 12
HEIC_BRANDS = (b"heic", b"heix", b"mif1", b"msf1", b"hevc")
IMAGE_STARTS = (
    b"\xff\xd8\xff", b"\x89PNG\r\n", b"GIF8", b"II*\x00", b"MM\x00*", b"\xff\x0a", b"\x00\x00\x00\x0cJXL ",
)  # fmt: skip

# The exceptions that Pillow's decoders raise for damaged files, besides their own DecompressionBombError.
DECODER_ERRORS = (
    OSError, SyntaxError, ValueError, TypeError, LookupError, ArithmeticError, AttributeError, EOFError, MemoryError,
    RuntimeError, AssertionError, struct.error, zlib.error,
)  # fmt: skip


@dataclass(frozen=True)
class ImageInfo:
    """The result of reading an image: its upright size, its EXIF orientation, and the keys of its defects."""

    width: int = 0
    height: int = 0
    orientation: int = UPRIGHT
    defects: tuple[str, ...] = field(default=())


@functools.cache
def formats() -> tuple[str, ...]:
    """The formats of `FORMATS` that this build of Pillow can read; it raises for any other."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def inspect(path: Path, quick: bool) -> ImageInfo:
    """The size and defects of an image file. `quick` reads only its header; else every pixel is decoded."""
    found = read(path, lambda image: inspect_open(image, quick))
    return found if isinstance(found, ImageInfo) else ImageInfo(defects=(found,))


def read(path: Path, use: Callable[[Image.Image], Found]) -> Found | str:
    """What `use` returns for an image file that was opened, or the key of the defect because of which it cannot be read."""
    if defect := _no_file(path):
        return defect
    try:
        with Image.open(path, formats=formats()) as image:
            return use(image)
    except Image.DecompressionBombError:
        return "bomb"
    except DECODER_ERRORS:
        return _foreign(path) or "damaged"


def starts_like_image(path: Path) -> bool:
    """Whether a file starts with the bytes of a common image format."""
    return is_start_of_image(_start(path))


def is_start_of_image(start: bytes) -> bool:
    """Whether these are the first bytes of a file of a common image format; 20 of them are enough."""
    if start.startswith(
        b"BM"
    ):  # A text could start with the same two letters; the header of a bitmap has 40 bytes or more.
        return len(start) > 18 and start[14] in (12, 40, 52, 56, 64, 108, 124) and start[15:18] == bytes(3)
    is_boxed = start[4:8] == b"ftyp" and start[8:12] in (*HEIC_BRANDS, b"avif", b"avis")
    return start.startswith(IMAGE_STARTS) or start[8:12] == b"WEBP" or is_boxed


def is_gray(path: Path) -> bool:
    """Whether an image has no colours, like a mask; True for a file that cannot be read."""
    try:
        with Image.open(path, formats=formats()) as image:
            image.draft("RGB", (GRAY_SIDE_PX, GRAY_SIDE_PX))
            red, green, blue = image.convert("RGB").resize((GRAY_SIDE_PX, GRAY_SIDE_PX)).split()
    except (Image.DecompressionBombError, *DECODER_ERRORS):
        return True
    spread = (ImageChops.difference(red, green).getextrema()[1], ImageChops.difference(green, blue).getextrema()[1])
    return all(isinstance(most, int | float) and most <= GRAY_DIFFERENCE for most in spread)


def orientation(image: Image.Image) -> int:
    """The EXIF orientation of an open image, 1 where there is none."""
    # Without this check, Pillow decodes the whole PNG to look for EXIF data at its end.
    if image.format == "PNG" and not {"exif", "Raw profile type exif"} & set(image.info):
        return UPRIGHT
    value = image.getexif().get(ORIENTATION)
    return value if type(value) is int and value in range(2, 9) else UPRIGHT


def is_deep_gray(image: Image.Image) -> bool:
    """Whether the image has one channel of more than eight bits."""
    return image.mode.startswith("I")


def inspect_open(image: Image.Image, quick: bool) -> ImageInfo:
    """The same of an image that was opened; unless `quick`, it is loaded then, except if it is huge."""
    width, height = image.size
    huge = width * height > LARGEST_DECODED_PIXELS
    if not quick and not huge:
        image.load()
    turn = orientation(image)
    if turn >= 5:  # The four orientations that are rotated by 90 degrees.
        width, height = height, width
    converted = colours.differs(image)
    found = {
        "huge": huge,
        "turned": turn != UPRIGHT,
        "deep_gray": is_deep_gray(image),
        "float_values": image.mode == "F",
        "colour_profile": converted,
        "cmyk": image.mode == "CMYK" and not converted,
        "animated": getattr(image, "is_animated", False) and image.format != "MPO",
        "long_shape": max(width, height) > LONGEST_SHAPE * min(width, height),
        "small": min(width, height) < SMALL_SIDE_PX,
    }
    defects = tuple(key for key, there in found.items() if there)
    return ImageInfo(width, height, turn, defects + _transparency(image, header_only=quick or huge))


def _transparency(image: Image.Image, header_only: bool) -> tuple[str, ...]:
    if not image.has_transparency_data:
        return ()
    if header_only:
        return ("alpha_channel",)
    counts = image.convert("RGBA").getchannel("A").histogram()
    hidden, pixels = sum(counts[:OPAQUE_ALPHA]), image.width * image.height
    if counts[0] == pixels:
        return ("transparent",)
    return ("alpha",) if hidden > HIDDEN_SHARE * pixels else ()


def _no_file(path: Path) -> str | None:
    """The defect of a path that is not a readable, non-empty file; None for one that is."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return "dead_link"
    except OSError:
        return "dead_link" if path.is_symlink() else "unreadable"
    if stat.S_ISDIR(status.st_mode):
        return "folder"
    if not stat.S_ISREG(status.st_mode):
        return "special"
    if not os.access(path, os.R_OK):
        return "unreadable"
    return None if status.st_size else "empty"


def _foreign(path: Path) -> str | None:
    """The defect key for what a file is instead of an image; None when unknown."""
    start = _start(path)
    if start.startswith(b"version https://git-lfs"):
        return "lfs"
    if start.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml", b"{")):
        return "html"
    if start[4:8] == b"ftyp" and start[8:12] in HEIC_BRANDS:
        return "heic"
    return "jxl" if start.startswith((b"\xff\x0a", b"\x00\x00\x00\x0cJXL ")) else None


def _start(path: Path) -> bytes:
    if not path.is_file():  # Opening a pipe would block.
        return b""
    try:
        with path.open("rb") as file:
            return file.read(64)
    except OSError:
        return b""

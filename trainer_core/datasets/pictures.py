"""Reading one picture file the way the engines' final decoder, Pillow, reads it."""

from __future__ import annotations

import functools
import os
import stat
import struct
import zlib
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

# The formats of pictures in datasets. Others that Pillow knows (EPS, for one) start programs or are not for pictures.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "DIB", "GIF", "TIFF", "AVIF", "PPM")
ORIENTATION = 0x0112
UPRIGHT = 1
LARGEST_DECODED_PIXELS = 60_000_000
SMALL_SIDE_PX = 256
LONGEST_SHAPE = 3.0
# Below this an alpha value lets a hidden colour through; a few such pixels are the soft rim of an opaque picture.
OPAQUE_ALPHA, HIDDEN_SHARE = 250, 0.001

# What Pillow's decoders raise on damaged files, beside their own DecompressionBombError.
DECODER_ERRORS = (
    OSError, SyntaxError, ValueError, TypeError, LookupError, ArithmeticError, AttributeError, EOFError, MemoryError,
    RuntimeError, AssertionError, struct.error, zlib.error,
)  # fmt: skip


@dataclass(frozen=True)
class Look:
    """What reading a picture found: its size upright, the EXIF orientation it is stored in, and the keys of its defects."""

    width: int = 0
    height: int = 0
    orientation: int = UPRIGHT
    defects: tuple[str, ...] = field(default=())


@functools.cache
def formats() -> tuple[str, ...]:
    """The formats of `FORMATS` that this build of Pillow reads; it fails when asked for another."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def look(path: Path, quick: bool) -> Look:
    """What reading a picture file finds; `quick` reads its header only, else every pixel is decoded."""
    if defect := _no_file(path):
        return Look(defects=(defect,))
    try:
        with Image.open(path, formats=formats()) as image:
            return _look(image, quick)
    except Image.DecompressionBombError:
        return Look(defects=("bomb",))
    except DECODER_ERRORS:
        return Look(defects=(_foreign(path) or "damaged",))


def starts_like_picture(path: Path) -> bool:
    """Whether the first bytes of a file are those of a common picture format."""
    start = _start(path)
    return start.startswith((b"\xff\xd8\xff", b"\x89PNG\r\n", b"GIF8", b"BM")) or start[8:12] == b"WEBP"


def orientation(image: Image.Image) -> int:
    """The EXIF orientation of an open picture, 1 where there is none."""
    # Asking a PNG for EXIF that it does not have in front would decode all of it.
    if image.format == "PNG" and not {"exif", "Raw profile type exif"} & set(image.info):
        return UPRIGHT
    value = image.getexif().get(ORIENTATION)
    return value if type(value) is int and value in range(2, 9) else UPRIGHT


def is_deep_gray(image: Image.Image) -> bool:
    """Whether the picture has one channel of more than eight bits."""
    return image.mode.startswith("I")


def _look(image: Image.Image, quick: bool) -> Look:
    width, height = image.size
    huge = width * height > LARGEST_DECODED_PIXELS
    if not quick and not huge:
        image.load()
    turn = orientation(image)
    if turn >= 5:  # The four orientations that lie on their side.
        width, height = height, width
    found = {
        "huge": huge,
        "turned": turn != UPRIGHT,
        "deep_gray": is_deep_gray(image),
        "float_values": image.mode == "F",
        "cmyk": image.mode == "CMYK",
        "animated": getattr(image, "is_animated", False) and image.format != "MPO",
        "long_shape": max(width, height) > LONGEST_SHAPE * min(width, height),
        "small": min(width, height) < SMALL_SIDE_PX,
    }
    defects = tuple(key for key, there in found.items() if there)
    return Look(width, height, turn, defects + _transparency(image, header_only=quick or huge))


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
    """The defect of a path that is not a file with something in it."""
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
    """What a file is instead of the picture its ending promises."""
    start = _start(path)
    if start.startswith(b"version https://git-lfs"):
        return "lfs"
    if start.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml", b"{")):
        return "html"
    if start[4:8] == b"ftyp" and start[8:12] in (b"heic", b"heix", b"mif1", b"msf1", b"hevc"):
        return "heic"
    return "jxl" if start.startswith((b"\xff\x0a", b"\x00\x00\x00\x0cJXL ")) else None


def _start(path: Path) -> bytes:
    if not path.is_file():  # A pipe would wait for ever.
        return b""
    try:
        with path.open("rb") as file:
            return file.read(64)
    except OSError:
        return b""

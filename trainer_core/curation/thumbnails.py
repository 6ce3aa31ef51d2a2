"""Small images of a dataset, kept in Easel's own cache outside of it, and made when they are first asked for.

A thumbnail is found again by the path, size and time of its file. It is made from a reduced decoding, so it says nothing about
whether the whole file can be read.
"""

from __future__ import annotations

import hashlib
import io
import os
from pathlib import Path

from PIL import Image, ImageOps

from trainer_core import places
from trainer_core.datasets import images
from trainer_core.files import write_whole

SIDE_PX = 192
"""The longest side of a thumbnail: tiles are drawn at up to 180 pixels."""
QUALITY = 82
TYPE = "image/jpeg"
"""Not WebP: a fifth smaller, and more than ten times as long to make."""


def folder() -> Path:
    """The folder of the cache. It can be removed at any time."""
    return places.home() / "cache" / "thumbnails"


def of(path: Path) -> bytes:
    """The thumbnail of an image file as JPEG; b"" if it cannot be read."""
    try:
        found = path.stat()
    except OSError:
        return b""
    kept = folder() / _name(path, found)
    try:
        return kept.read_bytes()
    except OSError:
        content = made(path)
    if content:
        try:
            kept.parent.mkdir(parents=True, exist_ok=True)
            write_whole(kept, content)
        except OSError:
            # A full disk costs only the time to make it again.
            return content
    return content


def made(path: Path, side_px: int = SIDE_PX) -> bytes:
    """An image as JPEG, upright and scaled down to a longest side, transparent parts on gray; b"" if it cannot be read."""
    try:
        with Image.open(path, formats=images.formats()) as image:
            if image.width * image.height > images.LARGEST_DECODED_PIXELS:
                return b""
            image.draft("RGB", (side_px, side_px))
            small = ImageOps.exif_transpose(image)
            small.thumbnail((side_px, side_px), reducing_gap=2.0)
            if small.has_transparency_data:
                small = small.convert("RGBA")
                ground = Image.new("RGBA", small.size, (128, 128, 128, 255))
                ground.alpha_composite(small)
                small = ground
            content = io.BytesIO()
            small.convert("RGB").save(content, "JPEG", quality=QUALITY)
    except (Image.DecompressionBombError, *images.DECODER_ERRORS):
        return b""
    return content.getvalue()


def _name(path: Path, found: os.stat_result) -> str:
    key = f"{os.path.realpath(path)}\0{found.st_size}\0{found.st_mtime_ns}".encode("utf-8", "surrogateescape")
    name = hashlib.sha256(key).hexdigest()
    return f"{name[:2]}/{name}.jpg"

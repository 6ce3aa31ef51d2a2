"""What an image file tells besides its pixels (where it was taken, with which camera, from which prompt), and a copy without it.

The pixels stay as they are: only segments and chunks that carry such data are left out, byte by byte. What a program needs to
show the image stays: the colour profile, transparency, and the orientation.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

from PIL import ExifTags, Image

from trainer_core.datasets import images
from trainer_core.files import open_regular

GPS, MAKER = (
    ExifTags.IFD.GPSInfo,
    (ExifTags.Base.Make, ExifTags.Base.Model, ExifTags.Base.Artist, ExifTags.Base.DateTime),
)
PROMPTS = ("parameters", "prompt", "workflow", "Comment", "invokeai_metadata", "sd-metadata")
"""Text chunks in which programs store how an image was made. Source: their documentation (A1111, ComfyUI, InvokeAI)."""
_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_TOLD = frozenset({b"tEXt", b"zTXt", b"iTXt", b"eXIf", b"tIME", b"caBX"})
_JPEG_KEPT = frozenset({0xE0, 0xEE})
"""JFIF, and Adobe's segment that says how colours are stored."""
_WEBP_TOLD = frozenset({b"EXIF", b"XMP "})
_VP8X_EXIF, _VP8X_XMP = 0b1000, 0b0100
"""The flags of a WebP that say that it has EXIF and XMP."""


def told(path: Path) -> list[str]:
    """What an image file tells, in words: "where it was taken", and so on; empty if it tells nothing or cannot be read."""
    try:
        with Image.open(path, formats=images.formats()) as image:
            exif, info = image.getexif(), dict(image.info)
            found = {
                "where it was taken": bool(exif.get_ifd(GPS)),
                "when, by whom or with which camera": any(exif.get(tag) for tag in MAKER),
                "how it was generated": any(name in info for name in PROMPTS),
                "texts of the program that wrote it": bool(
                    info.get("xmp") or info.get("XML:com.adobe.xmp") or info.get("photoshop")
                ),
            }
    except (Image.DecompressionBombError, *images.DECODER_ERRORS):
        return []
    return [words for words, there in found.items() if there]


def can_be_freed(path: Path) -> bool:
    """Whether an image has a format in which Easel can remove what it tells; only its start is read."""
    try:
        with open_regular(path) as file:
            start = file.read(12)
    except OSError:
        return False
    return start.startswith((_PNG, b"\xff\xd8")) or (start.startswith(b"RIFF") and start[8:12] == b"WEBP")


def without(data: bytes) -> bytes | None:
    """The bytes of an image without what it tells; None for a format in which that is not known, or damaged data."""
    try:
        if data.startswith(_PNG):
            return _png(data)
        if data.startswith(b"\xff\xd8"):
            return _jpeg(data)
        if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
            return _webp(data)
    except (struct.error, IndexError, ValueError):
        return None
    return None


def _png(data: bytes) -> bytes:
    kept = [_PNG]
    at = len(_PNG)
    while at < len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        kind, chunk = data[at + 4 : at + 8], data[at : at + 12 + length]
        if len(chunk) < 12 + length:
            raise ValueError("cut")
        if kind == b"eXIf" and (turn := _orientation(chunk[8:-4])) != images.UPRIGHT:
            content = b"eXIf" + _exif(turn)
            kept.append(struct.pack(">I", len(content) - 4) + content + struct.pack(">I", zlib.crc32(content)))
        elif kind not in _PNG_TOLD:
            kept.append(chunk)
        at += 12 + length
        if kind == b"IEND":
            return b"".join(kept)
    raise ValueError("cut")


def _jpeg(data: bytes) -> bytes:
    kept = [b"\xff\xd8"]
    for marker, segment, rest in _segments(data):
        body = segment[4:]
        if marker == 0xE1 and body.startswith(b"Exif\0\0") and (turn := _orientation(body[6:])) != images.UPRIGHT:
            content = b"Exif\0\0" + _exif(turn)
            kept.append(b"\xff\xe1" + struct.pack(">H", len(content) + 2) + content)
        elif (
            (marker == 0xE2 and body.startswith(b"ICC_PROFILE\0"))
            or not (0xE0 <= marker <= 0xEF or marker == 0xFE)
            or marker in _JPEG_KEPT
        ):
            kept.append(segment)
        if marker == 0xDA:
            # After the image there may be a preview, or a second image with data of its own.
            return b"".join(kept) + rest[: _end(rest)]
    raise ValueError("cut")


def _segments(data: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """The segments before the image data: marker, whole segment, and what follows it."""
    at = 2
    while True:
        while data[at] == 0xFF and data[at + 1] == 0xFF:
            at += 1
        if data[at] != 0xFF:
            raise ValueError("no marker")
        marker = data[at + 1]
        (length,) = struct.unpack(">H", data[at + 2 : at + 4])
        end = at + 2 + length
        if end > len(data):
            raise ValueError("cut")
        yield marker, data[at:end], data[end:]
        at = end


def _end(scans: bytes) -> int:
    """Where the data of the image end, after their end marker."""
    at = 0
    while True:
        at = scans.find(b"\xff", at)
        if at < 0 or at + 1 >= len(scans):
            raise ValueError("cut")
        marker = scans[at + 1]
        if marker == 0xD9:
            return at + 2
        if marker in (0x00, 0xFF) or 0xD0 <= marker <= 0xD7:
            at += 1 if marker == 0xFF else 2
        else:
            # Tables between the scans of a progressive image.
            at += 2 + struct.unpack(">H", scans[at + 2 : at + 4])[0]


def _webp(data: bytes) -> bytes:
    kept, at, end = [], 12, min(len(data), 8 + struct.unpack("<I", data[4:8])[0])
    if end < 8 + struct.unpack("<I", data[4:8])[0]:
        raise ValueError("cut")
    while at + 8 <= end:
        kind, (length,) = data[at : at + 4], struct.unpack("<I", data[at + 4 : at + 8])
        chunk = data[at : at + 8 + length + length % 2]
        if kind == b"EXIF" and (turn := _orientation(chunk[8 : 8 + length])) != images.UPRIGHT:
            kept.append(b"EXIF" + struct.pack("<I", len(_exif(turn))) + _exif(turn))
        elif kind not in _WEBP_TOLD:
            kept.append(chunk)
        at += 8 + length + length % 2
    if kept and kept[0].startswith(b"VP8X"):
        flags = kept[0][8] & ~(_VP8X_EXIF | _VP8X_XMP) | (
            _VP8X_EXIF if any(one.startswith(b"EXIF") for one in kept) else 0
        )
        kept[0] = kept[0][:8] + bytes([flags]) + kept[0][9:]
    body = b"WEBP" + b"".join(kept)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _orientation(content: bytes) -> int:
    exif = Image.Exif()
    try:
        exif.load(content if content.startswith(b"Exif\0\0") else b"Exif\0\0" + content)
        found = exif.get(images.ORIENTATION)
    except images.DECODER_ERRORS:
        return images.UPRIGHT
    return found if type(found) is int and found in range(2, 9) else images.UPRIGHT


def _exif(turn: int) -> bytes:
    """EXIF data with an orientation and nothing else: big-endian, one entry, a short."""
    return b"MM\0\x2a\0\0\0\x08\0\x01" + struct.pack(">HHIHH", images.ORIENTATION, 3, 1, turn, 0) + b"\0\0\0\0"

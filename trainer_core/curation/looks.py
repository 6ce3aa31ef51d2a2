"""What one decoding of an image file says: whether it is damaged, its fingerprint, and its measures."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from trainer_core.curation import fingerprints, measures
from trainer_core.curation.fingerprints import Fingerprint
from trainer_core.datasets import images
from trainer_core.datasets.images import ImageInfo

LARGE_PIXELS = 8_000_000
"""Larger images are decoded one after the other, so that they do not fill the memory."""
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""How an image is turned upright, by its EXIF orientation. Source: Pillow, ImageOps.exif_transpose."""
_large = threading.Lock()


@dataclass(frozen=True)
class Look:
    """What is known of an image file: `info` as a scan reads it; no fingerprint or scores where it could not be decoded."""

    info: ImageInfo
    fingerprint: Fingerprint | None = None
    scores: Mapping[str, float] = field(default_factory=dict)


def look(path: Path) -> Look:
    """Decodes an image file once."""
    seen = images.read(path, _decoded)
    if isinstance(seen, str):
        return Look(ImageInfo(defects=(seen,)))
    info, loaded = seen
    if loaded is None:
        return Look(info)
    whole = measures.plain(loaded)
    gray = measures.small_gray(whole)
    scores = measures.measure(whole, gray)
    upright = gray.transpose(_TURNS[info.orientation]) if info.orientation in _TURNS else gray
    return Look(info, fingerprints.of_image(upright, (info.width, info.height)), scores)


def _decoded(image: Image.Image) -> tuple[ImageInfo, Image.Image | None]:
    """The info of an opened image, and the image, loaded; None for one that is too large to be decoded or measured."""
    pixels = image.width * image.height
    with _large if pixels > LARGE_PIXELS else nullcontext():
        if image.format == "JPEG" and image.mode == "RGB" and pixels <= images.LARGEST_DECODED_PIXELS:
            info = images.inspect_open(image, quick=True)
            # Every part of the file is read, but colours are not calculated, which takes nearly half of the time.
            image.draft("L", image.size)
            image.load()
            return info, image
        info = images.inspect_open(image, quick=False)
    return info, None if "huge" in info.defects or image.mode == "F" else image

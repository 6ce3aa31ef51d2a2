"""Makes plain images of what engines read wrongly or not at all: upright, eight bits, sRGB; and writes them as JPEG or PNG."""

from __future__ import annotations

import functools
import io
import math
from pathlib import Path

from PIL import Image, ImageOps

from trainer_core.datasets import colours, images, stage

LARGE_SIDE_PX = 4096
JPEG_QUALITY = 95
HEIF = ("HEIF",)
HEIC_ADVICE = "Install Easel's extra `heic` (pillow-heif) into the environment of Easel, or export the photos as JPEG."


@functools.cache
def reads_heic() -> bool:
    """Whether HEIC images can be read: the optional package pillow-heif is there.

    It is registered with Pillow for this process. The dataset's own formats stay as they are, because no engine reads HEIC.
    """
    try:
        import pillow_heif  # pyright: ignore[reportMissingImports] - optional
    except ImportError:
        return False
    pillow_heif.register_heif_opener(thumbnails=False)
    return True


def opened(file: Path) -> Image.Image:
    """An image that an engine or Easel can read.

    Raises:
        OSError: it is none, or damaged.
    """
    return Image.open(file, formats=images.formats())


def opened_heic(file: Path) -> Image.Image:
    """A HEIC image.

    Raises:
        OSError: it cannot be read, or pillow-heif is not there.
    """
    if not reads_heic():
        raise OSError(f"it is a HEIC image. {HEIC_ADVICE}")
    return Image.open(file, formats=HEIF)


def plain(image: Image.Image) -> Image.Image:
    """The first image, upright, in sRGB with eight bits."""
    profile = image.info.get("icc_profile") if colours.differs(image) else None
    found = ImageOps.exif_transpose(image)
    if images.is_deep_gray(found):
        found = stage.eight_bit(found)
    if profile:
        return colours.to_srgb(found, profile)
    if found.mode in ("P", "PA"):
        return found.convert("RGBA" if found.has_transparency_data else "RGB")
    return found if found.mode in ("L", "LA", "RGB", "RGBA") else found.convert("RGB")


def at_most(image: Image.Image, pixels: int) -> Image.Image:
    """The image, made smaller if it has more pixels than so many."""
    scale = math.sqrt(pixels / max(1, image.width * image.height))
    if scale >= 1:
        return image
    side = (max(1, int(image.width * scale)), max(1, int(image.height * scale)))
    return image.resize(side, Image.Resampling.LANCZOS)


def png(image: Image.Image) -> bytes:
    """The image as a PNG, without anything besides its pixels."""
    file = io.BytesIO()
    _bare(image).save(file, "PNG", compress_level=4)
    return file.getvalue()


def jpeg(image: Image.Image) -> bytes:
    """The image as a JPEG of high quality, without anything besides its pixels."""
    file = io.BytesIO()
    _bare(image.convert("RGB")).save(file, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    return file.getvalue()


def _bare(image: Image.Image) -> Image.Image:
    """The image without profile, orientation and texts, which Pillow would write again."""
    found = image.copy()
    for key in ("icc_profile", "exif", "xmp", "XML:com.adobe.xmp", "comment"):
        found.info.pop(key, None)
    return found

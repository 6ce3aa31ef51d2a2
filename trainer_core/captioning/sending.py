"""An image as it is sent to a captioner: upright, not larger than needed, and without what its file says beside the pixels."""

from __future__ import annotations

import base64
import io
from pathlib import Path

from PIL import Image, ImageOps

from trainer_core.datasets import images
from trainer_core.errors import DatasetError
from trainer_core.text import printable

LONGER_SIDE_PX = 1024
QUALITY = 90


def data_url(path: Path) -> str:
    """The image as a data URL of a JPEG.

    Raises:
        DatasetError: it cannot be read.
    """
    return "data:image/jpeg;base64," + base64.b64encode(jpeg(path)).decode()


def jpeg(path: Path) -> bytes:
    """The image as a JPEG with a longer side of at most 1024 px, its transparent parts on white, without metadata.

    Raises:
        DatasetError: it cannot be read.
    """
    try:
        with Image.open(path, formats=images.formats()) as opened:
            opened.draft("RGB", (2 * LONGER_SIDE_PX, 2 * LONGER_SIDE_PX))
            image = ImageOps.exif_transpose(opened)
            image.load()
    except (Image.DecompressionBombError, *images.DECODER_ERRORS) as error:
        raise DatasetError(f"it cannot be read: {printable(str(error), 200)}") from error
    flat = _on_white(image)
    flat.thumbnail((LONGER_SIDE_PX, LONGER_SIDE_PX), Image.Resampling.LANCZOS)
    # A new image has none of the metadata, whose EXIF data would be saved otherwise.
    bare = Image.new("RGB", flat.size)
    bare.paste(flat)
    content = io.BytesIO()
    bare.save(content, "JPEG", quality=QUALITY)
    return content.getvalue()


def _on_white(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16") or image.mode == "I":
        # Pillow's own conversion cuts off the upper bits.
        image = image.convert("I").point(lambda value: value / 257).convert("L")
    if "A" in image.getbands() or "transparency" in image.info:
        with_alpha = image.convert("RGBA")
        white = Image.new("RGB", image.size, (255, 255, 255))
        white.paste(with_alpha, mask=with_alpha.getchannel("A"))
        return white
    return image.convert("RGB")

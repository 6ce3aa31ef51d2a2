"""Colour profiles in images: checks whether a profile differs visibly from sRGB, and converts images to sRGB.

The engines treat the stored values as sRGB. Source: sd-scripts, library/train_util.py, load_image; SimpleTuner,
helpers/image_manipulation/load.py.
"""

from __future__ import annotations

import functools
import io

from PIL import Image, ImageCms

LARGEST_PROFILE_BYTES = 8 << 20
LARGEST_DIFFERENCE = 6
"""The largest difference of a colour value (0 to 255) with which a profile still counts as sRGB: rounding, small variants."""
_MODES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}
"""The image mode for each colour space of a profile."""


def differs(image: Image.Image) -> bool:
    """Whether an open image has a valid colour profile whose colours differ visibly from sRGB."""
    profile = image.info.get("icc_profile")
    if not isinstance(profile, bytes) or not 128 < len(profile) <= LARGEST_PROFILE_BYTES:
        return False
    return _shift(profile, _plain_mode(image)) > LARGEST_DIFFERENCE


def to_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """The image converted from its colour profile to sRGB; a transparent image keeps its alpha channel.

    Raises:
        OSError: the profile cannot be applied.
    """
    alpha = image.convert("RGBA").getchannel("A") if image.has_transparency_data else None
    colours = image.convert(_plain_mode(image))
    try:
        done = _converted(colours, profile)
    except ImageCms.PyCMSError as error:
        raise OSError(f"the colour profile cannot be applied: {error}") from error
    if alpha is not None:
        done.putalpha(alpha)
    return done


@functools.lru_cache(maxsize=64)
def _shift(profile: bytes, mode: str) -> int:
    """The largest change of a colour value when patches are converted; 0 for a profile that cannot be used."""
    try:
        if _MODES.get(ImageCms.getOpenProfile(io.BytesIO(profile)).profile.xcolor_space.strip()) != mode:  # pyright: ignore[reportAttributeAccessIssue]
            return 0
        patches = _patches(mode)
        before, after = patches.convert("RGB").tobytes(), _converted(patches, profile).tobytes()
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return 0
    return max(abs(one - other) for one, other in zip(before, after, strict=True))


def _converted(image: Image.Image, profile: bytes) -> Image.Image:
    found = ImageCms.profileToProfile(
        image, io.BytesIO(profile), ImageCms.createProfile("sRGB"), ImageCms.Intent.RELATIVE_COLORIMETRIC, "RGB"
    )
    assert found is not None  # the result is None only for a conversion in place
    return found


def _patches(mode: str) -> Image.Image:
    """A small image with colours from the whole colour space."""
    levels = (0, 64, 128, 192, 255)
    if mode == "L":
        return Image.frombytes("L", (len(levels), 1), bytes(levels))
    values = bytes(value for red in levels for green in levels for blue in levels for value in (red, green, blue))
    patches = Image.frombytes("RGB", (len(levels) ** 3, 1), values)
    return patches.convert(mode)


def _plain_mode(image: Image.Image) -> str:
    """The image mode without alpha and palette."""
    if image.mode in ("L", "LA", "La", "1") or image.mode.startswith(("I", "F")):
        return "L"
    return "CMYK" if image.mode == "CMYK" else "RGB"

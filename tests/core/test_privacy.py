"""Images without what they tell: the pixels, the orientation and the colours stay, byte for byte where they are stored."""

import functools
import io
import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image, ImageCms, ImageOps, PngImagePlugin

from trainer_core.curation import privacy

SECRET = b"51.4778 N secret place"


@functools.cache
def image():
    found = Image.effect_noise((48, 32), 80).convert("RGB")
    found.putpixel((0, 0), (255, 0, 0))
    return found


def exif(turn=6):
    found = Image.Exif()
    found[ExifTags.Base.Orientation] = turn
    found[ExifTags.Base.Make] = "Secret camera"
    found[ExifTags.Base.ImageDescription] = SECRET.decode()
    found.get_ifd(ExifTags.IFD.GPSInfo)[1] = "N"
    return found


def texts():
    found = PngImagePlugin.PngInfo()
    found.add_text("parameters", SECRET.decode())
    found.add_text("zipped", SECRET.decode() * 4, zip=True)
    found.add_itxt("XML:com.adobe.xmp", SECRET.decode())
    return found


PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
FORMS = {
    "jpeg": ("JPEG", {"exif": exif(), "icc_profile": PROFILE, "comment": SECRET, "xmp": SECRET, "quality": 90}),
    "progressive": ("JPEG", {"exif": exif(), "progressive": True}),
    "png": ("PNG", {"exif": exif(), "icc_profile": PROFILE, "pnginfo": texts()}),
    "webp": ("WEBP", {"exif": exif(), "icc_profile": PROFILE, "xmp": SECRET, "quality": 80}),
    "plain webp": ("WEBP", {"lossless": True}),
    "plain png": ("PNG", {}),
}


def saved(form, **more):
    kind, options = FORMS[form]
    file = io.BytesIO()
    image().save(file, kind, **{**options, **more})
    return file.getvalue()


@pytest.mark.parametrize("form", FORMS)
def test_pixels_orientation_and_colours_stay_and_the_rest_goes(form, tmp_path):
    before = saved(form)
    after = privacy.without(before)
    assert after is not None
    assert b"ecret" not in after
    (tmp_path / "before").write_bytes(before)
    (tmp_path / "after").write_bytes(after)
    assert privacy.told(tmp_path / "after") == []
    if "exif" in FORMS[form][1]:
        assert privacy.told(tmp_path / "before")[:2] == ["where it was taken", "when, by whom or with which camera"]
    with Image.open(io.BytesIO(before)) as one, Image.open(io.BytesIO(after)) as other:
        assert one.tobytes() == other.tobytes()
        assert one.info.get("icc_profile") == other.info.get("icc_profile")
        assert ImageOps.exif_transpose(one).tobytes() == ImageOps.exif_transpose(other).tobytes()
    assert privacy.without(after) == after


def test_a_prompt_in_a_png_is_told(tmp_path):
    (tmp_path / "a.png").write_bytes(saved("png"))
    assert "how it was generated" in privacy.told(tmp_path / "a.png")


def test_data_after_a_jpeg_goes(tmp_path):
    assert privacy.without(saved("jpeg") + SECRET) == privacy.without(saved("jpeg"))
    assert privacy.without(saved("jpeg") + saved("jpeg")) == privacy.without(saved("jpeg"))


@pytest.mark.parametrize(
    "data", [b"", b"GIF89a", b"\xff\xd8", b"\xff\xd8\xff\xe1", b"\x89PNG\r\n\x1a\n", b"RIFF\0\0\0\0WEBP"[:11]]
)
def test_what_is_not_known_or_cut_is_not_changed(data):
    assert privacy.without(data) is None


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted(FORMS)), st.integers(0, 4000), st.binary(max_size=30))
def test_damage_is_no_exception(form, place, damage):
    data = saved(form)
    place %= len(data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of odd EXIF data
        privacy.without(data[:place] + damage + data[place + len(damage) :])
        privacy.without(data[:place])

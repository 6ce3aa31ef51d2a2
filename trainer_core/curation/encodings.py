"""Recognises the encoding of a text file, as far as that is sure."""

from __future__ import annotations

import codecs


def guessed(data: bytes) -> str | None:
    """The text of a caption file, whose encoding is recognised; None if that is not sure."""
    for sign, encoding in (
        (codecs.BOM_UTF8, "utf-8-sig"),
        (codecs.BOM_UTF16_LE, "utf-16"),
        (codecs.BOM_UTF16_BE, "utf-16"),
    ):
        if data.startswith(sign):
            try:
                return data.decode(encoding)
            except UnicodeDecodeError:
                return None
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        pass
    high = [byte for byte in data if byte >= 0x80]
    # A few letters with accents among plain ones: Western European. Long runs of high bytes are some other script.
    is_western = len(high) * 4 < len(data) and not any(0x80 <= byte < 0xA0 for byte in high) and b"\0" not in data
    return data.decode("cp1252") if is_western else None

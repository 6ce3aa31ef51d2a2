"""Says what a file that is not a model is, from its first bytes, and what the user can do."""

from __future__ import annotations

import json

AGAIN = "Download it again."
LINK = "Choose the model itself. If this file was downloaded, its link may need a login, or lead to a page."
UNPACK = "Unpack it first, and choose the model inside."
TEXT_BYTES = 64
# The bytes that identify a format, their offset, what the file is, and what to do.
# Source: the formats' own specifications; for tar, POSIX pax, "ustar" at byte 257.
BEGINNINGS: tuple[tuple[bytes, int, str, str], ...] = (
    (b"version https://git-lfs", 0, "is a Git LFS pointer, not the model itself", "Fetch the file with git lfs pull, or download it directly."),
    (b"\x89PNG\r\n\x1a\n", 0, "is a PNG image, not a model", "An embedding inside an image is not read: choose it as .safetensors or .pt."),
    (b"\xff\xd8\xff", 0, "is a JPEG image, not a model", "Choose the model itself, not its preview."),
    (b"GIF8", 0, "is a GIF image, not a model", "Choose the model itself, not its preview."),
    (b"WEBP", 8, "is a WebP image, not a model", "Choose the model itself, not its preview."),
    (b"%PDF-", 0, "is a PDF document, not a model", "Choose the model itself."),
    (b"7z\xbc\xaf\x27\x1c", 0, "is a 7z archive", UNPACK),
    (b"Rar!\x1a\x07", 0, "is a RAR archive", UNPACK),
    (b"\x1f\x8b", 0, "is a gzip archive", UNPACK),
    (b"BZh", 0, "is a bzip2 archive", UNPACK),
    (b"\xfd7zXZ\x00", 0, "is an xz archive", UNPACK),
    (b"\x28\xb5\x2f\xfd", 0, "is a Zstandard archive", UNPACK),
    (b"ustar", 257, "is a tar archive", UNPACK),
    (b"\x89HDF\r\n\x1a\n", 0, "is an HDF5 file (Keras): not read", "Choose the model as safetensors."),
    (b"\x7fELF", 0, "is a program, not a model", "Do not run it."),
    (b"MZ", 0, "is a Windows program, not a model", "Do not run it."),
)  # fmt: skip


def named(start: bytes) -> tuple[str, str] | None:
    """What a file with these first bytes is ("is a web page, not a model") and what to do; None when that is unknown."""
    if not start:
        return "is empty", AGAIN
    for beginning, at, what, advice in BEGINNINGS:
        if start.startswith(beginning, at):
            return what, advice
    if is_json(start):
        return None
    if not any(start):
        return "contains only zeros where its header should be", "The download has not finished: " + AGAIN.lower()
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype html", b"<html", b"<head", b"<body", b"<script")):
        return "is a web page, not a model", LINK
    if text.startswith((b"<?xml", b"<!doctype", b"<error")):
        return "is a web page or an error message in XML, not a model", LINK
    if start[:TEXT_BYTES].isascii() and start[:TEXT_BYTES].decode("ascii").replace("\n", " ").isprintable():
        # Its text is not shown: a wrong path may lead to any file.
        return "is a text file, not a model", LINK
    return None


def is_json(start: bytes) -> bool:
    """Whether a file that starts with these bytes may be JSON."""
    return start.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in (b"{", b"[")


def of_json(text: bytes) -> tuple[str, str] | None:
    """What a JSON text is that was chosen as a model, and what to do; None when it is not JSON."""
    try:
        value = json.loads(text.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return None
    if isinstance(value, dict):
        if isinstance(value.get("weight_map"), dict):
            return "is the index of a model in several files", "Choose it in the folder that contains those files."
        if "_class_name" in value or "architectures" in value:
            return "is the configuration of a model, not the model", "Choose the folder that contains it."
        if any(value.get(key) for key in ("error", "message", "detail")):
            # What it says is not shown, as with a text file.
            return "is an error message, not a model", LINK
    return "is a JSON file, not a model", "Choose the model itself."

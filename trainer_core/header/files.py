"""The header of one file, whatever its name: its content says which format it has."""

from __future__ import annotations

from pathlib import Path
from typing import Any, BinaryIO

from trainer_core.errors import HeaderError
from trainer_core.header import foreign, safetensors
from trainer_core.header.tensors import Header, read_up_to, shown
from trainer_core.text import printable

START_BYTES = 1024
"""Enough to tell every format by."""


def read_stream(name: str, file: BinaryIO, size_bytes: int) -> Header:
    """The header of one file behind a seekable stream of so many bytes; no more is read than a header takes.

    Raises:
        HeaderError: it is no model, or it is damaged; the message says which.
        OSError: the stream cannot be read.
    """
    label = shown(name)
    file.seek(0)
    start = read_up_to(file, START_BYTES)
    if not safetensors.matches(start) and (what := _foreign(start, file, size_bytes)):
        raise HeaderError(f"{label} {what[0]}.", what[1])
    tensors, metadata = safetensors.read(label, file, start, size_bytes)
    return Header(Path(name), tensors, metadata, "safetensors", files=(Path(name),))


def read_file(path: Path) -> Header:
    """The header of one safetensors file.

    Raises:
        HeaderError: it cannot be read, it is no safetensors file, or it is damaged.
    """
    found = read_any(path)
    if found.format != "safetensors":
        raise HeaderError(f"{shown(path)} is no safetensors file: it is a {found.format} file.")
    return found


def read_any(path: Path) -> Header:
    """The header of one file of any format.

    Raises:
        HeaderError: it cannot be read, it is no model, or it is damaged.
    """
    try:
        with path.open("rb", buffering=0) as file:
            size_bytes = file.seek(0, 2)
            return read_stream(str(path), file, size_bytes)
    except OSError as error:
        raise unreadable(path, error) from error


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        HeaderError: it cannot be read, is too long, or holds something else.
    """
    try:
        with path.open("rb") as file:
            return safetensors.parse_object(shown(path), file.read(safetensors.LONGEST_HEADER_BYTES))
    except OSError as error:
        raise unreadable(path, error) from error


def unreadable(path: Path, error: Exception, hint: str = "") -> HeaderError:
    """The error for a path that the system does not let us read."""
    cause = printable(getattr(error, "strerror", None) or "the path is not valid", 200)
    return HeaderError(f"{shown(path)} cannot be read: {cause}.", hint)


def _foreign(start: bytes, file: BinaryIO, size_bytes: int) -> tuple[str, str] | None:
    """What a file is that is no model, and what to do; None when that is not known."""
    if what := foreign.named(start):
        return what
    if foreign.is_json(start) and size_bytes <= safetensors.LONGEST_HEADER_BYTES:
        return foreign.of_json(start + read_up_to(file, size_bytes - len(start)))
    # What torch.save writes: a zip archive, or a pickle stream of protocol 2 and up.
    if start.startswith(b"PK\x03\x04") or (start[0] == 0x80 and start[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05")):
        return "is a pickle (.ckpt, .pt): not read in this version, as it can run code", "Convert it to safetensors."
    if start.startswith(b"GGUF"):
        return "is a GGUF file: not read in this version", "Choose the model as safetensors."
    return None

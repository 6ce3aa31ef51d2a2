"""Reads the header of one file. The format is recognised by the content, not by the name."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any, BinaryIO

from trainer_core.errors import HeaderError
from trainer_core.models.header import foreign, gguf, pickles, safetensors
from trainer_core.models.header.tensors import Header, shown
from trainer_core.text import printable

START_BYTES = 1024
"""Enough to recognise every format."""
READERS = {"safetensors": safetensors.read, "gguf": gguf.read, "pickle": pickles.read}


def read_stream(name: str, file: BinaryIO, size_bytes: int) -> Header:
    """The header of one file, from a seekable stream of `size_bytes`. Nothing but the header is read.

    `file.read` must return as many bytes as requested unless the file ends, as buffered files do.

    Raises:
        HeaderError: it is not a model, or it is damaged; the message says which.
        OSError: the stream cannot be read.
    """
    label = shown(name)
    file.seek(0)
    start = file.read(START_BYTES)
    form = _form(start)
    if form is None:
        if what := _foreign(start, file, size_bytes):
            raise HeaderError(f"{label} {what[0]}.", what[1])
        form = "safetensors"
    tensors, metadata = READERS[form](label, file, start, size_bytes)
    return Header(Path(name), tensors, metadata, form, files=(Path(name),))


def _form(start: bytes) -> str | None:
    """The format of a file that starts with these bytes; None when it is unknown."""
    if safetensors.matches(start):
        return "safetensors"
    if start.startswith(gguf.MAGIC):
        return "gguf"
    return "pickle" if pickles.matches(start) else None


def read_file(path: Path) -> Header:
    """The header of one safetensors file.

    Raises:
        HeaderError: it cannot be read, it is not a safetensors file, or it is damaged.
    """
    found = read_any(path)
    if found.format != "safetensors":
        message = f"{shown(path)} is not a safetensors file: it is a {found.format} file."
        raise HeaderError(message, "Make a safetensors file of it first: easel convert.")
    return found


def read_any(path: Path) -> Header:
    """The header of one file of any format.

    Raises:
        HeaderError: it cannot be read, it is not a model, or it is damaged.
    """
    try:
        # A pipe would be waited for.
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise HeaderError(f"{shown(path)} is a folder, and one file is needed.", "Choose the file inside.")
        if not stat.S_ISREG(mode):
            raise HeaderError(f"{shown(path)} is neither a file nor a folder.", "Choose a .safetensors file.")
        with path.open("rb") as file:
            size_bytes = file.seek(0, 2)
            return read_stream(str(path), file, size_bytes)
    except (OSError, ValueError) as error:
        raise unreadable(path, error, "Check the path and its permissions.") from error


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        HeaderError: it cannot be read, is too long, or contains something else.
    """
    try:
        with path.open("rb") as file:
            return safetensors.parse_object(shown(path), file.read(safetensors.LONGEST_HEADER_BYTES), json.loads)
    except OSError as error:
        raise unreadable(path, error) from error


def unreadable(path: Path, error: Exception, hint: str = "") -> HeaderError:
    """The error for a path that the operating system cannot read."""
    cause = printable(getattr(error, "strerror", None) or "the path is not valid", 200)
    if isinstance(error, FileNotFoundError) and path.is_symlink():
        cause = "it is a link to a file that does not exist"
    return HeaderError(f"{shown(path)} cannot be read: {cause}.", hint)


def _foreign(start: bytes, file: BinaryIO, size_bytes: int) -> tuple[str, str] | None:
    """What a file that is not a model is, and what to do; None when that is unknown."""
    if what := foreign.named(start):
        return what
    if foreign.is_json(start) and size_bytes <= safetensors.LONGEST_HEADER_BYTES:
        return foreign.of_json(start + file.read(size_bytes - len(start)))
    return None

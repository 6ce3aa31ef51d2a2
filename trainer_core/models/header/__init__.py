"""Reads the header of a model: names, shapes and dtypes of its tensors, and its metadata. Not: what the model therefore is.

Only the header is read, so a 7 GB file takes milliseconds and no weight is ever loaded. Model files are untrusted: any
content gives either a `Header` or a `HeaderError`.
"""

from __future__ import annotations

import stat
from dataclasses import replace
from pathlib import Path

from trainer_core.errors import HeaderError
from trainer_core.models.header import folder, foreign, safetensors, shards
from trainer_core.models.header.files import read_any, read_file, read_json, read_stream, unreadable
from trainer_core.models.header.safetensors import LONGEST_HEADER_BYTES
from trainer_core.models.header.shards import Shard
from trainer_core.models.header.tensors import BITS, Header, TensorInfo, shown

__all__ = [
    "BITS",
    "LONGEST_HEADER_BYTES",
    "Header",
    "Shard",
    "TensorInfo",
    "read",
    "read_file",
    "read_json",
    "read_stream",
]


def read(path: Path | str) -> Header:
    """The header of a model: one file of any format, the index of several, or a folder.

    Raises:
        HeaderError: there is no such file, it cannot be read, or it is not a model; the message says which.
    """
    path = Path(path)
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:
        raise unreadable(path, error, "Check the path.") from error
    try:
        if stat.S_ISDIR(mode):
            return folder.read(path)
        if not stat.S_ISREG(mode):
            raise HeaderError(f"{shown(path)} is neither a file nor a folder.", "Choose a .safetensors file.")
        with path.open("rb") as file:
            start = file.read(16)
        # A safetensors file may start with the byte of a bracket, too: as part of the length of its header.
        may_be_index = foreign.is_json(start) and not safetensors.matches(start)
        if may_be_index and (found := folder.read_index(path)):
            return found
        shard = shards.of(path)
    except OSError as error:
        raise unreadable(path, error, "Check its permissions.") from error
    return replace(read_any(path), shard=shard) if shard else read_any(path)

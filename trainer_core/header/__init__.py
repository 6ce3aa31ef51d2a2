"""What a model says about itself before its weights: names, shapes and number formats of its tensors, and metadata.

Only headers are read, so a 7 GB file takes milliseconds and no weight is ever loaded. Files come from strangers: any bytes
lead either to a `Header` or to a `HeaderError`.
"""

from __future__ import annotations

import stat
from pathlib import Path

from trainer_core.errors import HeaderError
from trainer_core.header import folder, foreign, safetensors
from trainer_core.header.files import read_any, read_file, read_json, read_stream, unreadable
from trainer_core.header.safetensors import LONGEST_HEADER_BYTES
from trainer_core.header.tensors import BITS, Header, TensorInfo, shown

__all__ = [
    "BITS",
    "LONGEST_HEADER_BYTES",
    "Header",
    "TensorInfo",
    "read",
    "read_file",
    "read_json",
    "read_stream",
]


def read(path: Path | str) -> Header:
    """The header of a model: one file of any format, the index of several, or a folder.

    Raises:
        HeaderError: there is no such file, it cannot be read, or it is no model; the message says which.
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
        # The length of a safetensors header may begin with the byte of a bracket.
        may_be_index = foreign.is_json(start) and not safetensors.matches(start)
        if may_be_index and (found := folder.read_index(path)):
            return found
    except OSError as error:
        raise unreadable(path, error, "Check its permissions.") from error
    return read_any(path)

"""Whether a file that has come in can be what the ending of its name says: an empty or cut model file is told at once, not at its use."""

from __future__ import annotations

import zipfile

from trainer_core.errors import HeaderError
from trainer_core.keeping import bounds, listing
from trainer_core.keeping.bounds import Spot
from trainer_core.models import header
from trainer_core.text import printable

AGAIN = "If it should be one, send it again from where it is complete."
_READ = frozenset({".safetensors", ".sft", ".ckpt", ".pt", ".pth", ".gguf"})
"""The endings of files that are models and nothing else, in formats that Easel reads."""


def doubt(spot: Spot) -> str:
    """Why a file cannot be what its name says, as sentences, such as "It is empty: 0 bytes."; "" if nothing speaks against it.

    Raises:
        FilesError: it lies outside.
    """
    path = bounds.entered(spot)
    ending, kind = path.suffix.casefold(), listing.kind_of(path.name)
    try:
        if not path.is_file():
            return ""
        if path.stat().st_size == 0:
            # A caption may well be empty.
            return (
                "It is empty: 0 bytes. Send it again from where it is complete."
                if kind in {"model", "image", "archive"}
                else ""
            )
        if ending == ".zip" and not zipfile.is_zipfile(path):
            return f"It is not a zip, although its name says so, or its end is missing. {AGAIN}"
        if ending in _READ:
            header.read(path)
    except HeaderError as error:
        return f"It is not a model that can be used: {printable(error.message, 300).rstrip('.')}. {AGAIN}"
    except OSError as error:
        return f"It cannot be read: {error.strerror or error}."
    return ""

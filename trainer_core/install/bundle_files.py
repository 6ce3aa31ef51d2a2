"""The files of a bundle and its record, read so that neither a link nor a pipe in it leads elsewhere. Standard library only."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from trainer_core.errors import InstallError
from trainer_core.files import open_own
from trainer_core.text import printable

RECORD, SCHEMA = "bundle.json", 1
WHEELS, SOURCES, HUB = "wheels", "sources", "hub"

_LONGEST_RECORD = 64 << 20


def names(folder: Path) -> Iterator[str]:
    """The files below a folder, as the record names them.

    Raises:
        InstallError: it has a link or a device, which could lead out of it.
        OSError: a folder in it cannot be read.
    """
    # Not by calling itself: folders can lie in each other more deeply than Python can call.
    waiting = [""]
    while waiting:
        before = waiting.pop()
        with os.scandir(folder / before) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
        for entry in found:
            kind = entry.stat(follow_symlinks=False).st_mode
            if stat.S_ISDIR(kind):
                waiting.append(f"{before}{entry.name}/")
            elif stat.S_ISREG(kind):
                yield f"{before}{entry.name}"
            else:
                what = "a link" if stat.S_ISLNK(kind) else "no regular file"
                raise InstallError(f"{printable(entry.path)} is {what}.", "Only folders and files can be in a bundle.")


def read_record(folder: Path) -> Mapping[str, Any] | None:
    """The record of a bundle, whole or unfinished: it has the files, with what is known of each. None if there is none that can be read."""
    try:
        with open_own(folder / RECORD) as file:
            record = json.loads(file.read(_LONGEST_RECORD))
    except (OSError, ValueError, RecursionError):
        return None
    is_own = isinstance(record, dict) and {"schema", "easel", "files"} <= record.keys()
    return record if is_own and _has_tables(record["files"]) and record["schema"] == SCHEMA else None


def _has_tables(found: object) -> bool:
    return isinstance(found, dict) and all(isinstance(about, dict) for about in found.values())

"""Stores the results of scans in <home>/library.json, by path and stamp (size, time, inode).

A result is valid only for the code and tables that produced it: after a change of detection, every file is read again.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainer_core import places
from trainer_core.files import write_whole

LONGEST_BYTES = 200_000_000
_PACKAGE = Path(__file__).resolve().parents[2]
_DECIDES = (
    "models/header",
    "models/detection",
    "models/families",
    "models/renaming",
    "catalog",
    "models/library/entry.py",
    "models/library/reading.py",
)
"""The code and tables in trainer_core that determine a result."""

Row = dict[str, Any]
Kept = Mapping[str, tuple[str, Row]]
"""By path: the stamp of the model's files, and its result (`entry.as_row`)."""


def kept_in() -> Path:
    """The file with the stored results."""
    return places.home() / "library.json"


def load(path: Path) -> Kept:
    """The stored results; empty where the file is missing, damaged, or from another version."""
    try:
        with path.open("rb") as file:
            data = file.read(LONGEST_BYTES + 1)
        whole = json.loads(data) if len(data) <= LONGEST_BYTES else {}
        if whole["version"] != version():
            return {}
        return {
            name: (stamp, row)
            for name, (stamp, row) in whole["models"].items()
            if _is_row(row) and isinstance(stamp, str)
        }
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return {}


def save(path: Path, kept: Kept) -> str:
    """Stores the results. Returns "" or, where they cannot be written, a notice."""
    try:
        write_whole(path, json.dumps({"version": version(), "models": kept}, separators=(",", ":")))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        return f"{path} cannot be written ({reason}), so the next scan reads every model again."
    return ""


@functools.cache
def version() -> str:
    """A hash of the code and the tables that determine what a model is."""
    digest = hashlib.blake2b(digest_size=16)
    for name in _DECIDES:
        place = _PACKAGE / name
        files = sorted(place.rglob("*")) if place.is_dir() else [place]
        for file in files:
            if file.suffix in {".py", ".toml", ".json"}:
                digest.update(str(file.relative_to(_PACKAGE)).encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


def _is_row(row: Any) -> bool:
    return isinstance(row, dict) and isinstance(row.get("found", {}), dict)

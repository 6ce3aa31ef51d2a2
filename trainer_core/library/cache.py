"""What was found in model files, kept between scans in <home>/library.json, by path and stamp (size, time, inode).

It counts only for the code and tables that made it: better detection reads every file again.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainer_core import places
from trainer_core.library.files import write_whole

LONGEST_BYTES = 200_000_000
_PACKAGE = Path(__file__).resolve().parents[1]
_DECIDES = ("header", "detection", "families", "catalog", "library/entry.py", "library/reading.py")
"""What an answer follows from, below trainer_core."""

Row = dict[str, Any]
Kept = Mapping[str, tuple[str, Row]]
"""By path: the stamp of its files, and what they were found to be (`entry.as_row`)."""


def kept_in() -> Path:
    """The file that holds what was found."""
    return places.home() / "library.json"


def load(path: Path) -> Kept:
    """What was found before; nothing where the file is missing, damaged, or made by another version."""
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
    """Keeps what was found. Returns "" or, where it cannot be written, a notice that says so."""
    try:
        write_whole(path, json.dumps({"version": version(), "models": kept}, separators=(",", ":")))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        return f"{path} cannot be written ({reason}), so the next scan reads every model again."
    return ""


@functools.cache
def version() -> str:
    """A digest of the code and the tables that say what a model is."""
    digest = hashlib.blake2b(digest_size=16)
    for name in _DECIDES:
        place = _PACKAGE / name
        files = sorted(place.rglob("*")) if place.is_dir() else [place]
        for file in files:
            if file.suffix in {".py", ".toml"}:
                digest.update(str(file.relative_to(_PACKAGE)).encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


def _is_row(row: Any) -> bool:
    return isinstance(row, dict) and isinstance(row.get("found", {}), dict)

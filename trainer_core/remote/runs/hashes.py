"""The SHA-256 of the files of a run, each computed once as long as the file does not change."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Mapping
from pathlib import Path

from trainer_core.jobs.folder import JobFolder
from trainer_core.remote.runs.carrier import FileThere

KNOWN = "hashes.json"


def of_files(run: Path, found: Mapping[str, Path]) -> dict[str, FileThere]:
    """The size, tag and SHA-256 of each file; a file that cannot be read is left out."""
    folder = JobFolder(run)
    known = folder.read(KNOWN) or {}
    told: dict[str, FileThere] = {}
    for name, path in found.items():
        with contextlib.suppress(OSError):
            seen = path.stat()
            tag = f"{seen.st_size}-{seen.st_mtime_ns}"
            before = known.get(name)
            digest = before[1] if isinstance(before, list) and before[:1] == [tag] else of_file(path)
            told[name] = FileThere(seen.st_size, tag, digest)
    now = {name: [each.tag, each.sha256] for name, each in told.items()}
    if now != known:
        # Without space for it, they are computed again.
        with contextlib.suppress(OSError):
            folder.write(KNOWN, now)
    return told


def of_file(path: Path) -> str:
    """The SHA-256 of a file in hexadecimal digits.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

"""Which of the model files of this machine another one can download itself: those in the cache of the Hub."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from trainer_core import places

LEAST_BYTES = 64 << 20
"""Smaller files are sent: that is quicker than to ask the Hub for them."""
_REPO = re.compile(r"models--([A-Za-z0-9][\w.-]*)--([A-Za-z0-9][\w.-]*)", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{40}", re.ASCII)


@dataclass(frozen=True)
class HubOrigin:
    """A file of a repository of the Hub: repository, commit and path in it."""

    repo: str
    revision: str
    path: str

    def as_dict(self) -> dict[str, Any]:
        """The origin as JSON data."""
        return asdict(self)


def origin(path: Path, sha256: str, size: int) -> HubOrigin | None:
    """Where the Hub has this file; None if it is not known, or the file is small.

    In the cache a large file is named after its SHA-256, and a link in the folder of a commit leads to it.
    Source: huggingface_hub documentation, "Understand caching".
    """
    if size < LEAST_BYTES or places.real(path).name != sha256:
        return None
    parts = path.absolute().parts
    for place, part in enumerate(parts[:-3]):
        repo = _REPO.fullmatch(part)
        if repo and parts[place + 1] == "snapshots" and _COMMIT.fullmatch(parts[place + 2]):
            return HubOrigin(f"{repo[1]}/{repo[2]}", parts[place + 2], "/".join(parts[place + 3 :]))
    return None

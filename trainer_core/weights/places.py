"""Where the bytes of a tensor are. Without numpy, so that files can be copied without it."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple


class Place(NamedTuple):
    """Bytes of a file."""

    path: Path
    start: int
    size: int

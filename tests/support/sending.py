"""A large file that a page sends to the file app, and how far that is."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

LARGE_BYTES = int(os.environ.get("EASEL_UPLOAD_MB", "80")) * 1_000_000
"""The size of the large file. With EASEL_UPLOAD_MB=500 a test takes a minute more and shows the same."""


def large_file(folder: Path) -> Path:
    """A file of random bytes, named base.dat."""
    path = folder / "base.dat"
    with path.open("wb") as file:
        for _ in range(50):
            file.write(os.urandom(LARGE_BYTES // 50))
    return path


def digest(path: Path) -> str:
    """The SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sent(page: Any, share: float) -> float:
    """Waits until this share of all files is here; returns the share, -1 if they are complete already."""
    found = page.wait_for_function(
        f"""() => {{
          const bar = document.querySelector('.easel-arrive-whole > progress');
          if (document.querySelector('.easel-arrive-is-ok, .easel-arrive-is-danger')) return -1;
          return bar && !bar.hidden && bar.value / bar.max >= {share} && bar.value / bar.max;
        }}""",
        polling=100,
    )
    return found.json_value()

"""The files of this Easel as one archive, from which a machine gets the same Easel. Equal files make equal archives."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from trainer_core import places
from trainer_core.errors import JobError

PARTS = (
    "LICENSE",
    "README.md",
    "backends",
    "docs/guide",
    "installer.py",
    "notebooks",
    "profiles",
    "pyproject.toml",
    "requirements",
    "themes",
    "trainer_core",
    "trainer_ui",
)
"""What of a checkout an installed Easel consists of. A test compares it with what pyproject.toml puts into a package."""
_LEFT_OUT = frozenset({"__pycache__", "node_modules"})


@dataclass(frozen=True)
class Archive:
    """A compressed tar archive: its bytes, their SHA-256, and the number of its files."""

    content: bytes
    sha256: str
    files: int


def pack(checkout: Path = places.CHECKOUT) -> Archive:
    """The archive of the Easel in a checkout, without what was made by running it.

    Raises:
        JobError: this Easel does not run from a checkout, so its installer is not there, or a file cannot be read.
    """
    if not (checkout / "installer.py").is_file():
        hint = "Install Easel on the machine by hand, or use an Easel here that was installed with installer.py."
        raise JobError("This Easel was installed as a package, without the installer that a machine needs.", hint)
    raw, count = io.BytesIO(), 0
    try:
        with tarfile.open(fileobj=raw, mode="w", format=tarfile.PAX_FORMAT) as tar:
            for name in sorted(_names(checkout)):
                content = (checkout / name).read_bytes()
                about = tarfile.TarInfo(name)
                about.size, about.mode = len(content), 0o644
                tar.addfile(about, io.BytesIO(content))
                count += 1
    except OSError as error:
        raise JobError(
            f"Easel's own files cannot be read: {error.strerror or error}.", f"Look at {checkout}."
        ) from error
    # The time in the header of gzip would make each archive another one.
    content = gzip.compress(raw.getvalue(), mtime=0)
    return Archive(content, hashlib.sha256(content).hexdigest(), count)


def _names(checkout: Path) -> Iterator[str]:
    """The paths of the files, relative to the checkout. Links are left out: they lead to files of this machine."""
    for part in PARTS:
        top = checkout / part
        if top.is_file():
            yield part
        for where, folders, names in os.walk(top):
            folders[:] = [name for name in folders if name not in _LEFT_OUT and not name.startswith(".")]
            for name in names:
                path = Path(where, name)
                if not name.startswith(".") and not name.endswith(".pyc") and not path.is_symlink():
                    yield path.relative_to(checkout).as_posix()

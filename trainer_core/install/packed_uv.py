"""uv in a bundle: the wheel that requirements/uv.txt pins, so that a bundle can bring no other program. Standard library only."""

from __future__ import annotations

import hashlib
import io
import os
import re
import zipfile
from pathlib import Path

from trainer_core.errors import InstallError
from trainer_core.files import write_whole
from trainer_core.places import resource


def requirements() -> Path:
    """The file with the release of uv and the hashes of its wheels."""
    return resource("requirements") / "uv.txt"


def unpack(wheels: Path, target: Path) -> None:
    """Writes the program of the pinned wheel among these to `target`, whole or not at all; one that is the same already stays.

    Raises:
        InstallError: the pinned wheel is not there.
        OSError: the program cannot be written.
    """
    program = _program(wheels)
    try:
        if target.read_bytes() == program and os.access(target, os.X_OK):
            return
    except OSError:
        pass
    write_whole(target, program, executable=True)


def _program(wheels: Path) -> bytes:
    pinned = set(re.findall(r"sha256:([0-9a-f]{64})", requirements().read_text("utf-8")))
    for wheel in sorted(wheels.glob("uv-*.whl")):
        content = wheel.read_bytes()
        # The bytes that were compared are those that are unpacked.
        if hashlib.sha256(content).hexdigest() in pinned:
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                name = next(each for each in archive.namelist() if re.fullmatch(r"uv-[^/]+\.data/scripts/uv", each))
                return archive.read(name)
    raise InstallError("The bundle does not have the uv that this Easel pins.", "Make a new bundle.")


def check(wheels: Path) -> None:
    """Checks that the pinned wheel is among these.

    Raises:
        InstallError: it is not.
    """
    _program(wheels)

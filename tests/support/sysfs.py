"""The parts of sysfs that show GPUs, on the machine of `sshd.py`: empty until a test plants something there."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

SYSFS = {"class": "/sys/class", "drivers": "/sys/bus/pci/drivers"}
"""The folders of the machine that are replaced, by their names below "sysfs" in its own folder."""


@contextlib.contextmanager
def planted(base: Path, files: Mapping[str, str]) -> Iterator[None]:
    """Meanwhile these files are there, by their paths below "class" or "drivers"; `base` is the folder of the machine."""
    for name, text in files.items():
        path = base / "sysfs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
    try:
        yield
    finally:
        for name in SYSFS:
            for path in (base / "sysfs" / name).iterdir():
                shutil.rmtree(path)

"""The folders that Easel and its engines write to."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from trainer_core.doctor.case import Case
from trainer_core.doctor.checks.system import container
from trainer_core.doctor.finding import Finding
from trainer_core.hardware import free_disk_bytes
from trainer_core.text import printable, size

LITTLE_BYTES = 20 << 30
"""Less free space than this is noticed: an engine and one base model of SDXL take more than 16 GB."""
NONE_BYTES = 1 << 30
"""With less free space than this, no training can save its results."""
SHARED_BYTES = 1 << 30
"""Less shared memory than this is noticed. A container of Docker has 64 MB if nobody chooses more."""


SHARED = "/dev/shm"  # noqa: S108 - nothing is written there


def folders(case: Case) -> Iterator[Finding]:
    """The free space of each folder, and whether it can be written."""
    measured = case.probe.fact("free", lambda: {what: _measured(path) for what, path in case.folders.items()})
    for what, path in case.folders.items():
        about = measured[what]
        free, where = about["bytes"], printable(str(path), 300)
        private = (where,)
        title = what[0].upper() + what[1:]
        name = f"folder.{'-'.join(what.lower().split())}"
        found = f"{size(free)} are free in {where}."
        if not about["writable"]:
            fix = f"Make {where} writable for this user, or choose another folder: EASEL_HOME for Easel's, HF_HOME for the Hub's, TMPDIR for temporary files."
            yield Finding(
                name,
                title,
                "problem",
                f"{where} cannot be written.",
                "Nothing can be saved there.",
                fix,
                private=private,
            )
        elif free < NONE_BYTES:
            fix = "Free some space, or choose another disk: EASEL_HOME for Easel's folder, HF_HOME for the Hub's, TMPDIR for temporary files."
            yield Finding(name, title, "problem", found, "A training could not save its results.", fix, private=private)
        elif free < LITTLE_BYTES:
            means = "An engine takes 8 to 10 GB and a base model of SDXL 7 GB, each checkpoint of a finetuning as much."
            yield Finding(
                name,
                title,
                "notice",
                found,
                means,
                "Free some space: `easel runs trash empty` and `uv cache prune` help.",
                private=private,
            )
        else:
            yield Finding(name, title, "good", found, private=private)


def _measured(path: Path) -> dict[str, Any]:
    here = path
    while not here.exists() and here != here.parent:
        here = here.parent
    return {"bytes": free_disk_bytes(path), "writable": os.access(here, os.W_OK)}


def shared_memory(case: Case) -> Iterator[Finding]:
    """The shared memory of Linux, through which programs that load images pass them on."""
    total = case.probe.fact("shm", _shared_bytes)
    if not total:
        return
    found = f"{SHARED} has {size(total)}."
    if total >= SHARED_BYTES:
        yield Finding("shared-memory", "Shared memory", "good", found)
    else:
        means = "Processes that load images pass them on through it. A run may stop with a bus error."
        fix = (
            "Start the container with --ipc=host or --shm-size=8g."
            if container(case.probe)
            else "Run: sudo mount -o remount,size=8G /dev/shm"
        )
        yield Finding("shared-memory", "Shared memory", "notice", found, means, fix)


def _shared_bytes() -> int:
    try:
        about = os.statvfs(SHARED)
    except OSError:
        return 0
    return about.f_frsize * about.f_blocks

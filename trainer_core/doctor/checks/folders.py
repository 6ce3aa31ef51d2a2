"""The folders that Easel and its engines write to."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from trainer_core import places
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


ANSWER_S = 10.0
"""How long a disk may take to say how full it is. A network disk whose server is gone answers never."""
SHARED = "/dev/shm"  # noqa: S108 - nothing is written there


def folders(case: Case) -> Iterator[Finding]:
    """The free space of each disk with folders of Easel's, and whether they can be written."""
    measured = case.probe.fact("free", lambda: {what: _answer(path) for what, path in case.folders.items()})
    disks: dict[object, list[str]] = {}
    for what in case.folders:
        about = measured[what]
        # A folder that cannot be written is told of on its own; recorded machines have no numbers of disks.
        disks.setdefault(about.get("disk", what) if about["writable"] else what, []).append(what)
    for each in disks.values():
        yield _of_disk(each, [printable(str(case.folders[what]), 300) for what in each], measured[each[0]])


def _of_disk(names: list[str], paths: list[str], about: dict[str, Any]) -> Finding:
    """The finding about one disk, with the names of what is on it and their folders."""
    names_shown = ", ".join(names)
    title, where = names_shown[0].upper() + names_shown[1:], " and ".join(paths)
    name = f"folder.{'-'.join(names[0].lower().split())}"
    found = f"{size(about['bytes'])} are free in {where}{', which are on one disk' if len(paths) > 1 else ''}."
    if about.get("silent"):
        found, state = f"The disk of {where} has not answered for {ANSWER_S:.0f} seconds.", "problem"
        means = "Programs that use it wait without an end, and cannot be stopped."
        fix = "If it is a network disk, look whether its server is reached, or unmount it (umount -l); or choose another folder: EASEL_HOME for Easel's, HF_HOME for the Hub's, TMPDIR for temporary files."
    elif not about["writable"]:
        fix = f"Make {where} writable for this user, or choose another folder: EASEL_HOME for Easel's, HF_HOME for the Hub's, TMPDIR for temporary files."
        found, state, means = f"{where} cannot be written.", "problem", "Nothing can be saved there."
    elif about["bytes"] < NONE_BYTES:
        fix = "Free some space, or choose another disk: EASEL_HOME for Easel's folder, HF_HOME for the Hub's, TMPDIR for temporary files."
        state, means = "problem", "A training could not save its results."
    elif about["bytes"] < LITTLE_BYTES:
        fix = "Free some space: `easel runs trash empty` and `uv cache prune` help."
        state = "notice"
        means = "An engine takes 8 to 10 GB and a base model of SDXL 7 GB, each checkpoint of a finetuning as much."
    else:
        fix, state, means = "", "good", ""
    return Finding(name, title, state, found, means, fix, private=tuple(paths))


def _answer(path: Path) -> dict[str, Any]:
    """What was measured; a disk that does not answer in time is `silent`, and the thread that asked is left behind."""
    found: list[dict[str, Any]] = []
    asking = threading.Thread(target=lambda: found.append(_measured(path)), name="easel-disk", daemon=True)
    asking.start()
    asking.join(ANSWER_S)
    return found[0] if found else {"bytes": 0, "writable": False, "silent": True}


def _measured(path: Path) -> dict[str, Any]:
    here = path
    while not os.path.lexists(here) and here != here.parent:
        here = here.parent
    # A file, or a link to a disk that is not mounted, is no folder and does not become one.
    if not places.is_folder(here) or not os.access(here, os.W_OK | os.X_OK):
        return {"bytes": 0, "writable": False}
    try:
        return {"bytes": free_disk_bytes(here), "writable": True, "disk": here.stat().st_dev}
    except OSError:
        return {"bytes": 0, "writable": False}


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

"""Processes as a run sees them: which one it is for sure, what belongs to it, and how it is ended."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

MARK = "EASEL_RUN"
"""Every process of a run carries this in its environment, so that it can be found when its parents are gone."""

_PR_SET_CHILD_SUBREAPER = 36
_GONE = (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess)


@dataclass(frozen=True)
class Identity:
    """One process for sure: a number that is given out again, and when it began."""

    pid: int
    started: str

    @classmethod
    def of(cls, pid: int) -> Identity | None:
        """The process that has this number now; None when there is none or it is only a zombie."""
        started = _started(pid)
        return cls(pid, started) if started else None

    @classmethod
    def from_dict(cls, data: Mapping[str, Any] | None) -> Identity | None:
        """The process that `as_dict` recorded."""
        try:
            return None if data is None else cls(int(data["pid"]), str(data["started"]))
        except (KeyError, TypeError, ValueError):
            return None

    def as_dict(self) -> dict[str, Any]:
        """This as JSON data."""
        return {"pid": self.pid, "started": self.started}

    @property
    def alive(self) -> bool:
        """True while this very process runs; a zombie is dead."""
        return self.started != "" and _started(self.pid) == self.started


def _started(pid: int) -> str:
    """When the process began, as text that never changes while it lives; "" for none or a zombie."""
    if sys.platform == "linux":
        try:
            # The name in brackets may hold anything, so what follows the last bracket is counted.
            fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
            boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        except OSError:
            return ""
        # Ticks since boot: a clock that is set right does not change them.
        return "" if fields[0] in "ZX" else f"{boot}:{fields[19]}"
    try:
        process = psutil.Process(pid)
        return "" if process.status() == psutil.STATUS_ZOMBIE else f"{process.create_time():.2f}"
    except _GONE:
        return ""


def adopt_orphans() -> None:
    """Makes this process the parent of grandchildren whose parent ends, where the system can (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def descendants() -> list[psutil.Process]:
    """The children of this process, their children and so on, zombies left out."""
    return [process for process in _children(recursive=True) if _is_running(process)]


def of_run(folder: Path) -> list[psutil.Process]:
    """The processes, anywhere, that were started for the run in `folder`, but this one."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(*_GONE, OSError):
            if process.pid != os.getpid() and process.environ().get(MARK) == str(folder) and _is_running(process):
                found.append(process)
    return found


def memory_bytes(processes: Iterable[psutil.Process]) -> int:
    """The resident memory of the processes together; what they share is counted for each."""
    total = 0
    for process in processes:
        with contextlib.suppress(*_GONE):
            total += process.memory_info().rss
    return total


def signal_group(leader: int, number: int) -> None:
    """Sends a signal to a process group, if there still is one."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, number)


def kill(processes: Iterable[psutil.Process], wait_s: float = 5.0) -> None:
    """Ends processes for good and waits until they are gone."""
    going = list(processes)
    for process in going:
        with contextlib.suppress(*_GONE):
            process.kill()
    deadline = time.monotonic() + wait_s
    while any(_is_running(process) for process in going) and time.monotonic() < deadline:
        time.sleep(0.02)


def reap(but: Iterable[int] = ()) -> None:
    """Takes the exit codes of children that ended, all but some: adopted ones would stay as zombies.

    Only for a process whose children are all its own business.
    """
    kept = set(but)
    for child in _children(recursive=False):
        if child.pid not in kept and not _is_running(child):
            with contextlib.suppress(ChildProcessError):
                os.waitpid(child.pid, os.WNOHANG)


def end_run(folder: Path, leader: Identity | None, grace_s: float, number: int = signal.SIGTERM) -> None:
    """Ends whatever was started for the run in `folder` when nobody watches it any more; `leader` is its engine."""
    if leader is not None and leader.alive:
        signal_group(leader.pid, number)
        deadline = time.monotonic() + grace_s
        while leader.alive and time.monotonic() < deadline:
            time.sleep(0.05)
        if leader.alive:
            signal_group(leader.pid, signal.SIGKILL)
    # What is killed may have started another process just before.
    for _ in range(3):
        if not (left := of_run(folder)):
            return
        kill(left)


def _is_running(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except _GONE:
        return False


def _children(recursive: bool) -> list[psutil.Process]:
    try:
        return psutil.Process().children(recursive=recursive)
    except _GONE:
        return []

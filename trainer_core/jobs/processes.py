"""The processes of a job: how to identify them, how to find all of them, and how to end them."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

MARK = "EASEL_RUN"
"""The environment variable of a job's programs and their children, to find them even when their parents have ended."""

_APART: set[int] = set()
_PR_SET_CHILD_SUBREAPER = 36
_GONE = (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess)


@dataclass(frozen=True)
class Identity:
    """Identifies one process: by its id, which the system reuses later, and its start time."""

    pid: int
    started: str

    @classmethod
    def of(cls, pid: int) -> Identity | None:
        """The process that has this id now; None if there is none or it is a zombie."""
        started = _started(pid)
        return cls(pid, started) if started else None

    @classmethod
    def from_dict(cls, data: Mapping[str, Any] | None) -> Identity | None:
        """The identity that `as_dict` wrote; None if the data is missing or damaged."""
        try:
            return None if data is None else cls(int(data["pid"]), str(data["started"]))
        except (KeyError, TypeError, ValueError):
            return None

    def as_dict(self) -> dict[str, Any]:
        """The identity as JSON data."""
        return {"pid": self.pid, "started": self.started}

    @property
    def alive(self) -> bool:
        """Whether exactly this process still runs; a zombie does not."""
        return self.started != "" and _started(self.pid) == self.started


def _started(pid: int) -> str:
    """The start time of a process, as text that stays the same while it runs; "" if there is none or it is a zombie."""
    if sys.platform == "linux":
        try:
            # The name in parentheses may contain any character, so the fields are counted after the last parenthesis.
            fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
            boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        except OSError:
            return ""
        # Clock ticks since boot: they stay the same when the system's clock is changed.
        return "" if fields[0] in "ZX" else f"{boot}:{fields[19]}"
    try:
        process = psutil.Process(pid)
        return "" if process.status() == psutil.STATUS_ZOMBIE else f"{process.create_time():.2f}"
    except _GONE:
        return ""


def adopt_orphans() -> None:
    """Makes this process the new parent of descendants whose parent ends, if the system supports it (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def set_apart(pid: int) -> None:
    """Marks a child of this process as not one of the job's programs: it is not counted, ended or reaped as one of them."""
    _APART.add(pid)


def forget(pid: int) -> None:
    """Ends the mark of `set_apart`: the child has ended and was waited for, so its id may be given to another process."""
    _APART.discard(pid)


def descendants() -> list[psutil.Process]:
    """The children of this process, their children and so on, without zombies and those that are set apart."""
    return [process for process in _children(recursive=True) if process.pid not in _APART and _is_running(process)]


def of_job(folder: Path) -> list[psutil.Process]:
    """All running processes that were started for the job in `folder`, except this one."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(*_GONE, OSError):
            if process.pid != os.getpid() and process.environ().get(MARK) == str(folder) and _is_running(process):
                found.append(process)
    return found


def memory_bytes(processes: Iterable[psutil.Process]) -> int:
    """The total resident memory of the processes; shared memory is counted for each of them."""
    total = 0
    for process in processes:
        with contextlib.suppress(*_GONE):
            total += process.memory_info().rss
    return total


def send(pid: int, number: int) -> None:
    """Sends a signal to a process, if it still exists."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def signal_group(leader: int, number: int) -> None:
    """Sends a signal to a process group, if it still exists."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, number)


def kill(processes: Iterable[psutil.Process], wait_s: float = 5.0) -> None:
    """Kills processes and waits at most `wait_s` seconds for their end."""
    killed = list(processes)
    for process in killed:
        with contextlib.suppress(*_GONE):
            process.kill()
    deadline = time.monotonic() + wait_s
    while any(_is_running(process) for process in killed) and time.monotonic() < deadline:
        time.sleep(0.02)


def reap(excluded: Iterable[int] = ()) -> None:
    """Collects the exit codes of children that have ended, except the `excluded` ones; adopted ones would stay zombies.

    Only for a process in which no other code waits for the remaining children.
    """
    kept = _APART.union(excluded)
    for child in _children(recursive=False):
        if child.pid not in kept and not _is_running(child):
            with contextlib.suppress(ChildProcessError):
                os.waitpid(child.pid, os.WNOHANG)


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

"""The processes of a job: how to identify them, how to find all of them, and how to end them."""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer_core.jobs import process_table

KILL = signal.SIGKILL
MARK = "EASEL_RUN"
"""The environment variable of a job's programs and their children, to find them even when their parents have ended."""

_APART: set[int] = set()
_PR_SET_CHILD_SUBREAPER = 36
_STEP_S = 0.05


@dataclass(frozen=True)
class Identity:
    """Identifies one process: by its id, which the system reuses later, and its start time."""

    pid: int
    started: str

    @classmethod
    def of(cls, pid: int) -> Identity | None:
        """The process that has this id now; None if there is none or it is a zombie."""
        started = process_table.started(pid)
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
        return self.started != "" and process_table.started(self.pid) == self.started


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


def apart() -> frozenset[int]:
    """The children of this process that are not the job's programs."""
    return frozenset(_APART)


def family(roots: Iterable[int]) -> list[Identity]:
    """The running processes among `roots`, their children and so on, and all in the sessions that they lead.

    Without those that are set apart.
    """
    wanted = set(roots)
    rows = [row for row in process_table.rows() if row[0] not in _APART]
    # A child usually has a higher id than its parent, but ids start again from the lowest at some time.
    while more := {row[0] for row in rows if row[0] not in wanted and not wanted.isdisjoint(row[1:])}:
        wanted |= more
    return _running(sorted(wanted.intersection(row[0] for row in rows)))


def descendants() -> list[Identity]:
    """The children of this process, their children and so on, without zombies and without this process."""
    return [process for process in family([os.getpid()]) if process.pid != os.getpid()]


def of_job(folder: Path) -> list[Identity]:
    """All running processes that were started for the job in `folder`, except this one."""
    marked = (row[0] for row in process_table.rows() if process_table.has_variable(row[0], MARK, str(folder)))
    return _running(pid for pid in marked if pid != os.getpid())


def _running(pids: Iterable[int]) -> list[Identity]:
    return [found for pid in pids if (found := Identity.of(pid)) is not None]


def resident_bytes(pid: int) -> int:
    """The resident memory of a process; 0 if it is gone."""
    return process_table.memory_bytes(pid)


class EndOf:
    """Waits for the end of a process, which need not be a child of this one."""

    def __init__(self, identity: Identity) -> None:
        self.identity = identity
        self._poll: select.poll | None = None
        with contextlib.suppress(OSError, AttributeError):
            # A process that has ended meanwhile may have given its id to another one, so it is looked at again below.
            self._handle = os.pidfd_open(identity.pid)
            self._poll = select.poll()
            self._poll.register(self._handle, select.POLLIN)
        self._seen = not identity.alive

    def wait(self, limit_s: float) -> bool:
        """Whether the process has ended, after at most `limit_s` seconds."""
        if not self._seen and self._poll is not None:
            self._seen = bool(self._poll.poll(max(0.0, limit_s) * 1000))
        elif not self._seen:
            deadline = time.monotonic() + limit_s
            while not (ended := not self.identity.alive) and (left := deadline - time.monotonic()) > 0:
                time.sleep(min(_STEP_S, left))
            self._seen = ended
        return self._seen

    def close(self) -> None:
        """Gives back what the system keeps for this."""
        if self._poll is not None:
            self._poll = None
            os.close(self._handle)


def send(pid: int, number: int) -> None:
    """Sends a signal to a process, if it still exists."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def signal_group(leader: int, number: int) -> None:
    """Sends a signal to a process group, if it still exists."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, number)


def kill(found: Iterable[Identity], wait_s: float = 5.0) -> None:
    """Kills processes and waits at most `wait_s` seconds for their end."""
    killed = [process for process in found if process.alive]
    for process in killed:
        send(process.pid, KILL)
    deadline = time.monotonic() + wait_s
    while any(process.alive for process in killed) and time.monotonic() < deadline:
        time.sleep(0.02)


def reap(excluded: Iterable[int] = ()) -> None:
    """Collects the exit codes of children that have ended, except the `excluded` ones; adopted ones would stay zombies.

    Only for a process in which no other code waits for the remaining children. It stops at the first excluded child that
    has ended: whoever waits for that one calls this again.
    """
    kept = _APART.union(excluded)
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) and ended.si_pid not in kept:
            os.waitpid(ended.si_pid, os.WNOHANG)

"""The RAM, swap and CPU time of a job's processes.

Two sources of the kernel are read: the list of all processes every few seconds, and the record of each of the job's processes
every second. The record contains the highest RAM use so far, so no short peak of one process is missed.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from trainer_core.jobs import processes

SCAN_S = 5.0
"""How often the list of all processes is read."""
SCAN_SHARE = 0.002
"""The most time that reading the list may take: this share of one core. On a machine with many processes it is read less often."""
_KIB = 1024
_TICKS = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100


@dataclass(frozen=True)
class Use:
    """What the processes use: RAM (shared memory counts for each of them) and swap in bytes."""

    memory_bytes: int
    swap_bytes: int


class ProcessTree:
    """The programs of a job with their descendants, and the other descendants of this process, which it has adopted."""

    def __init__(self, proc: Path = Path("/proc")) -> None:
        self._proc = proc
        self._is_linux = sys.platform == "linux"
        self._next = 0.0
        self._ticks: dict[int, int] = {}
        self._scanned = 0.0
        self.pids: set[int] = set()
        self.cpu_percent: float | None = None
        self.peak_bytes = 0
        self.peak_swap_bytes = 0

    def look(self, roots: Collection[int], reserved: Collection[int], now: float) -> Use:
        """What the processes of `roots` and below use now; the peaks are kept. Somebody else waits for those in `reserved`.

        Children of this process that are set apart are not counted.
        """
        if now >= self._next or self.pids.isdisjoint(roots):
            began = time.thread_time()
            self._scan(roots, now)
            # Adopted processes, which nobody else waits for.
            processes.reap(reserved)
            self._next = now + max(SCAN_S, (time.thread_time() - began) / SCAN_SHARE)
        memory = swap = highest = 0
        for pid in self.pids:
            resident, peak, swapped = self._memory(pid)
            memory, swap, highest = memory + resident, swap + swapped, max(highest, peak)
        self.peak_bytes = max(self.peak_bytes, memory, highest)
        self.peak_swap_bytes = max(self.peak_swap_bytes, swap)
        return Use(memory, swap)

    def _scan(self, roots: Collection[int], now: float) -> None:
        """Finds the processes and the CPU time that they have used since the last scan."""
        if not self._is_linux:
            self.pids = {process.pid for process in processes.family(roots)}
            return
        children: dict[int, list[int]] = {}
        ticks: dict[int, int] = {}
        for pid in map(int, filter(str.isdigit, os.listdir(self._proc))):  # noqa: PTH208 - a thousand names, often
            if (found := self._stat(pid)) is None:
                continue
            has_ended, parent, spent = found
            if not has_ended:
                children.setdefault(parent, []).append(pid)
                ticks[pid] = spent
        self.pids = _below([*roots, *children.get(os.getpid(), [])], children, processes.apart()) & ticks.keys()
        used = {pid: ticks[pid] for pid in self.pids}
        if self._ticks and now > self._scanned:
            spent = sum(count - self._ticks.get(pid, count) for pid, count in used.items())
            self.cpu_percent = 100 * max(spent, 0) / _TICKS / (now - self._scanned)
        self._ticks, self._scanned = used, now

    def _stat(self, pid: int) -> tuple[bool, int, int] | None:
        """Whether a process has ended, its parent, and the CPU time that it has used in clock ticks; None if it is gone.

        Source: proc_pid_stat(5): fields 3 (state), 4 (parent), 14 and 15 (time in user and kernel mode).
        """
        try:
            with open(f"{self._proc}/{pid}/stat", "rb", buffering=0) as file:  # noqa: PTH123 - read for every process there is
                fields = file.read(4096).rpartition(b")")[2].split()
            return fields[0] in b"ZX", int(fields[1]), int(fields[11]) + int(fields[12])
        except (OSError, ValueError, IndexError):
            return None

    def _memory(self, pid: int) -> tuple[int, int, int]:
        """The RAM that a process uses, the most that it has used, and its swap, in bytes; 0 if it is gone.

        Source: proc_pid_status(5): VmRSS, VmHWM, VmSwap.
        """
        if not self._is_linux:
            used = processes.resident_bytes(pid)
            return used, used, 0
        try:
            with open(f"{self._proc}/{pid}/status", "rb", buffering=0) as file:  # noqa: PTH123 - read each second
                text = file.read(8192)
        except OSError:
            return 0, 0, 0
        return _kib(text, b"\nVmRSS:"), _kib(text, b"\nVmHWM:"), _kib(text, b"\nVmSwap:")


def _below(roots: Iterable[int], children: dict[int, list[int]], excluded: Collection[int]) -> set[int]:
    """The roots with all that is below them."""
    found: set[int] = set()
    left = [pid for pid in roots if pid not in excluded]
    while left:
        pid = left.pop()
        if pid not in found:
            found.add(pid)
            left += children.get(pid, [])
    return found


def _kib(text: bytes, name: bytes) -> int:
    begin = text.find(name)
    if begin < 0:
        return 0
    begin += len(name)
    number = text[begin : text.find(b"kB", begin)].strip()
    return int(number) * _KIB if number.isdigit() else 0

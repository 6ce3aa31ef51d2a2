"""The peak memory use of a program: the RAM of its processes, and the memory of the GPUs; and kills for lack of memory."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import time
from pathlib import Path

from trainer_core.jobs import processes
from trainer_core.jobs.processes import Identity
from trainer_core.jobs.program import Program

_INTERVAL_S = 2.0
_SHARE = 0.001
"""The share of its time that the supervisor may spend on looking for processes: a machine may have thousands."""
_GPU_INTERVAL_S = 5.0
_GPU_QUERY = ("--query-gpu=memory.used", "--format=csv,noheader,nounits")
_MIB = 1 << 20
_KILL_S = 30.0
"""How long a program may need to end after the system killed one of its processes, in seconds."""
_CGROUPS = Path("/sys/fs/cgroup")


class MemoryWatch:
    """Samples the RAM of a job's processes, and how far the GPU memory in use exceeds its lowest sample.

    In a container, process ids differ from those in the GPU driver's list, so only this difference is known.
    """

    def __init__(self, kills: Path | None = None) -> None:
        self._kills_file = kills or _kills_file()
        self._kills, self._killed = _kills(self._kills_file), 0.0
        self.peak_bytes = 0
        self.peak_gpu_bytes: int | None = None
        self._next = self._next_gpu = self._next_search = 0.0
        self._running: list[Identity] = []
        self._nvidia_smi = shutil.which("nvidia-smi")
        self._query: subprocess.Popen[str] | None = None
        self._gpu_lowest: int | None = None

    def look(self, program: Program) -> None:
        """Takes a sample if one is due, and reaps adopted processes that have ended, without the program's own."""
        now = time.monotonic()
        if now >= self._next:
            self._next = now + _INTERVAL_S
            if now >= self._next_search:
                began = time.process_time()
                own = {self._query.pid} if self._query else set[int]()
                found = processes.family({os.getpid(), *program.roots})
                self._running = [each for each in found if each.pid not in {os.getpid(), *own}]
                self._next_search = now + (time.process_time() - began) / _SHARE
                processes.reap({*program.reserved, *own})
            self.peak_bytes = max(self.peak_bytes, processes.memory_bytes(self._running))
            self._look_for_kills(now)
        if self._nvidia_smi and now >= self._next_gpu:
            self._next_gpu = now + _GPU_INTERVAL_S
            self._sample_gpu()

    def killed_lately(self) -> bool:
        """Whether the system killed a process in this container or session within the last seconds, for lack of memory."""
        now = time.monotonic()
        self._look_for_kills(now)
        return bool(self._killed) and now - self._killed <= _KILL_S

    def _look_for_kills(self, now: float) -> None:
        if (kills := _kills(self._kills_file)) > self._kills:
            self._kills, self._killed = kills, now

    def close(self) -> None:
        """Kills a query to the driver that has not been answered."""
        if self._query is not None:
            self._query.kill()
            self._query.communicate()
            self._query = None

    def _sample_gpu(self) -> None:
        """Reads the answer to the last query and starts the next one, so that the job never waits for a slow driver."""
        if self._query is not None:
            if self._query.poll() is None:
                return
            used = _sum_mib(self._query.communicate()[0])
            if used is not None:
                self._gpu_lowest = used if self._gpu_lowest is None else min(self._gpu_lowest, used)
                self.peak_gpu_bytes = max(self.peak_gpu_bytes or 0, used - self._gpu_lowest)
        with contextlib.suppress(OSError):
            command = [str(self._nvidia_smi), *_GPU_QUERY]
            self._query = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def _kills_file() -> Path:
    """The file in which the kernel counts the processes of this control group that it killed for lack of memory.

    Source: Linux, Documentation/admin-guide/cgroup-v2.rst (memory.events) and cgroup-v1/memory.rst (memory.oom_control).
    """
    try:
        rows = [row.split(":", 2) for row in Path("/proc/self/cgroup").read_text("utf-8").splitlines()]
    except OSError:
        return _CGROUPS / "memory.events"
    for _, kinds, folder in (row for row in rows if len(row) == 3):
        root, name = (
            (_CGROUPS / "memory", "memory.oom_control") if "memory" in kinds.split(",") else (_CGROUPS, "memory.events")
        )
        # Inside a container the folder may be that of the machine, and only the root is there.
        for file in (root / folder.lstrip("/") / name, root / name):
            if (not kinds or root != _CGROUPS) and file.is_file():
                return file
    return _CGROUPS / "memory.events"


def _kills(file: Path) -> int:
    """The number of kills in such a file; 0 where it cannot be read, as outside Linux."""
    try:
        found = re.search(r"^oom_kill (\d+)$", file.read_text("utf-8"), re.MULTILINE)
    except OSError:
        return 0
    return int(found[1]) if found else 0


def _sum_mib(text: str) -> int | None:
    numbers = [line.strip() for line in text.splitlines()]
    if not numbers or not all(number.isdigit() for number in numbers):
        return None
    return sum(int(number) for number in numbers) * _MIB

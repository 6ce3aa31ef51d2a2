"""The most memory an engine used: of the machine, by its processes, and of its GPUs."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import time

from trainer_core.runs import processes

_EVERY_S = 1.0
_GPU_EVERY_S = 5.0
_GPU_QUERY = ("--query-gpu=memory.used", "--format=csv,noheader,nounits")
_MIB = 1 << 20


class MemoryWatch:
    """Samples the memory of the processes below this one, and what the GPUs hold beyond what they held before.

    A GPU's own list of processes has other numbers than a container, so the difference is what can be told.
    """

    def __init__(self) -> None:
        self.peak_bytes = 0
        self.peak_gpu_bytes: int | None = None
        self._next = self._next_gpu = 0.0
        self._smi = shutil.which("nvidia-smi")
        self._query: subprocess.Popen[str] | None = None
        self._gpu_before: int | None = None

    def look(self, engine: int) -> None:
        """Takes a sample when one is due, and lets go of adopted processes that ended. `engine` is the child to leave alone."""
        now = time.monotonic()
        if now >= self._next:
            self._next = now + _EVERY_S
            running = processes.descendants()
            own = self._query.pid if self._query else 0
            self.peak_bytes = max(self.peak_bytes, processes.memory_bytes(p for p in running if p.pid != own))
            processes.reap({engine, own})
        if self._smi and now >= self._next_gpu:
            self._next_gpu = now + _GPU_EVERY_S
            self._sample_gpu()

    def close(self) -> None:
        """Ends a question to the driver that has no answer yet."""
        if self._query is not None:
            self._query.kill()
            self._query.communicate()
            self._query = None

    def _sample_gpu(self) -> None:
        """Reads the answer to the last question and asks the next: the driver may take its time, the run does not wait."""
        if self._query is not None:
            if self._query.poll() is None:
                return
            used = _sum_mib(self._query.communicate()[0])
            if used is not None:
                self._gpu_before = used if self._gpu_before is None else min(self._gpu_before, used)
                self.peak_gpu_bytes = max(self.peak_gpu_bytes or 0, used - self._gpu_before)
        with contextlib.suppress(OSError):
            command = [str(self._smi), *_GPU_QUERY]
            self._query = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def _sum_mib(text: str) -> int | None:
    numbers = [line.strip() for line in text.splitlines()]
    if not numbers or not all(number.isdigit() for number in numbers):
        return None
    return sum(int(number) for number in numbers) * _MIB

"""The highest and lowest figures of a job, for `result.json`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from trainer_core.events import Gauges, Gpu

_HIGHEST = ("memory_bytes", "own_bytes", "total_bytes", "load_percent", "temperature_c", "power_w")


class Peaks:
    """The peaks of all figures that were taken."""

    def __init__(self) -> None:
        self._gpus: dict[int, Gpu] = {}
        self._lowest_sum: int | None = None
        self._own: int | None = None
        self._above: int | None = None
        self._disk: int | None = None
        self.memory_bytes = 0
        self.swap_bytes = 0

    def take(self, gauges: Gauges) -> None:
        """Adds what was measured at one time."""
        self.memory_bytes = max(self.memory_bytes, gauges.memory_bytes or 0)
        self.swap_bytes = max(self.swap_bytes, gauges.swap_bytes or 0)
        free = gauges.disk_free_bytes
        if free is not None:
            self._disk = free if self._disk is None else min(self._disk, free)
        self.take_gpus(gauges.gpus)

    def take_gpus(self, gpus: tuple[Gpu, ...]) -> None:
        """Adds the figures of the GPUs at one time."""
        for gpu in gpus:
            before = self._gpus.get(gpu.index, gpu)
            highest = {name: _higher(getattr(before, name), getattr(gpu, name)) for name in _HIGHEST}
            self._gpus[gpu.index] = replace(gpu, **highest)
        if used := [gpu.memory_bytes for gpu in gpus if gpu.memory_bytes is not None]:
            total = sum(used)
            self._lowest_sum = total if self._lowest_sum is None else min(self._lowest_sum, total)
            self._above = max(self._above or 0, total - self._lowest_sum)
        if own := [gpu.own_bytes for gpu in gpus if gpu.own_bytes]:
            self._own = max(self._own or 0, sum(own))

    def go_on(self, memory_bytes: int, gpu_bytes: int | None) -> None:
        """Adds the totals of an earlier supervisor of the job."""
        self.memory_bytes = max(self.memory_bytes, memory_bytes)
        self._above = gpu_bytes if self._above is None else max(self._above, gpu_bytes or 0)

    def totals(self) -> dict[str, Any]:
        """The two figures that a later supervisor of the job needs, as JSON data."""
        return {"peak_memory_bytes": self.memory_bytes, "peak_gpu_memory_bytes": self.gpu_bytes}

    @property
    def gpu_bytes(self) -> int | None:
        """The most GPU memory that the job has used: by the driver's list of processes, else what was added to the lowest use."""
        return self._above if self._own is None else self._own

    def as_dict(self) -> dict[str, Any]:
        """The peaks as JSON data; None or an empty list for what is not known."""
        gpus = [{key: value for key, value in vars(gpu).items() if value is not None} for gpu in self._gpus.values()]
        return {
            **self.totals(),
            "peak_swap_bytes": self.swap_bytes,
            "peak_gpus": sorted(gpus, key=lambda gpu: gpu["index"]),
            "lowest_disk_free_bytes": self._disk,
        }


def _higher(before: float | None, now: float | None) -> float | None:
    return now if before is None else before if now is None else max(before, now)

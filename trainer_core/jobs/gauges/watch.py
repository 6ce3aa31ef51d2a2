"""What the supervisor calls while a program runs: samples the figures, writes them as events, and keeps the peaks."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from trainer_core import events, hardware
from trainer_core.events import Gauges, Notice
from trainer_core.files import open_own
from trainer_core.jobs.folder import JobFolder
from trainer_core.jobs.gauges.clocks import span, suspended_s
from trainer_core.jobs.gauges.gpus import GpuReader
from trainer_core.jobs.gauges.kills import Kills
from trainer_core.jobs.gauges.peaks import Peaks
from trainer_core.jobs.gauges.tree import ProcessTree, Use
from trainer_core.jobs.journal import Journal

SAMPLE_S = 1.0
SAMPLE_SHARE = 0.001
"""The most time that samples may take: this share of one core. A job with hundreds of processes is sampled less often."""
FIRST_S = 3.0
"""The first figures are written after so many seconds, when the GPUs have been read."""
WRITE_S = 10.0
"""How often figures are written at most, and how often if they are nearly the same."""
SAME_S = 60.0
SUSPENDED_S = 30.0
"""A suspension of at least so many seconds is told."""
SLOW_WRITE_S = 5.0
_STEP = 0.02
"""Sizes that differ by less than this share of the whole are nearly the same."""


class GaugeWatch:
    """The figures of one job: `look` is called a few times a second while its program runs, and never waits.

    `environment` is what the job's programs get in addition to that of this process. `clock` and `suspended` count seconds;
    they are parameters so that tests need not wait for minutes. The peaks of an earlier supervisor of the job are kept.
    """

    def __init__(
        self,
        folder: JobFolder,
        journal: Journal,
        environment: Mapping[str, str],
        *,
        kills: Path | None = None,
        clock: Callable[[], float] = time.monotonic,
        suspended: Callable[[], float] = suspended_s,
    ) -> None:
        self._folder, self._journal, self._clock, self._suspended = folder.path, journal, clock, suspended
        self.peaks = Peaks()
        self.kills = Kills(kills)
        self._tree = ProcessTree()
        self._gpus = GpuReader({**os.environ, **environment})
        self._use = Use(0, 0)
        self._slept_at = suspended()
        self._slept_s = 0.0
        self._next_sample = 0.0
        self._next_write = clock() + FIRST_S
        self._written: tuple[tuple[Any, ...], float] = ((), 0.0)
        self._said: set[str] = set()
        self._recall(folder.events)

    def look(self, roots: Collection[int], reserved: Collection[int]) -> None:
        """Takes a sample of the processes `roots` and below, if one is due.

        Adopted processes that have ended are reaped, without those in `reserved`, for which the caller waits.
        """
        now = self._clock()
        self._look_for_suspension(now)
        if now < self._next_sample:
            return
        began = time.thread_time()
        if self._gpus.look(now):
            self.peaks.take_gpus(self._gpus.gpus(now, self._tree.pids))
        self._use = self._tree.look(roots, reserved, now)
        self.peaks.memory_bytes = max(self.peaks.memory_bytes, self._tree.peak_bytes)
        self.peaks.swap_bytes = max(self.peaks.swap_bytes, self._tree.peak_swap_bytes)
        self.kills.look()
        self._next_sample = now + max(SAMPLE_S, (time.thread_time() - began) / SAMPLE_SHARE)
        if now >= self._next_write:
            self._next_write = now + WRITE_S
            self._write(now)

    def close(self) -> None:
        """Ends the process that reads the GPUs."""
        self._gpus.close()

    def as_dict(self) -> dict[str, Any]:
        """The peaks, for the result of the job."""
        return {**self.peaks.as_dict(), "suspended_s": round(self._slept_s, 1)}

    def _write(self, now: float) -> None:
        """Writes the figures, unless they are nearly those that were written last."""
        gauges = self._figures(now)
        self.peaks.take(gauges)
        if self._gpus.is_silent(now):
            text = "The driver of the GPU no longer answers. If the job does not go on either, stop it and restart the machine."
            self._say("warning", text)
        for gpu in self._gpus.lost:
            self._say(
                "error", f"The driver says that it has lost GPU {gpu}. Usually only a restart of the machine helps."
            )
        rough, before = _rough(gauges), self._written
        if rough == before[0] and now - before[1] < SAME_S:
            return
        self._written = (rough, now)
        began = self._clock()
        self._journal.write(gauges)
        took_s = self._clock() - began
        if took_s >= SLOW_WRITE_S:
            text = f"Writing to the job's folder took {took_s:.0f} seconds: its disk is slow, or was away for a while."
            self._say("warning", text)

    def _figures(self, now: float) -> Gauges:
        total, free = hardware.memory_bytes()
        cpu = self._tree.cpu_percent
        return Gauges(
            gpus=self._gpus.gpus(now, self._tree.pids),
            memory_bytes=self._use.memory_bytes,
            memory_free_bytes=free,
            memory_total_bytes=total,
            swap_bytes=self._use.swap_bytes or None,
            cpu_percent=None if cpu is None else round(cpu),
            disk_free_bytes=free_bytes(self._folder),
            suspended_s=round(self._slept_s, 1) or None,
        )

    def _recall(self, file: Path) -> None:
        """Takes the figures that an earlier supervisor of this job has written."""
        try:
            with open_own(file) as opened:
                lines = [line for line in opened.read().splitlines() if b'"gauges"' in line]
        except OSError:
            return
        for data in events.read_lines(b"\n".join(lines)):
            if isinstance(event := events.from_dict(data), Gauges):
                self.peaks.take(event)
                self._slept_s = max(self._slept_s, event.suspended_s or 0.0)

    def _look_for_suspension(self, now: float) -> None:
        slept = self._suspended()
        if (seconds := slept - self._slept_at) >= SUSPENDED_S:
            self._slept_s += seconds
            self._journal.write(Notice("info", f"The machine was suspended for {span(seconds)}. The job goes on."))
            # Before the next step is written: the time left does not count this time.
            self._journal.write(self._figures(now))
        self._slept_at = slept

    def _say(self, severity: Any, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            self._journal.write(Notice(severity, text))


def free_bytes(folder: Path) -> int | None:
    """The free disk space where a folder is; None if the disk does not tell."""
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return None


def _rough(gauges: Gauges) -> tuple[Any, ...]:
    """The figures in steps so large that noise does not change them."""
    sizes = (
        (gauges.memory_bytes, gauges.memory_total_bytes),
        (gauges.memory_free_bytes, gauges.memory_total_bytes),
        (gauges.disk_free_bytes, 50 << 30),
        *((gpu.memory_bytes, gpu.total_bytes) for gpu in gauges.gpus),
    )
    steps = tuple(round(size / (whole * _STEP)) if size is not None and whole else None for size, whole in sizes)
    rates = [(gpu.load_percent, 20) for gpu in gauges.gpus] + [(gpu.temperature_c, 4) for gpu in gauges.gpus]
    load = (gauges.cpu_percent, 50)
    return (*steps, *(None if rate is None else round(rate / step) for rate, step in [*rates, load]))

"""Reports the progress of a download, at most four times a second."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

_INTERVAL_S = 0.25
_WINDOW_S = 8.0


@dataclass(frozen=True)
class Progress:
    """The progress of a download. `total_bytes` and `eta_s` are None when the size is unknown; `doing` is one word for the phase."""

    done_bytes: int
    total_bytes: int | None
    bytes_per_s: float
    eta_s: float | None
    doing: str = "downloading"


class Meter:
    """Turns byte counts into `Progress` events, over all files of one download."""

    def __init__(self, tell: Callable[[Progress], None] | None, total_bytes: int | None) -> None:
        self.total_bytes = total_bytes
        self.before_bytes = 0
        self._tell = tell
        self._told_s = float("-inf")
        self._doing = ""
        self._seen: deque[tuple[float, int]] = deque()

    def at(self, done_bytes: int, doing: str = "downloading") -> None:
        """Reports that `done_bytes` of the current file are done. The first and the last report are never skipped."""
        if self._tell is None:
            return
        now, done = time.monotonic(), self.before_bytes + done_bytes
        if doing != self._doing or (self._seen and done < self._seen[-1][1]):
            self._seen.clear()
        self._seen.append((now, done))
        while now - self._seen[0][0] > _WINDOW_S:
            self._seen.popleft()
        if now - self._told_s < _INTERVAL_S and doing == self._doing and done != self.total_bytes:
            return
        self._told_s, self._doing = now, doing
        began_s, began = self._seen[0]
        rate = (done - began) / (now - began_s) if now > began_s else 0.0
        left = None if self.total_bytes is None else max(0, self.total_bytes - done)
        eta_s = left / rate if left is not None and rate > 0 else None
        self._tell(Progress(done, self.total_bytes, rate, eta_s, doing))

    def finish(self) -> None:
        """Reports the end, with the exact total where a site gave a rounded one."""
        if self._tell and self._seen and (done := self._seen[-1][1]) != self.total_bytes:
            self._tell(Progress(done, done, 0.0, 0.0, self._doing))

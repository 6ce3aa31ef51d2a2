"""The sign of life of a supervisor, as its readers find it: how old the shown state is, and where an adopter goes on."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from trainer_core.events import real, whole
from trainer_core.jobs.origin import boot_id, uptime_s

STALE_S = 30.0
"""A supervisor that was not heard for longer hangs: its disk does not answer, or the machine is suspended."""
GONE_S = 120.0
"""A supervisor on another machine that was not heard for longer is taken for lost."""
FINISHING = "finishing"
"""What a supervisor does that has the output checked and delivered; it must never be killed."""


@dataclass(frozen=True)
class Places:
    """How far a supervisor has come: the bytes of the log that it has handled, and the bytes of the events by then."""

    log: int = 0
    events: int = 0


@dataclass(frozen=True)
class Heard:
    """What a sign of life says. `time` is in seconds since 1970, `uptime_s` since the start of the machine."""

    time: float = 0.0
    uptime_s: float = 0.0
    boot: str = ""
    count: int = 0
    doing: str = ""
    token: str = ""
    places: Places = Places()
    peak_bytes: int = 0
    peak_gpu_bytes: int | None = None

    @classmethod
    def from_dict(cls, data: Mapping[str, Any] | None) -> Heard | None:
        """What the file says; None if there is none, or if it is damaged."""
        if data is None or (at := real(data.get("time"))) is None:
            return None
        return cls(
            time=at,
            uptime_s=real(data.get("uptime_s")) or 0.0,
            boot=str(data.get("boot", "")),
            count=whole(data.get("count")) or 0,
            doing=str(data.get("doing", "")),
            token=str(data.get("token", "")),
            places=Places(whole(data.get("log")) or 0, whole(data.get("events")) or 0),
            peak_bytes=whole(data.get("peak_memory_bytes")) or 0,
            peak_gpu_bytes=whole(data.get("peak_gpu_memory_bytes")),
        )

    @property
    def ago_s(self) -> float:
        """The seconds since then; on the same start of the same machine no change of the clock moves them."""
        if self.boot and self.boot == boot_id():
            return max(0.0, uptime_s() - self.uptime_s)
        return max(0.0, time.time() - self.time)

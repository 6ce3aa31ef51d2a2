"""How long the machine was suspended."""

from __future__ import annotations

import time

# Each pair: a clock that goes on while the machine is suspended, and one that stands still.
# Source: clock_gettime(2): CLOCK_BOOTTIME; macOS, clock_gettime(3): CLOCK_UPTIME_RAW.
_PAIRS = (("CLOCK_BOOTTIME", "CLOCK_MONOTONIC"), ("CLOCK_MONOTONIC", "CLOCK_UPTIME_RAW"))


def suspended_s() -> float:
    """The seconds for which this machine was suspended since it was started; 0 where that is not known."""
    for awake, asleep in _PAIRS:
        if hasattr(time, awake) and hasattr(time, asleep):
            return time.clock_gettime(getattr(time, awake)) - time.clock_gettime(getattr(time, asleep))
    return 0.0


def span(seconds: float) -> str:
    """A length of time in words: "40 seconds", "3 minutes", "2.5 hours"."""
    if seconds < 90:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"

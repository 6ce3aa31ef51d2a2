"""The time left of a job as people can use it: smoothed, and in words that do not change to and fro."""

from __future__ import annotations

import math

SHARE = 0.1
"""The estimate follows a change within this share of the time left."""
QUICKEST_S = 3.0
SURE = 0.75
"""The words change when the time is further than this share of their unit from what they say."""


class TimeLeft:
    """The smoothed time left of one job. It begins with the first estimate, so it is right at once after a restart."""

    def __init__(self) -> None:
        self._end_s: float | None = None
        self._at_s = 0.0
        self._shown_s: float | None = None
        self._ends_s: float | None = None

    def take(self, now_s: float, left_s: float | None, pace_s: float = 0.0, stepped_s: float | None = None) -> None:
        """Takes an estimate: `left_s` as of the time `stepped_s` of the last step, where one usually takes `pace_s`.

        `left_s` is None as long as there is no estimate.
        """
        if left_s is None:
            self._end_s = self._shown_s = self._ends_s = None
            return
        # While a step takes longer than usual, for samples perhaps, the end moves on with the clock.
        since_s = now_s if stepped_s is None else min(now_s, max(stepped_s, now_s - pace_s))
        end_s = since_s + left_s
        if self._end_s is None:
            self._end_s = end_s
        else:
            follow_s = max(QUICKEST_S, SHARE * left_s)
            self._end_s += (end_s - self._end_s) * (1 - math.exp(-max(0.0, now_s - self._at_s) / follow_s))
        self._at_s = now_s
        self._shown_s = _steady(self._shown_s, self.seconds or 0.0)
        self._ends_s = _steady_to(self._ends_s, self._end_s, 60.0 if left_s < 7200 else 300.0)

    @property
    def seconds(self) -> float | None:
        """The seconds left; None if they are not known."""
        return None if self._end_s is None else max(0.0, self._end_s - self._at_s)

    @property
    def text(self) -> str:
        """The time left in words, such as "19 min"; "" if it is not known."""
        return "" if self._shown_s is None else spoken(self._shown_s)

    @property
    def ends_s(self) -> float | None:
        """When the job ends, in seconds since 1970, to the minute; None if it is not known."""
        return self._ends_s


def spoken(seconds: float) -> str:
    """A length of time in words, as precise as an estimate is: "40 s", "19 min", "1 h 25 min"."""
    if seconds < 60:
        return f"{max(5, round(seconds / 5) * 5)} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, rest = divmod(round(minutes / 5) * 5, 60)
    return f"{hours} h {rest:02} min" if rest else f"{hours} h"


def span(seconds: float) -> str:
    """A length of time that was measured, in words: "22 s", "31 min", "1 h 02 min"."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"


def _unit(seconds: float) -> float:
    return 5.0 if seconds < 60 else 60.0 if seconds < 3600 else 300.0


def _steady(shown_s: float | None, seconds: float) -> float:
    return _steady_to(shown_s, seconds, _unit(seconds))


def _steady_to(shown: float | None, value: float, unit: float) -> float:
    """The value rounded to the unit; the value shown so far, as long as that is near enough."""
    if shown is not None and abs(shown - value) <= SURE * unit:
        return shown
    return round(value / unit) * unit

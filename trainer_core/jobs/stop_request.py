"""The request to stop a job: a file that anybody who may write the job folder can leave there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from trainer_core.errors import JobError
from trainer_core.events import real

GRACE_S = 10.0
LONGEST_GRACE_S = 3600.0

When = Literal["now", "save"]
"""When a job is to stop: now, or after it has saved its next checkpoint."""


@dataclass(frozen=True)
class StopRequest:
    """How a job is to be stopped: its program gets `grace_s` seconds to end by itself."""

    grace_s: float = GRACE_S
    after: When = "now"

    @classmethod
    def from_dict(cls, data: Mapping[str, Any] | None) -> StopRequest:
        """The request in a stop file. A file that cannot be read is a request, too: a stop with the usual grace."""
        told = data or {}
        grace_s = _grace(told.get("grace_s"))
        return cls(GRACE_S if grace_s is None else grace_s, "save" if told.get("after") == "save" else "now")

    def as_dict(self) -> dict[str, Any]:
        """The request as JSON data."""
        return {"grace_s": self.grace_s, "after": self.after}


def checked_grace(seconds: object) -> float:
    """The seconds that a program gets to end by itself.

    Raises:
        JobError: it is not a number from 0 to 3600.
    """
    if (grace_s := _grace(seconds)) is None:
        raise JobError(
            f"A job cannot get {seconds!r:.40} seconds to end.", f"Give a number from 0 to {LONGEST_GRACE_S:.0f}."
        )
    return grace_s


def _grace(seconds: object) -> float | None:
    found = real(seconds)
    return found if found is not None and 0 <= found <= LONGEST_GRACE_S else None

"""How a job ended: its state, its files, and why it failed."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, Literal

from trainer_core.jobs.state import JobState


@dataclass(frozen=True)
class Diagnosis:
    """Why a job failed: the cause in one sentence, the log line that shows it, and advice on what to do."""

    id: str
    cause: str
    line: str
    advice: str


OUT_OF_MEMORY = Diagnosis(
    "out-of-memory",
    "The system killed the engine because the machine ran out of memory.",
    "",
    "Close other programs, use a batch size of 1, cache latents, or use a machine with more memory.",
)
"""For a kill of which the system itself gives the reason."""

_KILLED = dataclasses.replace(
    OUT_OF_MEMORY, cause="The system killed the engine, most likely because the machine ran out of memory."
)
_ENDED = Diagnosis("ended-from-outside", "Another program ended the engine.", "", "Start the run again.")
_CRASHED = Diagnosis(
    "crash",
    "The engine crashed inside a library or a driver.",
    "",
    "Check the engine with: easel backends verify. An update of the graphics driver often helps.",
)
_ABORTED = Diagnosis(
    "abort",
    "A library inside the engine aborted.",
    "",
    "The last lines of the log say which one. Check the engine with: easel backends verify.",
)
_BUS_ERROR = Diagnosis(
    "bus-error",
    "The engine ran out of shared memory or disk.",
    "",
    "Free disk space, or give the container more shared memory.",
)
_SIGNALS = {
    2: dataclasses.replace(_ENDED, cause="Another program interrupted the engine."),
    6: _ABORTED,
    7: _BUS_ERROR,
    9: _KILLED,
    11: _CRASHED,
    15: _ENDED,
}
# The exit codes of Windows for the same: access violation, stack buffer overrun (which abort() raises), Ctrl+C.
# Source: Microsoft, [MS-ERREF] 2.3.1, NTSTATUS values.
_WINDOWS = {0xC0000005: 11, 0xC0000409: 6, 0xC000013A: 2}
KILLS = frozenset({2, 9, 15})
"""The signals that come from outside, whatever the program was doing."""


def by_signal(exit_code: int | None, only: Collection[int] = frozenset(_SIGNALS)) -> Diagnosis | None:
    """The diagnosis of a process that one of these signals ended; a shell reports signal n as 128 + n."""
    if exit_code is None:
        return None
    number = _WINDOWS.get(exit_code, -exit_code if exit_code < 0 else exit_code - 128)
    return _SIGNALS.get(number) if number in only else None


@dataclass(frozen=True)
class End:
    """How a job's last program ended.

    `exit_code` is None if the program could not be started, or if nobody saw its end. `how`: "by itself"; "not started":
    the last line of the log is the reason; "unseen": it is gone and its exit code is not known; "stop": somebody asked for
    it; "watch": the job's watch asked for it, for the reason in `diagnosis`, which can explain an "unseen" end, too. `by_system`: the stop was asked for by a signal,
    as when the machine shuts down, or by the notice that it will be taken away.
    """

    exit_code: int | None
    how: Literal["by itself", "not started", "unseen", "stop", "watch"] = "by itself"
    diagnosis: Diagnosis | None = None
    by_system: bool = False


@dataclass
class Outcome:
    """How a job ended, for `result.json`. `step` is the name of the step that failed, if the job had several."""

    state: JobState
    exit_code: int | None = None
    outputs: list[str] = field(default_factory=list)
    diagnosis: Diagnosis | None = None
    notices: list[str] = field(default_factory=list)
    step: str = ""

    def as_dict(self) -> dict[str, Any]:
        """The outcome as JSON data, with the name of the state."""
        return {**dataclasses.asdict(self), "state": self.state.name}

"""What anybody can read of a job: its state, events, log and result. Its whole state is in its folder."""

from __future__ import annotations

import contextlib
import shutil
import threading
from typing import Any

from trainer_core import events
from trainer_core.events import Event, real, whole
from trainer_core.jobs import adoption
from trainer_core.jobs.folder import (
    HEARTBEAT,
    JUDGES,
    PROGRAM,
    RESERVE_BYTES,
    RESULT,
    SPEC,
    STOP,
    SUPERVISOR,
    JobFolder,
    damage_of,
    json_object,
)
from trainer_core.jobs.heard import GONE_S, STALE_S, Heard
from trainer_core.jobs.hosts.host import Host
from trainer_core.jobs.hosts.local import LOCAL
from trainer_core.jobs.journal import last_state
from trainer_core.jobs.origin import Origin
from trainer_core.jobs.outcome import Diagnosis
from trainer_core.jobs.queueing import entries
from trainer_core.jobs.result import readable
from trainer_core.jobs.spec import Spec
from trainer_core.jobs.state import FINAL_STATES, JobState
from trainer_core.jobs.stop_request import StopRequest
from trainer_core.jobs.summary import Summary
from trainer_core.jobs.tail import LogView

_TAIL_BYTES = 64 << 10
_LIVE = (JobState.RUNNING, JobState.STOPPING, JobState.ELSEWHERE)


def is_judged(job: JobReader) -> bool:
    """Whether a new supervisor finds out what became of a job of which no program runs any more."""
    record, program = (json_object(job.host.read(job.folder.path / name)[0]) for name in (SUPERVISOR, PROGRAM))
    ended = (record or {}).get(JUDGES)
    # It may have started the next step meanwhile.
    return ended is not None and ended == program


class JobReader:
    """Reads a job's folder. Anybody may have written its files: nothing in them raises anything but a JobError."""

    def __init__(self, folder: JobFolder, host: Host = LOCAL) -> None:
        self._folder, self.host = folder, host
        self._summary = Summary()
        self._offset = 0
        self._summary_lock = threading.Lock()

    @property
    def folder(self) -> JobFolder:
        """The folder of the job, which contains its whole state."""
        return self._folder

    @property
    def spec(self) -> Spec:
        """What the job does.

        Raises:
            JobError: its spec.json is damaged.
        """
        return self.folder.spec

    @property
    def damage(self) -> str:
        """Which files of its folder are missing or damaged, as a sentence; "" if none is."""
        return damage_of(self.folder)

    @property
    def name(self) -> str:
        """The name of the job: the name of its folder."""
        return self.folder.path.name

    @property
    def state(self) -> JobState:
        """The current state of the job, derived from its files and processes."""
        if (ended := self._ended_state()) is not None:
            return ended
        if not self._exists(SUPERVISOR):
            return JobState.QUEUED if entries.waits(self.folder.path) else JobState.PREPARED
        path = self.folder.path
        if self.host.alive(path, "supervisor"):
            request = self._stop_request()
            ends = (request is not None and request.after == "now") or is_judged(self)
            return JobState.STOPPING if ends else JobState.RUNNING
        if self.host.whereabouts(path) == "elsewhere" and (self.heard_s_ago or 0.0) <= GONE_S and self._has_heard():
            return JobState.ELSEWHERE
        # It may have ended normally between the two checks, or in a folder where its result could not be written.
        return self._ended_state() or self._told_state() or JobState.LOST

    def _stop_request(self) -> StopRequest | None:
        content = self.host.read(self.folder.path / STOP)[0]
        return StopRequest.from_dict(json_object(content)) if content else None

    @property
    def is_live(self) -> bool:
        """Whether the job runs now, here or on another machine."""
        return self.state in _LIVE

    @property
    def heard_s_ago(self) -> float | None:
        """The seconds since the supervisor's last sign of life; None if it has given none."""
        heard = self._heard()
        return None if heard is None else heard.ago_s

    @property
    def is_stale(self) -> bool:
        """Whether the job is live, but its supervisor was not heard for half a minute: what is shown of it is old.

        Its disk does not answer, or the machine was suspended.
        """
        ago_s = self.heard_s_ago
        return ago_s is not None and ago_s > STALE_S and self.is_live

    def _heard(self) -> Heard | None:
        return Heard.from_dict(self._read(HEARTBEAT))

    def _has_heard(self) -> bool:
        return self._heard() is not None

    def _ended_state(self) -> JobState | None:
        result = self.result
        return JobState.__members__.get(str(result.get("state"))) if result else None

    def _told_state(self) -> JobState | None:
        """The final state in the last events."""
        lines = self.host.read(self.folder.events, -_TAIL_BYTES, _TAIL_BYTES)[0]
        told = JobState.__members__.get(last_state(events.read_lines(lines)))
        return told if told in FINAL_STATES else None

    def _exists(self, name: str) -> bool:
        return bool(self.host.read(self.folder.path / name, 0, 1)[0])

    def _read(self, name: str) -> dict[str, Any] | None:
        return json_object(self.host.read(self.folder.path / name)[0])

    def events(self, since: int = 0) -> tuple[list[Event], int]:
        """The events after the byte offset `since`, and the offset for the next call.

        An incomplete last line is left for the next call.
        """
        found, offset = self._timed_events(since)
        return [event for event, _ in found], offset

    def _timed_events(self, since: int) -> tuple[list[tuple[Event, float | None]], int]:
        """As `events`, each event with its time in seconds since 1970, None if it has none."""
        added, _ = self.host.read(self.folder.events, since)
        complete, end, _ = added.rpartition(b"\n")
        read = ((events.from_dict(line), line.get("time")) for line in events.read_lines(complete))
        found = [(event, real(at)) for event, at in read if event is not None]
        return found, since + len(complete) + len(end)

    @property
    def log(self) -> LogView:
        """The end of the log as a terminal would show it; a separate view for each call."""
        return LogView(self.folder.log, self.host)

    @property
    def summary(self) -> Summary:
        """The summary of the events. Reads only new events; returns the same object each time."""
        with self._summary_lock:
            if self._offset == 0:
                # Until the program reports the total number of steps, the number from the spec is used.
                self._summary = Summary(length=max(0, whole((self._read(SPEC) or {}).get("total_steps")) or 0))
            while True:
                found, offset = self._timed_events(self._offset)
                if offset == self._offset:
                    return self._summary
                self._offset = offset
                self._summary.take((event for event, _ in found), (time_s for _, time_s in found))

    @property
    def figures(self) -> dict[str, Any]:
        """The figures of the summary, without reading all events of a job whose result has them."""
        recorded = (self.result or {}).get("summary")
        return recorded if recorded is not None else self.summary.figures()

    @property
    def result(self) -> dict[str, Any] | None:
        """How the job ended; None if it has not ended.

        It always has `state` and `outputs` (the files that were created). A result from a supervisor also has
        `exit_code`, `diagnosis`, `notices`, `step` (the name of the step that failed, if there are several), `started`
        and `ended` (seconds since 1970), `seconds`, `steps`, `peak_memory_bytes`, `peak_gpu_memory_bytes` (None without an
        NVIDIA GPU), `summary` (see `figures`), and the entries that the kind of job adds.
        """
        return readable(self._read(RESULT))

    @property
    def diagnosis(self) -> Diagnosis | None:
        """Why the job failed or was lost; None otherwise."""
        if found := (self.result or {}).get("diagnosis"):
            return Diagnosis(**{name: str(found.get(name, "")) for name in ("id", "cause", "line", "advice")})
        if self.state is not JobState.LOST:
            return None
        return self._lost()

    def saves(self) -> bool | None:
        """Whether the job will save checkpoints on its way; None if that is not known."""
        return False

    again = adoption.AGAIN
    """The advice how to start the job again."""

    def _lost(self) -> Diagnosis:
        """The diagnosis of a job without a supervisor and a result."""
        path = self.folder.path
        where, origin = self.host.whereabouts(path), Origin.from_dict(self._read(SUPERVISOR))
        found = adoption.diagnosis(where, origin, self._heard(), self.again)
        if where != "here":
            return found
        if self.host.alive(path, "program"):
            advice = f"Its program still runs without it. `easel jobs list` starts a new supervisor for it. To end it: easel jobs stop {self.name}"
            return Diagnosis("lost", "The supervisor of this job has ended unexpectedly.", "", advice)
        with contextlib.suppress(OSError):
            if shutil.disk_usage(path).free < RESERVE_BYTES:
                advice = f"The disk is full. Delete files. {self.again}"
                return Diagnosis("lost", found.cause, "", advice)
        return found

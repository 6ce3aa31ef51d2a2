"""A handle to start, watch and stop a job. Any process can attach to a job: its whole state is in its folder."""

from __future__ import annotations

import contextlib
import math
import shutil
import signal
import threading
import time
from pathlib import Path
from typing import Any, Self

from trainer_core import events
from trainer_core.errors import JobError
from trainer_core.events import Event
from trainer_core.jobs.folder import RESERVE_BYTES, RESULT, STOP, SUPERVISOR, JobFolder, json_object, json_text
from trainer_core.jobs.hosts.host import Host
from trainer_core.jobs.hosts.local import LOCAL
from trainer_core.jobs.outcome import Diagnosis
from trainer_core.jobs.spec import Spec
from trainer_core.jobs.state import FINAL_STATES, JobState
from trainer_core.jobs.summary import Summary
from trainer_core.jobs.tail import LogView

_POLL_S = 0.1
_KILL_S = 5.0


class Job:
    """A handle for a job's folder. Several processes may have one for the same job; none of them owns it."""

    def __init__(self, folder: JobFolder, host: Host = LOCAL) -> None:
        self._folder, self.host = folder, host
        self._summary = Summary()
        self._offset = 0
        self._summary_lock = threading.Lock()

    @classmethod
    def attach(cls, path: Path) -> Self:
        """The job in a folder, whichever process started it.

        Raises:
            JobError: it is not a job folder, or it is from a newer Easel.
        """
        return cls(JobFolder.open(path))

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
    def name(self) -> str:
        """The name of the job: the name of its folder."""
        return self.folder.path.name

    def launch(self) -> None:
        """Starts the supervisor of a prepared job.

        Raises:
            JobError: it was already launched, or the supervisor cannot be started.
        """
        if self.state is not JobState.PREPARED:
            raise JobError(f"The job in {self.folder.path} was already started.", "Start a new one.")
        try:
            self.host.start(self.folder.path)
        except KeyboardInterrupt:
            # If the user interrupts before the job is known to have started, it must not continue.
            self._request_stop(0.0)
            raise

    @property
    def state(self) -> JobState:
        """The current state of the job, derived from its files and processes."""
        if (ended := self._ended_state()) is not None:
            return ended
        if self._read(SUPERVISOR) is None:
            return JobState.PREPARED
        if self.host.alive(self.folder.path, "supervisor"):
            return JobState.RUNNING if self._read(STOP) is None else JobState.STOPPING
        # It may have ended normally between the two checks.
        return self._ended_state() or JobState.LOST

    @property
    def is_live(self) -> bool:
        """Whether the job runs now."""
        return self.state in (JobState.RUNNING, JobState.STOPPING)

    def _ended_state(self) -> JobState | None:
        result = self.result
        return JobState.__members__.get(str(result.get("state"))) if result else None

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
        whole, end, _ = added.rpartition(b"\n")
        read = ((events.from_dict(line), line.get("time")) for line in events.read_lines(whole))
        found = [(event, _time(at)) for event, at in read if event is not None]
        return found, since + len(whole) + len(end)

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
                self._summary = Summary(length=_int_or_zero((self._read("spec.json") or {}).get("total_steps")))
            while True:
                found, offset = self._timed_events(self._offset)
                if offset == self._offset:
                    return self._summary
                self._offset = offset
                self._summary.take((event for event, _ in found), (time_s for _, time_s in found))

    @property
    def result(self) -> dict[str, Any] | None:
        """How the job ended; None if it has not ended.

        It always has `state` and `outputs` (the files that were created). A result from a supervisor also has
        `exit_code`, `diagnosis`, `notices`, `step` (the name of the step that failed, if there are several), `started`
        and `ended` (seconds since 1970), `seconds`, `steps`, the peaks of
        `trainer_core.jobs.gauges.peaks` (`peak_gpu_memory_bytes` is None without a GPU whose driver tells it), `suspended_s`,
        and the entries that the kind of job adds.
        """
        return self._read(RESULT)

    @property
    def diagnosis(self) -> Diagnosis | None:
        """Why the job failed or was lost; None otherwise."""
        if found := (self.result or {}).get("diagnosis"):
            return Diagnosis(**{name: str(found.get(name, "")) for name in ("id", "cause", "line", "advice")})
        if self.state is not JobState.LOST:
            return None
        return self._lost(self.host.alive(self.folder.path, "program"))

    def _lost(self, goes_on: bool) -> Diagnosis:
        """The diagnosis of a job without a supervisor and a result; `goes_on`: whether its program still runs."""
        if goes_on:
            advice = "Its program still runs without it. Stop the job, then start it again."
            return Diagnosis("lost", "The supervisor of this job has ended unexpectedly.", "", advice)
        advice = "The machine may have been restarted, or ran out of memory. Start the job again."
        with contextlib.suppress(OSError):
            if shutil.disk_usage(self.folder.path).free < RESERVE_BYTES:
                advice = "The disk is full. Delete files, then start the job again."
        return Diagnosis("lost", "This job ended without a result: its supervisor has ended unexpectedly.", "", advice)

    def stop(self, grace_s: float = 10.0, wait: bool = True) -> JobState:
        """Ends the job and all its processes, and returns its state; does nothing if the job has ended.

        Its program gets `grace_s` seconds to end on its own. Without `wait` the stop is only requested.
        """
        if self.state not in FINAL_STATES:
            self._request_stop(grace_s)
        # A supervisor that is just starting is either detected here, or finds the request before it starts a program.
        if self.state is JobState.PREPARED:
            self._put(RESULT, {"state": JobState.CANCELLED.name, "outputs": [], "seconds": 0.0})
            return self.state
        if self.state not in FINAL_STATES:
            if not wait:
                return self.state
            # Wait for the end of the supervisor, not only for the result: it is a process of the job, too.
            self._wait_while("supervisor", grace_s + 20.0)
        if self._ended_state() is None:
            self._end_without_supervisor(grace_s)
        return self.state

    def wait(self, timeout_s: float | None = None) -> JobState:
        """The final state of the job, or its state after `timeout_s` seconds."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while (state := self.state) not in FINAL_STATES and (deadline is None or time.monotonic() < deadline):
            time.sleep(_POLL_S)
        return state

    def _put(self, name: str, data: dict[str, Any]) -> None:
        self.host.put({self.folder.path / name: json_text(data)})

    def _request_stop(self, grace_s: float) -> None:
        """Writes the file that requests a stop; if that fails (the disk is full), sends a signal instead."""
        try:
            self._put(STOP, {"grace_s": grace_s})
        except OSError:
            self.host.signal(self.folder.path, "supervisor", signal.SIGTERM)

    def _wait_while(self, which: Any, limit_s: float) -> None:
        deadline = time.monotonic() + limit_s
        while self.host.alive(self.folder.path, which) and time.monotonic() < deadline:
            time.sleep(_POLL_S)

    def _end_without_supervisor(self, grace_s: float) -> None:
        """Ends the processes of a job without a supervisor, and writes a result if there were any."""
        path, host = self.folder.path, self.host
        host.signal(path, "supervisor", signal.SIGKILL)
        was_alive = host.alive(path, "all")
        if host.alive(path, "program"):
            host.signal(path, "program", signal.Signals[self.folder.spec.stop_signal])
            self._wait_while("program", grace_s)
        # A killed process may have started another one just before.
        for _ in range(3):
            if not host.alive(path, "all"):
                break
            host.signal(path, "all", signal.SIGKILL)
            self._wait_while("all", _KILL_S)
        if was_alive:
            ended = {"exit_code": None, "outputs": [], "diagnosis": None, "ended": time.time()}
            self._put(RESULT, {"state": JobState.CANCELLED.name, **ended})


def list_jobs(*folders: Path) -> list[Job]:
    """The jobs in these folders, newest first. Other folders, and jobs from a newer Easel, are skipped."""
    found = []
    paths = (path for folder in folders if folder.is_dir() for path in folder.iterdir())
    for path in sorted(paths, key=lambda path: path.name, reverse=True):
        try:
            found.append(Job.attach(path))
        except JobError:
            continue
    return found


def _int_or_zero(value: Any) -> int:
    return value if isinstance(value, int) else 0


def _time(value: object) -> float | None:
    """The time in a line of an events file; None if it is damaged."""
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    return None

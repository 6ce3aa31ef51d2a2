"""A handle to start, watch and stop a job. Any process can attach to a job: its whole state is in its folder."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self, TypeVar

from trainer_core.errors import JobError
from trainer_core.events import real
from trainer_core.jobs import stopping
from trainer_core.jobs.folder import SUPERVISOR, JobFolder, entries_of
from trainer_core.jobs.reading import JobReader
from trainer_core.jobs.state import FINAL_STATES, JobState
from trainer_core.jobs.stop_request import GRACE_S, When

_POLL_S = 0.1
AnyJob = TypeVar("AnyJob", bound="Job")


class Job(JobReader):
    """A handle for a job's folder. Several processes may have one for the same job; none of them owns it."""

    @classmethod
    def attach(cls, path: Path) -> Self:
        """The job in a folder, whichever process started it.

        Raises:
            JobError: it is not a job folder, or it is from a newer Easel.
        """
        return cls(JobFolder.open(path))

    def launch(self) -> None:
        """Starts the supervisor of a prepared job.

        Raises:
            JobError: it was already launched, its folder is damaged, or the supervisor cannot be started.
        """
        if self.state is not JobState.PREPARED:
            raise JobError(f"The job in {self.folder.path} was already started.", "Start a new one.")
        if damage := self.damage:
            raise JobError(f"The job in {self.folder.path} cannot be started. {damage}", "Start a new one.")
        try:
            self.host.start(self.folder.path)
        except KeyboardInterrupt:
            # If the user interrupts before the job is known to have started, it must not continue.
            stopping.request(self, 0.0)
            raise

    def stop(self, grace_s: float = GRACE_S, wait: bool = True, after: When = "now") -> JobState:
        """Ends the job and all its processes, and returns its state; does nothing if the job has ended.

        Its program gets `grace_s` seconds to end on its own. Without `wait` the stop is only requested. With `after` "save"
        the job goes on until it has saved its next checkpoint, and this returns at once; a later stop without it counts at
        once. A job that is checking or delivering its output is left to finish. The other machine stops a job that runs there.

        Raises:
            JobError: the grace is not a number from 0 to 3600 seconds, or the job saves no checkpoint any more.
        """
        return stopping.stop(self, grace_s, wait, after)

    def wait(self, timeout_s: float | None = None) -> JobState:
        """The final state of the job, or its state after `timeout_s` seconds."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while (state := self.state) not in FINAL_STATES and (deadline is None or time.monotonic() < deadline):
            time.sleep(_POLL_S)
        return state


def list_jobs(*folders: Path) -> list[Job]:
    """The jobs in these folders, the one that was started last first. Other folders, and jobs from a newer Easel, are skipped."""
    return attached(Job, *folders)


def attached(kind: type[AnyJob], *folders: Path) -> list[AnyJob]:
    """As `list_jobs`, with handles of this class."""
    found = []
    for folder in folders:
        for path in entries_of(folder):
            try:
                found.append(kind.attach(path))
            except JobError:
                continue
    return newest_first(found)


def newest_first(jobs: Iterable[AnyJob]) -> list[AnyJob]:
    """The jobs by the time at which they were started, or else created; those of an older Easel by the time in their name."""
    return sorted(jobs, key=lambda job: (since_s(job), job.name), reverse=True)


def since_s(job: Job) -> float:
    """When a job was started, or else created, in seconds since 1970; 0 if that is not known."""
    began: Any = (job.folder.read(SUPERVISOR) or {}).get("began")
    recorded = real(began.get("time")) if isinstance(began, dict) else None
    found = recorded or real(job.folder.versions.get("created")) or _named(job.name)
    return found or 0.0


def _named(name: str) -> float | None:
    """The time in the name of a folder, in seconds since 1970."""
    try:
        return time.mktime(time.strptime(name[:15], "%Y%m%d-%H%M%S"))
    except (ValueError, OverflowError):
        return None

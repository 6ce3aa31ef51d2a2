"""What a new supervisor takes over from one that has ended without a result, and when it may.

The processes of the job go on without their supervisor. What it knew is in the job folder: its events, its last sign of
life, and the records of the program that runs or has ended.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from trainer_core import events
from trainer_core.errors import JobError
from trainer_core.events import real
from trainer_core.files import open_own
from trainer_core.jobs import seal
from trainer_core.jobs.folder import HEARTBEAT, PROGRAM, RESULT, SUPERVISOR, WRAPPER, JobFolder
from trainer_core.jobs.heard import GONE_S, Heard
from trainer_core.jobs.origin import Origin, Whereabouts, boot_id, uptime_s
from trainer_core.jobs.outcome import Diagnosis
from trainer_core.jobs.processes import Identity

AGAIN = "Start the job again."
NOT_STARTED = (
    "Easel cannot show that it started this job itself, so it judged the files and started no command of the folder."
)


@dataclass(frozen=True)
class Began:
    """When a job was started: in seconds since 1970, and since a start of the machine, which no change of the clock moves."""

    time: float
    uptime_s: float = 0.0
    boot: str = ""

    @classmethod
    def now(cls) -> Began:
        """The start of a job that begins now."""
        return cls(time.time(), uptime_s(), boot_id())

    @classmethod
    def from_dict(cls, data: Mapping[str, Any] | None) -> Began | None:
        """The start in the record of a supervisor; None for that of an older Easel."""
        table = (data or {}).get("began")
        if not isinstance(table, dict) or (at := real(table.get("time"))) is None:
            return None
        return cls(at, real(table.get("uptime_s")) or 0.0, str(table.get("boot", "")))

    def as_dict(self) -> dict[str, Any]:
        """The start as JSON data."""
        return {"time": self.time, "uptime_s": self.uptime_s, "boot": self.boot}

    @property
    def seconds(self) -> float:
        """The seconds since then."""
        if self.boot and self.boot == boot_id():
            return uptime_s() - self.uptime_s
        return max(0.0, time.time() - self.time)


@dataclass(frozen=True)
class Adopted:
    """What is known of the supervisor that ran the job before; `diagnosis` is for a job of which nothing is left.

    `follows`: the processes named in the folder are those of this job, on this machine. `starts`: this Easel started the job
    with exactly these commands, so it may start those that are left. Otherwise only the files are judged. `launched`: as
    `starts`, also if it was on another machine with the same home folder, so what the job saved can be trusted.
    """

    heard: Heard
    began: Began
    diagnosis: Diagnosis
    follows: bool = True
    starts: bool = True
    launched: bool = True


def of(folder: JobFolder, force: bool = False) -> Adopted:
    """What a new supervisor of this job takes over.

    Raises:
        JobError: the job has ended, was not started, has a supervisor, belongs to another machine or folder, or its
            spec.json is damaged: a supervisor could neither follow its program nor judge what it made.
    """
    record = folder.read(SUPERVISOR)
    check(folder, record, force)
    _ = folder.spec
    heard = Heard.from_dict(folder.read(HEARTBEAT))
    began = Began.from_dict(record) or Began(_first_event_s(folder) or time.time())
    origin = Origin.from_dict(record)
    where = origin.whereabouts(folder.path) if origin else "copy"
    follows = where == "here"
    # A folder that somebody else has written could name any command, and any process of the user.
    starts = follows and seal.fits_spec(folder.path, record)
    launched = where != "copy" and seal.was_launched(folder.path, record)
    # The processes on another machine, or of the original, are out of reach: for this supervisor they are gone.
    return Adopted(heard or Heard(), began, diagnosis("here", origin, heard), follows, starts, launched)


def check(folder: JobFolder, record: Mapping[str, Any] | None, force: bool = False) -> None:
    """Checks that a job may get a new supervisor; `record` is that of the last one.

    Raises:
        JobError: it may not.
    """
    if folder.read(RESULT) is not None:
        raise JobError(f"The job in {folder.path} has ended.", "It has a result; there is nothing to adopt.")
    if record is None:
        raise JobError(f"The job in {folder.path} was not started.")
    origin, supervisor = Origin.from_dict(record), Identity.from_dict(record)
    where = origin.whereabouts(folder.path) if origin else "here"
    if where == "elsewhere":
        _check_elsewhere(folder, origin, force)
    elif where == "copy" and origin is not None:
        alive = any(each is not None and each.alive for each in _identities(folder))
        if alive and not origin.is_past:
            raise JobError(
                f"{folder.path} is a copy of {origin.path}, whose processes still run.", "Adopt or stop that one."
            )
    elif supervisor is not None and supervisor.alive and not (origin and origin.is_past):
        raise JobError(f"The job in {folder.path} has a supervisor, which runs.")
    elif origin is None and any(each is not None and each.alive for each in _identities(folder)):
        # Of an older Easel, or of somebody else: a process is not followed only because a folder names it.
        raise JobError(
            f"A program that {folder.path} names still runs.", "Stop the job, or wait until the program ends."
        )


def _check_elsewhere(folder: JobFolder, origin: Origin | None, force: bool) -> None:
    heard, machine = Heard.from_dict(folder.read(HEARTBEAT)), origin.host if origin else "another machine"
    if heard is not None and heard.ago_s <= GONE_S:
        raise JobError(
            f"The job in {folder.path} runs on the machine {machine}, which was heard {heard.ago_s:.0f} seconds ago.",
            "Stop it, or wait for its end.",
        )
    if not force:
        raise JobError(
            f"The job in {folder.path} was started on the machine {machine}.",
            "If that machine is gone, adopt the job with --force. If it is not, the job would run twice.",
        )


def _identities(folder: JobFolder) -> list[Identity | None]:
    return [Identity.from_dict(folder.read(name)) for name in (SUPERVISOR, WRAPPER, PROGRAM)]


def diagnosis(where: Whereabouts, origin: Origin | None, heard: Heard | None, again: str = AGAIN) -> Diagnosis:
    """Why a job is lost: what is known of the end of its supervisor; `again` says how to start it again."""
    at = time.strftime("%Y-%m-%d %H:%M", time.localtime(heard.time)) if heard else ""
    last = f", at about {at}" if at else ""
    if where == "copy" and origin is not None:
        cause = f"This folder is a copy of {origin.path}, made before that job had a result."
        return Diagnosis("copy", cause, "", "Look at the original; its processes do not belong to this folder.")
    if where == "elsewhere" and origin is not None:
        cause = f"This job was started on the machine {origin.host}, which has not been heard{f' since {at}' if at else ''}."
        advice = "If that machine is gone, `easel runs adopt <name> --force` has the files judged that are here."
        return Diagnosis("elsewhere", cause, "", advice)
    if origin is not None and origin.is_past:
        return Diagnosis("restarted", f"The machine was restarted while this job ran{last}.", "", again)
    cause = f"The supervisor of this job ended unexpectedly{last}."
    return Diagnosis("lost", cause, "", f"The machine may have been restarted, or ran out of memory. {again}")


def _first_event_s(folder: JobFolder) -> float | None:
    """The time of the first event, in seconds since 1970."""
    try:
        with open_own(folder.events) as file:
            lines = events.read_lines(file.read(4096))
    except OSError:
        return None
    return next((at for line in lines if (at := real(line.get("time"))) is not None), None)

"""The supervisor process of one job: `python -m trainer_core.jobs.supervisor <job folder> [--adopt [--force]]`.

It detaches from the process that started it and runs the job's commands one after another, with their output in a file.
The job's kind reads this output and the files that the commands write, and writes events. When the last command has
ended, the supervisor writes `result.json` and ends. A file in the job folder, or a signal that asks the supervisor to end,
requests a stop. With `--adopt` it goes on with a job whose supervisor has ended without a result; with `--force` also if
that was on another machine.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainer_core.errors import EaselError, JobError
from trainer_core.jobs import adoption, followers, lock, processes, seal
from trainer_core.jobs.folder import JUDGES, PROGRAM, RESERVE_BYTES, RESULT, SUPERVISOR, JobFolder
from trainer_core.jobs.gauges.peaks import Peaks
from trainer_core.jobs.hosts.local import ERRNO, LOCAL, REFUSED
from trainer_core.jobs.journal import Journal
from trainer_core.jobs.moved import Place
from trainer_core.jobs.origin import Origin
from trainer_core.jobs.outcome import Diagnosis, Outcome
from trainer_core.jobs.processes import Identity
from trainer_core.jobs.state import JobState
from trainer_core.jobs.supervision import Supervision, TakenOverError

_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)


def main(arguments: list[str]) -> int:
    """Detaches from the starting process and supervises the job; returns 0 if the supervisor could start."""
    try:
        return _start(JobFolder.open(Path(arguments[0])), "--adopt" in arguments, "--force" in arguments)
    except EaselError as error:
        _say(str(error))
        return REFUSED
    except OSError as error:
        _say(f"The supervisor cannot start: {error}")
        return ERRNO + (error.errno or 0)


def _say(text: str) -> None:
    """Prints to runner.log, which may be on a full disk."""
    with contextlib.suppress(OSError):
        print(text, file=sys.stderr, flush=True)


def _start(folder: JobFolder, adopts: bool, force: bool) -> int:
    """Checks that the job has no supervisor, and starts one."""
    # The lock is released when this process and the one that it forks have ended.
    held = lock.acquire(folder.path)
    before = adoption.of(folder, force) if adopts else None
    if before is None and folder.read(SUPERVISOR) is not None:
        raise JobError("This job was already started.")
    # What is left of the job is only its files, if no program of it runs.
    ended = None if before is None or LOCAL.alive(folder.path, "program") else folder.read(PROGRAM)
    _reserve(folder, is_needed=before is None)
    # Before the fork: the caller waits no longer than for one process, and an error is its own.
    token, began = os.urandom(8).hex(), before.began if before else adoption.Began.now()
    reader, writer = os.pipe()
    if (child := os.fork()) > 0:
        # The starting process waits for the end of this process, and then reads this file.
        identity = Identity.of(child) or Identity(child, "")
        origin = Origin.of(folder.path)
        about = {**identity.as_dict(), "token": token, "origin": origin.as_dict(), "began": began.as_dict()}
        if before is None or before.starts:
            about["seal"] = seal.of_spec(folder.path)
        elif before.launched:
            about[seal.LAUNCHED] = seal.of_spec(folder.path)
        if ended is not None:
            about[JUDGES] = ended
        folder.write(SUPERVISOR, about)
        os.write(writer, b"1")
        return 0
    os.close(writer)
    if not os.read(reader, 1):
        # The file was not written, so nobody could find and stop this process: it must not start anything.
        return 1
    _detach()
    place = Place(folder.path)
    with contextlib.suppress(TakenOverError):
        called = followers.names()
        journal, result = _supervised(folder, token, began, before, place)
        _write_result(folder, result)
        # Without the reserve a full disk has space for the last events.
        journal.close()
        # A follower may start the job again with other settings, which needs the same trust.
        if before is None or before.starts:
            followers.notify(place.now or folder.path, called)
    place.close()
    if held is not None:
        os.close(held)
    return 0


def _reserve(folder: JobFolder, is_needed: bool) -> None:
    """Takes the space for the result; without it a job that starts now would be lost on a full disk.

    Raises:
        OSError: there is no space, and it `is_needed`.
    """
    try:
        if not folder.reserve.exists():
            folder.reserve.write_bytes(os.urandom(RESERVE_BYTES))
    except OSError:
        with contextlib.suppress(OSError):
            folder.reserve.unlink(missing_ok=True)
        if is_needed:
            raise


def _write_result(folder: JobFolder, result: Mapping[str, Any]) -> None:
    """Writes the result; if the disk is full, uses the space that was reserved for it."""
    try:
        folder.write(RESULT, result)
    except OSError:
        with contextlib.suppress(OSError):
            folder.reserve.unlink(missing_ok=True)
        try:
            folder.write(RESULT, result)
        except OSError as error:
            # The last event says how the job ended.
            _say(f"{folder.path / RESULT} cannot be written: {error.strerror or error}")
    with contextlib.suppress(OSError):
        folder.reserve.unlink(missing_ok=True)


def _detach() -> None:
    """Starts a session of its own, sets the signals that programs should inherit, and adopts orphaned descendants."""
    os.setsid()
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    processes.adopt_orphans()


def _supervised(
    folder: JobFolder, token: str, began: adoption.Began, before: adoption.Adopted | None, place: Place
) -> tuple[Journal, dict[str, Any]]:
    """Runs the job; returns its journal and its result, even if the supervision fails.

    Raises:
        TakenOverError: another supervisor has the job now, or the folder was moved out of reach.
    """
    requested: list[int] = []
    for number in _STOP_SIGNALS:
        # A program does not inherit a handler, so that it can be interrupted.
        signal.signal(number, lambda number, _: requested.append(number))
    supervision = None
    try:
        supervision = Supervision(folder, token, before, place)
        for number in _STOP_SIGNALS:
            signal.signal(number, lambda *_: setattr(supervision, "got_signal", True))
        supervision.got_signal = bool(requested)
        ended = supervision.run()
    except TakenOverError:
        raise
    except EaselError as error:
        ended = Outcome(JobState.FAILED, diagnosis=Diagnosis("refused", error.message, "", error.hint))
    except Exception as error:  # noqa: BLE001 - a job without a result would be LOST, without a reason
        # This goes to runner.log.
        traceback.print_exc()
        cause = f"Easel's supervisor failed: {type(error).__name__}: {error}"
        ended = Outcome(
            JobState.FAILED,
            diagnosis=Diagnosis("supervisor", cause, "", "This is a bug in Easel; see runner.log in the job folder."),
        )
    place.keep()
    if place.is_lost:
        raise TakenOverError("The folder of this job was moved.")
    processes.kill(processes.descendants())
    if before is not None and ended.state is JobState.LOST:
        ended.diagnosis = ended.diagnosis or before.diagnosis
    journal = supervision.journal if supervision else Journal(folder.events)
    journal.close_with(ended)
    peaks = supervision.gauges.as_dict() if supervision else Peaks().as_dict()
    if supervision is not None:
        supervision.heart.close()
    figures = {"started": began.time, "ended": time.time(), "seconds": began.seconds, "steps": journal.steps}
    return journal, {**ended.as_dict(), **figures, **peaks, "summary": journal.summary.figures()}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

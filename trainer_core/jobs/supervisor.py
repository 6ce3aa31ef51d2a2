"""The supervisor process of one job: `python -m trainer_core.jobs.supervisor <job folder>`.

It detaches from the process that started it and runs the job's commands one after another, with their output in a file.
The job's kind reads this output and the files that the commands write, and writes events. When the last command has
ended, the supervisor writes `result.json` and ends. A file in the job folder, or SIGTERM to the supervisor, requests a
stop.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import secrets
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from trainer_core.child import child_environment
from trainer_core.errors import EaselError
from trainer_core.events import Phase, StateChange
from trainer_core.jobs import kind as kinds
from trainer_core.jobs import processes, queue
from trainer_core.jobs.folder import PROGRAM, RESERVE_BYTES, RESULT, STOP, SUPERVISOR, JobFolder
from trainer_core.jobs.gauges.peaks import Peaks
from trainer_core.jobs.gauges.watch import GaugeWatch
from trainer_core.jobs.journal import Journal
from trainer_core.jobs.outcome import OUT_OF_MEMORY, Diagnosis, End, Outcome
from trainer_core.jobs.processes import Identity
from trainer_core.jobs.spec import Step
from trainer_core.jobs.state import JobState

POLL_S = 0.25
GRACE_S = 10.0


class Supervision:
    """Runs the commands of one job, from the start of the first to the end of the last."""

    def __init__(self, folder: JobFolder) -> None:
        self.folder = folder
        self.spec = folder.spec
        self.kind = kinds.get(self.spec.kind)
        self.journal = Journal(folder.events)
        self.watch = self.kind.watch(folder, self.journal)
        self.gauges = GaugeWatch(folder, self.journal, self.spec.steps[-1].environment)
        self.got_sigterm = False

    @property
    def stop_requested(self) -> bool:
        """Whether a stop was requested."""
        return self.got_sigterm or self.folder.stop.exists()

    def run(self) -> Outcome:
        """Runs the commands until one fails or a stop is requested; returns how the job ended."""
        if self.stop_requested:
            return Outcome(JobState.CANCELLED)
        self.journal.write(StateChange(JobState.RUNNING.name))
        end, step, several = End(None, "stop"), self.spec.steps[0], len(self.spec.steps) > 1
        for number, step in enumerate(self.spec.steps, 1):
            if self.stop_requested:
                end = End(None, "stop")
                break
            if several:
                self.journal.write(Phase(step.name, part=number, parts=len(self.spec.steps)))
            end = self._run_step(step)
            if end.how != "by itself" or end.exit_code != 0:
                break
        self.watch.finish()
        ended = self.watch.outcome(end)
        if ended.state is JobState.FAILED and end.how == "by itself" and end.exit_code and self.gauges.kills.lately():
            # The kernel's own word: what the log says of it is a consequence at most.
            ended.diagnosis = OUT_OF_MEMORY
        ended.exit_code = end.exit_code
        return _with_step(ended, step) if several and end.exit_code != 0 else ended

    def _run_step(self, step: Step) -> End:
        """How the command ended."""
        try:
            program = self._start(step)
        except OSError as error:
            with self.folder.log.open("a", encoding="utf-8", errors="surrogateescape") as log:
                log.write(f"The program cannot be started: {step.argv[0]}: {error.strerror}.\n")
            return End(None, "not started")
        how, found = self._follow(program)
        # Read the rest of its output before the next command adds to it.
        self.watch.look()
        self._end_leftovers()
        return End(program.returncode, how, found)

    def _start(self, step: Step) -> subprocess.Popen[bytes]:
        mine = {
            "COLUMNS": "300",
            "PYTHONUNBUFFERED": "1",
            **{name: os.environ[name] for name in self.spec.keeps if name in os.environ},
            **step.environment,
            processes.MARK: str(self.folder.path),
        }
        with self.folder.log.open("ab") as log:
            program = subprocess.Popen(
                step.argv,
                cwd=self.spec.working_directory,
                env=child_environment(mine),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        identity = Identity.of(program.pid)
        self.folder.write(PROGRAM, (identity or Identity(program.pid, "")).as_dict())
        return program

    def _follow(
        self, program: subprocess.Popen[bytes]
    ) -> tuple[Literal["by itself", "stop", "watch"], Diagnosis | None]:
        """Waits for the end of the program; returns how it ended, and why if the watch ended it."""
        while not _ended(program, POLL_S):
            self.gauges.look({program.pid}, {program.pid})
            found = self.watch.look()
            if found is not None:
                self._stop(program, GRACE_S)
                return "watch", found
            if self.stop_requested:
                self.journal.write(StateChange(JobState.STOPPING.name))
                request = self.folder.read(STOP) or {}
                self._stop(program, float(request.get("grace_s", GRACE_S)))
                return "stop", None
        return "by itself", None

    def _stop(self, program: subprocess.Popen[bytes], grace_s: float) -> None:
        """Asks the program's whole process group to end, and kills it if that takes too long."""
        processes.signal_group(program.pid, signal.Signals[self.spec.stop_signal])
        deadline = time.monotonic() + grace_s
        while not _ended(program, POLL_S):
            self.watch.look()
            if time.monotonic() > deadline:
                processes.signal_group(program.pid, signal.SIGKILL)
                program.wait()

    def _end_leftovers(self) -> None:
        """Ends processes that the program left running; orphans outside its group have become children of this process."""
        self.gauges.close()
        for _ in range(3):
            if not (left := processes.descendants()):
                break
            processes.kill(left)
            processes.reap()


def _with_step(ended: Outcome, step: Step) -> Outcome:
    """The outcome of a job with several steps, with the name of the step that failed."""
    if ended.state is not JobState.FAILED:
        return ended
    found = ended.diagnosis
    if found is not None:
        found = dataclasses.replace(found, cause=f"The step {step.name!r} failed. {found.cause}")
    return dataclasses.replace(ended, step=step.name, diagnosis=found)


def main(arguments: list[str]) -> int:
    """Detaches from the starting process and supervises the job; returns 0 if the supervisor could start."""
    folder = JobFolder.open(Path(arguments[0]))
    reader, writer = os.pipe()
    if (child := os.fork()) > 0:
        # The starting process waits for the end of this process, and then reads this file.
        identity = Identity.of(child)
        folder.write(SUPERVISOR, (identity or Identity(child, "")).as_dict())
        os.write(writer, b"1")
        return 0
    os.close(writer)
    if not os.read(reader, 1):
        # The file was not written, so nobody could find and stop this process: it must not start anything.
        return 1
    _detach()
    with contextlib.suppress(OSError):
        folder.reserve.write_bytes(secrets.token_bytes(RESERVE_BYTES))
    _write_result(folder, _supervised(folder))
    queue.notify(folder.path)
    return 0


def _write_result(folder: JobFolder, result: Mapping[str, Any]) -> None:
    """Writes the result; if the disk is full, uses the space that was reserved for it."""
    try:
        folder.write(RESULT, result)
    except OSError:
        folder.reserve.unlink(missing_ok=True)
        folder.write(RESULT, result)
    folder.reserve.unlink(missing_ok=True)


def _detach() -> None:
    """Starts a session of its own, sets the signals that programs should inherit, and adopts orphaned descendants."""
    os.setsid()
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    # A background process may ignore SIGINT, and programs inherit that: they could not be interrupted. They do not inherit
    # a handler.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    processes.adopt_orphans()


def _supervised(folder: JobFolder) -> dict[str, Any]:
    """Runs the job; returns its result, even if the supervision fails."""
    started, supervision = time.time(), None
    try:
        supervision = Supervision(folder)
        signal.signal(signal.SIGTERM, lambda *_: setattr(supervision, "got_sigterm", True))
        ended = supervision.run()
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
    processes.kill(processes.descendants())
    journal = supervision.journal if supervision else Journal(folder.events)
    journal.close_with(ended)
    peaks = supervision.gauges.as_dict() if supervision else Peaks().as_dict()
    now = time.time()
    figures = {"started": started, "ended": now, "seconds": now - started, "steps": journal.steps}
    return {**ended.as_dict(), **figures, **peaks}


def _ended(program: subprocess.Popen[bytes], wait_s: float) -> bool:
    try:
        program.wait(wait_s)
    except subprocess.TimeoutExpired:
        return False
    return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""The process that watches one run: `python -m trainer_core.runs.runner <run folder>`.

It leaves whoever started it, starts the engine with its output in a file, and turns what the engine says and leaves
into events. It ends with the engine and leaves `result.json`. A stop is a file it sees, or SIGTERM to it.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainer_core import registry
from trainer_core.child import child_environment
from trainer_core.diagnosis import Diagnosis
from trainer_core.errors import EaselError
from trainer_core.events import StateChange
from trainer_core.runs import outcome, processes
from trainer_core.runs.directory import RunDirectory
from trainer_core.runs.journal import Journal
from trainer_core.runs.memory import MemoryWatch
from trainer_core.runs.outcome import Outcome
from trainer_core.runs.processes import Identity
from trainer_core.runs.state import RunState
from trainer_core.runs.steps import NAN_STEPS
from trainer_core.runs.watch import EngineWatch

POLL_S = 0.25
GRACE_S = 10.0
RESERVE_BYTES = 64 << 10


class Supervision:
    """One engine process from its start to its end."""

    def __init__(self, directory: RunDirectory) -> None:
        self.directory = directory
        self.spec = directory.spec
        self.backend = registry.get(self.spec.backend)
        self.journal = Journal(directory.events)
        self.memory = MemoryWatch()
        self.started = time.time()
        self.asked_to_stop = False

    def run(self) -> Outcome:
        """Starts the engine, watches it to its end, and says how it ended."""
        if self.directory.stop.exists():
            return Outcome(RunState.CANCELLED)
        self.journal.write(StateChange(RunState.RUNNING.name))
        try:
            engine = self._start()
        except OSError as error:
            cause = f"The engine cannot be started: {self.spec.command[0]}: {error.strerror}."
            advice = f"Check it with: easel backends verify {self.spec.backend}"
            return Outcome(RunState.FAILED, diagnosis=Diagnosis("not-started", cause, "", advice))
        watch = EngineWatch(self.directory, self.spec, self.backend, self.journal)
        ended = self._follow(engine, watch)
        watch.finish()
        self._clear_away()
        if ended is None:
            ended = outcome.judge(self.directory, self.spec, self.backend.manifest, engine.returncode)
        ended.exit_code = engine.returncode
        return ended

    def _start(self) -> subprocess.Popen[bytes]:
        mine = {
            "COLUMNS": "300",
            "PYTHONUNBUFFERED": "1",
            **self.spec.environment,
            processes.MARK: str(self.directory.path),
        }
        with self.directory.log.open("ab") as log:
            engine = subprocess.Popen(
                self.spec.command,
                cwd=self.spec.working_directory,
                env=child_environment(mine),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        identity = Identity.of(engine.pid)
        self.directory.write("engine.json", (identity or Identity(engine.pid, "")).as_dict())
        return engine

    def _follow(self, engine: subprocess.Popen[bytes], watch: EngineWatch) -> Outcome | None:
        """None when the engine ended by itself, else why it was ended."""
        while not _ended(engine, POLL_S):
            watch.look()
            self.memory.look(engine.pid)
            if watch.steps.nan_in_a_row >= NAN_STEPS:
                found = outcome.not_finite(watch.steps.nan_in_a_row, watch.steps.given)
                self._stop(engine, watch, GRACE_S)
                return Outcome(RunState.FAILED, diagnosis=found)
            if self.asked_to_stop or self.directory.stop.exists():
                self.journal.write(StateChange(RunState.STOPPING.name))
                request = self.directory.read("stop") or {}
                self._stop(engine, watch, float(request.get("grace_s", GRACE_S)))
                return Outcome(RunState.CANCELLED)
        return None

    def _stop(self, engine: subprocess.Popen[bytes], watch: EngineWatch, grace_s: float) -> None:
        """Asks the engine's whole process group to end, and kills it when it takes too long."""
        processes.signal_group(engine.pid, signal.Signals[self.spec.stop_signal])
        deadline = time.monotonic() + grace_s
        while not _ended(engine, POLL_S):
            watch.look()
            if time.monotonic() > deadline:
                processes.signal_group(engine.pid, signal.SIGKILL)
                engine.wait()

    def _clear_away(self) -> None:
        """Ends what the engine left running: helpers that are in its group no more come to this process when orphaned."""
        self.memory.close()
        for _ in range(3):
            if not (left := processes.descendants()):
                break
            processes.kill(left)
            processes.reap()


def main(arguments: list[str]) -> int:
    """Leaves the starter and watches the run; the exit code says only whether that began."""
    directory = RunDirectory.open(Path(arguments[0]))
    known, tell = os.pipe()
    if (child := os.fork()) > 0:
        # The starter reads this file as soon as this process, which it waits for, is gone.
        identity = Identity.of(child)
        directory.write("runner.json", (identity or Identity(child, "")).as_dict())
        os.write(tell, b"1")
        return 0
    os.close(tell)
    if not os.read(known, 1):
        # Nobody could find this runner, so it must not start anything.
        return 1
    _settle()
    with contextlib.suppress(OSError):
        directory.reserve.write_bytes(secrets.token_bytes(RESERVE_BYTES))
    _leave_result(directory, _supervised(directory))
    return 0


def _leave_result(directory: RunDirectory, result: Mapping[str, Any]) -> None:
    """Writes the result; on a full disk, into the room that was kept for it."""
    try:
        directory.write("result.json", result)
    except OSError:
        directory.reserve.unlink(missing_ok=True)
        directory.write("result.json", result)
    directory.reserve.unlink(missing_ok=True)


def _settle() -> None:
    """Makes this process nobody's: signals as the engine should inherit them, orphans come to it."""
    os.setsid()
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    # An ignored SIGINT is inherited, a handled one is not: an engine started from a background job could not be interrupted.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    processes.adopt_orphans()


def _supervised(directory: RunDirectory) -> dict[str, Any]:
    """The run's result, whatever happens."""
    started, supervision = time.time(), None
    try:
        supervision = Supervision(directory)
        signal.signal(signal.SIGTERM, lambda *_: setattr(supervision, "asked_to_stop", True))
        ended = supervision.run()
    except EaselError as error:
        ended = Outcome(RunState.FAILED, diagnosis=Diagnosis("refused", error.message, "", error.hint))
    except Exception as error:  # noqa: BLE001 - a run without a result would look LOST and say nothing
        # The details are in runner.log.
        traceback.print_exc()
        cause = f"Easel's runner failed: {type(error).__name__}: {error}"
        ended = Outcome(
            RunState.FAILED, diagnosis=Diagnosis("runner", cause, "", "This is a fault in Easel; runner.log says more.")
        )
    processes.kill(processes.descendants())
    journal = supervision.journal if supervision else Journal(directory.events)
    journal.close_with(ended)
    peak, gpu = (supervision.memory.peak_bytes, supervision.memory.peak_gpu_bytes) if supervision else (0, None)
    now = time.time()
    figures = {"started": started, "ended": now, "seconds": now - started, "steps": journal.steps}
    return {**ended.as_dict(), **figures, "peak_memory_bytes": peak, "peak_gpu_memory_bytes": gpu}


def _ended(engine: subprocess.Popen[bytes], wait_s: float) -> bool:
    try:
        engine.wait(wait_s)
    except subprocess.TimeoutExpired:
        return False
    return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

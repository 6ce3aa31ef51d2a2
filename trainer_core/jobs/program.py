"""A program of a job: started inside a small process that records its exit code, and followed by any supervisor."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from trainer_core.child import child_environment
from trainer_core.errors import JobError
from trainer_core.events import whole
from trainer_core.jobs import processes
from trainer_core.jobs.folder import PROGRAM, PROGRAM_END, WRAPPER, JobFolder
from trainer_core.jobs.outcome import End
from trainer_core.jobs.processes import EndOf, Identity
from trainer_core.jobs.spec import Step

# Read now: Easel may be updated or removed before the next program of the job starts.
_WRAPPER = Path(__file__).with_name("wrapper.py").read_bytes()
_RECORD_S = 2.0
"""How long the record of a program may take that has ended."""


class Program:
    """The program that runs now: a child of its wrapper, which leads the session and the process group of both.

    `wrapper` is the wrapper where this process started it, and can read its exit code.
    """

    def __init__(self, folder: JobFolder, number: int, wrapper: subprocess.Popen[bytes] | None = None) -> None:
        self.folder, self.number = folder, number
        self._wrapper = wrapper
        self._leader = _recorded(folder, WRAPPER, number)
        self._end_of_leader = EndOf(self._leader) if self._leader else None
        self._end_of_program: EndOf | None = None

    @property
    def _own(self) -> Identity | None:
        """The program itself, as soon as its wrapper has recorded it."""
        return _recorded(self.folder, PROGRAM, self.number)

    @property
    def leader(self) -> int | None:
        """The process group of the program."""
        data = self.folder.read(PROGRAM) or {}
        return self._leader.pid if self._leader else whole(data.get("group")) or whole(data.get("pid"))

    @property
    def roots(self) -> set[int]:
        """The ids of the wrapper and the program, as far as they run."""
        return {each.pid for each in (self._leader, self._own) if each is not None and each.alive}

    @property
    def reserved(self) -> set[int]:
        """The ids of the wrapper and the program: only `exit_code` collects theirs."""
        return {each.pid for each in (self._leader, self._own) if each is not None}

    def ended(self, wait_s: float) -> bool:
        """Whether the program has ended, after at most `wait_s` seconds."""
        if self._end_of_leader is not None and not self._end_of_leader.wait(wait_s):
            return False
        if self._end_of_program is None:
            if self.record is not None or (own := self._own) is None:
                return True
            # Somebody ended the wrapper alone, or both.
            self._end_of_program = EndOf(own)
        return self._end_of_program.wait(wait_s)

    @property
    def record(self) -> Mapping[str, object] | None:
        """What the wrapper wrote about the end of the program; None if it has not, or if this was another program."""
        data = self.folder.read(PROGRAM_END)
        return data if data is not None and data.get("number") == self.number else None

    def exit_code(self) -> int | None:
        """The exit code of the program that has ended; None if nobody saw it, or if the program could not be started."""
        record = self.record
        if record is not None:
            return whole(record.get("exit_code"))
        seen = self._collected()
        return self._wrapper.poll() if seen is None and self._wrapper is not None else seen

    def error(self) -> str | None:
        """Why the program could not be started; None if it could."""
        record = self.record or {}
        return str(record["error"]) if "error" in record else None

    def _collected(self) -> int | None:
        """The exit code of a program whose wrapper has ended first: it has become a child of the supervisor."""
        if (own := self._own) is not None:
            with contextlib.suppress(ChildProcessError, OSError):
                pid, status = os.waitpid(own.pid, os.WNOHANG)
                return os.waitstatus_to_exitcode(status) if pid else None
        return None

    def signal(self, number: int) -> None:
        """Sends a signal to the process group; the wrapper ignores those that ask for an end."""
        if self.roots and (leader := self.leader):
            processes.signal_group(leader, number)

    def tell(self, number: int) -> None:
        """Sends a signal to the program alone, and not to what it has started."""
        if (own := self._own) is not None and own.alive:
            processes.send(own.pid, number)

    def kill(self) -> None:
        """Kills the program, and leaves its wrapper the time to record that; then all others of the group."""
        own = self._own
        if own is not None and own.alive:
            processes.send(own.pid, processes.KILL)
            deadline = time.monotonic() + _RECORD_S
            while self._end_of_leader is not None and time.monotonic() < deadline:
                if self._end_of_leader.wait(0.1):
                    break
        self.signal(processes.KILL)
        self.ended(_RECORD_S)

    def close(self) -> None:
        """Collects the wrapper's exit code, and gives back what was used to wait."""
        for each in (self._end_of_leader, self._end_of_program):
            if each is not None:
                each.close()
        self._end_of_leader = self._end_of_program = None
        if self._wrapper is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._wrapper.wait(_RECORD_S)


def start(folder: JobFolder, number: int, step: Step, directory: Path, mine: Mapping[str, str]) -> Program:
    """The program of a step, started. Its wrapper waits until its own identity is on the disk.

    Raises:
        OSError: the wrapper cannot be started, or its identity cannot be written.
    """
    command = [sys.executable, "-I", "-S", "-", str(folder.path), str(number), *step.argv]
    with folder.log.open("ab") as log:
        wrapper = subprocess.Popen(
            command,
            cwd=directory,
            env=child_environment({**mine, processes.MARK: str(folder.path)}),
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    assert wrapper.stdin is not None
    try:
        identity = Identity.of(wrapper.pid) or Identity(wrapper.pid, "")
        folder.write(WRAPPER, {**identity.as_dict(), "number": number, "step": step.name})
        with wrapper.stdin as given:
            given.write(_WRAPPER)
    except OSError:
        # Without its text the wrapper ends at once, and has started nothing.
        with contextlib.suppress(OSError):
            wrapper.stdin.close()
        wrapper.kill()
        wrapper.wait()
        raise
    return Program(folder, number, wrapper)


def resumed(folder: JobFolder, number: int) -> Program | None:
    """The program that an earlier supervisor has started for this step; None if it had started none."""
    program = Program(folder, number)
    return program if program.leader or program.record else None


def recorded_end(folder: JobFolder, number: int) -> End:
    """How the program of a step ended, as its wrapper wrote it; unseen if nothing was written. Looks at no process."""
    exit_code = whole((Program(folder, number).record or {}).get("exit_code"))
    return End(None, "unseen") if exit_code is None else End(exit_code, "by itself")


def _recorded(folder: JobFolder, name: str, number: int) -> Identity | None:
    data = folder.read(name)
    # An older Easel recorded no number, and started no wrapper.
    is_this = data is not None and data.get("number", number) == number
    return Identity.from_dict(data) if is_this else None


def current_number(folder: JobFolder, steps: int) -> int:
    """The number of the step that was started last, from 1; 0 if none was.

    Raises:
        JobError: the record is damaged.
    """
    wrapper, program = folder.read(WRAPPER), folder.read(PROGRAM)
    if wrapper is None and program is None:
        return 0
    number = whole((wrapper or program or {}).get("number", 1))
    if number is None or not 1 <= number <= steps:
        raise JobError(f"The {WRAPPER} in {folder.path} is damaged: it names a step that the job does not have.")
    return number

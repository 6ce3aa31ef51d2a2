"""A program on another machine, and messages to it: one process of the system's ssh."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from typing import IO, Any

from trainer_core.errors import JobError
from trainer_core.jobs.hosts.frames import GREETING, PROTOCOL, FrameError, pack, unpack
from trainer_core.jobs.hosts.host import READ_LIMIT_BYTES
from trainer_core.jobs.hosts.machine import Machine, known_hosts
from trainer_core.jobs.hosts.ssh_failure import SSH_FAILED, MachineError, failure
from trainer_core.text import printable

_NOISE_BYTES = 64 << 10
"""What the start of a shell on the machine may print before the program begins."""
_SAID_BYTES = 16 << 10
_PIECE_BYTES = 1 << 16


class Pipe:
    """A program on a machine: bytes to it and from it, each within a time."""

    def __init__(self, machine: Machine, words: Sequence[str]) -> None:
        """Starts it.

        Raises:
            MachineError: there is no ssh here.
            JobError: the folder for the host keys cannot be made.
        """
        self._machine, self._is_open, self._kept = machine, False, b""
        self._said: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - it is open as long as the connection
        try:
            known_hosts().parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._process = subprocess.Popen(
                machine.command(words),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._said,
                bufsize=0,
                # Its messages are read, so they must be in English.
                env={**os.environ, "LC_ALL": "C"},
                # Ctrl+C in the terminal is for Easel, not for its connection.
                start_new_session=True,
            )
        except FileNotFoundError as error:
            self._said.close()
            hint = "Install the OpenSSH client, such as with: apt install openssh-client"
            raise MachineError("There is no ssh on this machine.", hint, "ssh") from error
        except OSError as error:
            self._said.close()
            raise JobError(f"ssh cannot be started: {error.strerror or error}.", "Check EASEL_HOME.") from error
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._in, self._out = self._process.stdin.fileno(), self._process.stdout.fileno()
        os.set_blocking(self._in, False)
        os.set_blocking(self._out, False)

    def answered(self) -> None:
        """Notes that the program runs: from now on its end is a cut connection."""
        self._is_open = True

    def send(self, content: bytes, limit_s: float) -> None:
        """Sends bytes.

        Raises:
            MachineError: they did not all leave within `limit_s` seconds, or the connection broke.
        """
        rest, deadline = memoryview(content), time.monotonic() + limit_s
        while rest:
            self._await(self._in, select.POLLOUT, deadline, limit_s)
            try:
                rest = rest[os.write(self._in, rest[:_PIECE_BYTES]) :]
            except BlockingIOError:
                continue
            except OSError as error:
                raise self._broken() from error

    def end(self) -> None:
        """Tells the program that nothing more comes."""
        with contextlib.suppress(OSError):
            self._process.stdin.close()  # pyright: ignore[reportOptionalMemberAccess]

    def some(self, deadline: float, limit_s: float) -> bytes:
        """The next bytes; empty if the program has closed its output.

        Raises:
            MachineError: nothing came until the `deadline`.
        """
        if self._kept:
            found, self._kept = self._kept, b""
            return found
        while True:
            self._await(self._out, select.POLLIN, deadline, limit_s)
            with contextlib.suppress(BlockingIOError):
                return os.read(self._out, _PIECE_BYTES)

    def take(self, count: int, deadline: float, limit_s: float) -> bytes:
        """Exactly so many bytes.

        Raises:
            MachineError: they did not come until the `deadline`, or the connection broke.
        """
        parts, missing = [], count
        while missing:
            found = self.some(deadline, limit_s)
            if not found:
                raise self._broken()
            parts.append(found[:missing])
            self._kept = found[missing:]
            missing -= len(parts[-1])
        return b"".join(parts)

    def code(self, limit_s: float) -> int | None:
        """The exit code, after at most `limit_s` seconds."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._process.wait(limit_s)
        return None

    def said(self) -> str:
        """The end of what ssh and the program printed as errors."""
        size = self._said.seek(0, os.SEEK_END)
        self._said.seek(max(0, size - _SAID_BYTES))
        return self._said.read().decode("utf-8", "replace")

    def close(self) -> None:
        """Ends the connection; what was started on the machine goes on."""
        self.end()
        self._process.terminate()
        if self.code(2.0) is None:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()  # pyright: ignore[reportOptionalMemberAccess]
        self._said.close()

    def _await(self, handle: int, what: int, deadline: float, limit_s: float) -> None:
        poll = select.poll()
        poll.register(handle, what)
        if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
            hint = "It or the network is slow, or its disk does not answer. What runs there goes on. Try again."
            raise MachineError(f"{self._machine} did not answer within {limit_s:.0f} seconds.", hint, "slow")

    def _broken(self) -> MachineError:
        return failure(self._machine, self.code(2.0), self.said(), is_open=self._is_open)


HOST_PROGRAM = "trainer_core.jobs.hosts.answering"
"""The module that answers an ssh host."""


class Connection:
    """A program of Easel that answers on a machine. `version` is that of Easel there."""

    version = ""

    def __init__(self, machine: Machine, limit_s: float, program: str = HOST_PROGRAM) -> None:
        """Connects, and waits until the `program`, a module, answers.

        Raises:
            MachineError: the machine cannot be reached, has no Easel, or one with other messages.
        """
        self._machine = machine
        self._pipe = Pipe(machine, (machine.python, "-P", "-m", program))
        with contextlib.ExitStack() as unless_greeted:
            unless_greeted.callback(self.close)
            self._greet(limit_s)
            unless_greeted.pop_all()

    def _greet(self, limit_s: float) -> None:
        deadline, left = time.monotonic() + limit_s, _NOISE_BYTES
        line = bytearray()
        while left and not (line.endswith(b"\n") and line.startswith(GREETING)):
            if line.endswith(b"\n"):
                line.clear()
            line += self._pipe.take(1, deadline, limit_s)
            left -= 1
        words = line.decode("utf-8", "replace").split()
        if not left or len(words) < 3:
            hint = "The start-up files of the shell there print too much. Let them print nothing without a terminal."
            raise MachineError(f"What {self._machine} prints is not from Easel.", hint, "broken")
        if words[1] != str(PROTOCOL):
            other = printable(words[2], 40)
            raise MachineError(
                f"Easel {other} on {self._machine} does not fit to the one here.", "Update both.", "version"
            )
        self.version = printable(words[2], 40)
        self._pipe.answered()

    def ask(
        self, about: Mapping[str, Any], body: bytes = b"", *, limit_s: float, largest_bytes: int = READ_LIMIT_BYTES
    ) -> tuple[dict[str, Any], bytes]:
        """The answer to a message. After an error the connection must be closed.

        Raises:
            MachineError: no answer came within `limit_s` seconds, it is none, or the connection broke.
        """
        self._pipe.send(pack(about, body), limit_s)
        deadline = time.monotonic() + limit_s
        try:
            return unpack(lambda count: self._pipe.take(count, deadline, limit_s), largest_bytes)
        except FrameError as error:
            raise MachineError(f"{self._machine} sent something else than an answer. {error}", "Try again.") from error

    def close(self) -> None:
        """Ends the connection; what was started on the machine goes on."""
        self._pipe.close()


def run(machine: Machine, words: Sequence[str], content: bytes, limit_s: float, largest_bytes: int) -> bytes:
    """What a program on the machine prints, given `content` on its input.

    Raises:
        MachineError: the machine cannot be reached, the program failed, took longer, or printed more.
    """
    pipe = Pipe(machine, words)
    try:
        pipe.send(content, limit_s)
        pipe.end()
        deadline, found = time.monotonic() + limit_s, b""
        while piece := pipe.some(deadline, limit_s):
            found += piece
            if len(found) > largest_bytes:
                raise MachineError(f"{machine} printed more than {largest_bytes} bytes.", "Look what its shell prints.")
        code = pipe.code(max(0.0, deadline - time.monotonic()))
        if code is not None and 0 < code < SSH_FAILED:
            line = printable(pipe.said().strip().rpartition("\n")[2], 300)
            raise MachineError(f"{machine} could not run {words[0]} ({code}): {line}", "Try it there by hand.")
        if code != 0:
            raise failure(machine, code, pipe.said(), is_open=False)
        return found
    finally:
        pipe.close()

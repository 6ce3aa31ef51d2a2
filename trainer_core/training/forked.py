"""Runs a function in a forked copy of this process, so that it neither delays nor endangers this process."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable
from typing import Any

import psutil

from trainer_core.jobs import processes

NICENESS = 19
_PIECE_BYTES = 1 << 16
_PR_SET_PDEATHSIG = 1
_LOWEST = 7


class Forked:
    """A function that runs in a child process with the lowest priority; its result comes back as JSON.

    The child has all modules of this process, so it reads no program files. It counts neither as one of the job's programs
    nor towards their memory, and it ends when this process ends.
    """

    def __init__(self, function: Callable[[], Any]) -> None:
        reader, writer = os.pipe()
        parent = os.getpid()
        self._pid = os.fork()
        if self._pid == 0:
            os.close(reader)
            _run(function, writer, parent)
        processes.set_apart(self._pid)
        os.close(writer)
        os.set_blocking(reader, False)
        self._reader, self._data, self._ended = reader, b"", False

    def ended(self) -> bool:
        """Whether the function has ended. Reads what it has written so far; never waits."""
        while not self._ended:
            try:
                piece = os.read(self._reader, _PIECE_BYTES)
            except BlockingIOError:
                return False
            self._data += piece
            if not piece:
                self._close()
        return True

    @property
    def result(self) -> Any:
        """What the function returned; None if it has not ended, failed, or was killed."""
        try:
            return json.loads(self._data) if self._ended else None
        except ValueError:
            return None

    def end(self) -> None:
        """Ends the child if it still runs."""
        if not self._ended:
            processes.send(self._pid, signal.SIGKILL)
            self._data = b""
            self._close()

    def _close(self) -> None:
        self._ended = True
        os.close(self._reader)
        # Somebody who reaps all children may have been faster.
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self._pid, 0)
        processes.forget(self._pid)


def _run(function: Callable[[], Any], writer: int, parent: int) -> None:
    """Runs the function in the child and ends the process, whatever happens: none of the parent's code may go on in it."""
    code = 1
    try:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        os.nice(NICENESS)
        if sys.platform == "linux":
            psutil.Process().ionice(psutil.IOPRIO_CLASS_BE, _LOWEST)
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() == parent:
            data = json.dumps(function()).encode()
            while data:
                data = data[os.write(writer, data) :]
            code = 0
    finally:
        if code:
            # This goes to the log of the process that forked.
            traceback.print_exc()
            sys.stderr.flush()
        os._exit(code)

"""Questions to a program of Easel on a machine, over a connection that is opened when needed, and again if it was cut."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Mapping
from typing import Any

from trainer_core.errors import JobError
from trainer_core.jobs.folder import DiskError
from trainer_core.jobs.hosts.host import READ_LIMIT_BYTES
from trainer_core.jobs.hosts.machine import Machine
from trainer_core.jobs.hosts.ssh_connection import HOST_PROGRAM, Connection
from trainer_core.jobs.hosts.ssh_failure import MachineError


class Questions:
    """Asks a program on a machine, one question at a time, also from several threads; `lock` keeps others out meanwhile."""

    def __init__(self, machine: Machine, limit_s: float, program: str = HOST_PROGRAM) -> None:
        """Nothing is connected yet. `limit_s` is the time in which the machine must answer, in seconds."""
        self._machine, self._limit_s, self._program = machine, limit_s, program
        self._connection: Connection | None = None
        self.lock = threading.RLock()

    def ask(
        self,
        about: Mapping[str, Any],
        body: bytes = b"",
        *,
        limit_s: float = 0.0,
        is_repeated: bool = True,
        largest_bytes: int = READ_LIMIT_BYTES,
    ) -> tuple[dict[str, Any], bytes]:
        """The answer of the machine. A question `is_repeated` over a new connection if that was cut.

        Raises:
            MachineError: the machine cannot be reached.
            JobError: it cannot be done, as the machine says.
            OSError: a file cannot be written there.
        """
        limit_s = max(limit_s, self._limit_s) if limit_s else self._limit_s
        with self.lock:
            try:
                answer, found = self._asked(about, body, limit_s, largest_bytes)
            except MachineError as error:
                if not (is_repeated and error.is_passing):
                    raise
                answer, found = self._asked(about, body, limit_s, largest_bytes)
        self._check(answer)
        return answer, found

    @property
    def version(self) -> str:
        """The version of Easel there; connects if needed.

        Raises:
            MachineError: the machine cannot be reached.
        """
        with self.lock:
            return self._connected().version

    def close(self) -> None:
        """Ends the connection; what was started on the machine goes on. The next question opens another one."""
        with self.lock:
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.close()

    def _connected(self) -> Connection:
        if self._connection is None:
            self._connection = Connection(self._machine, self._limit_s, self._program)
        return self._connection

    def _asked(
        self, about: Mapping[str, Any], body: bytes, limit_s: float, largest_bytes: int
    ) -> tuple[dict[str, Any], bytes]:
        with contextlib.ExitStack() as unless_answered:
            # Also after Ctrl+C: the answer that still comes must not be taken for that to the next question.
            unless_answered.callback(self.close)
            answer = self._connected().ask(about, body, limit_s=limit_s, largest_bytes=largest_bytes)
            unless_answered.pop_all()
        return answer

    def _check(self, answer: Mapping[str, Any]) -> None:
        failed = answer.get("failed")
        if failed is None:
            return
        text = str(answer.get("text", ""))
        if failed == "os" and isinstance(answer.get("errno"), int):
            raise OSError(answer["errno"], f"{text} (on {self._machine})")
        if failed == "job":
            kind = DiskError if answer.get("is_full") is True else JobError
            raise kind(f"On {self._machine}: {answer.get('message', '')}", str(answer.get("hint", "")))
        raise MachineError(
            f"Easel on {self._machine} cannot do this: {text}", "Update Easel here and there.", "version"
        )

"""A machine that is reached by ssh as the host of a job. It transfers bytes and sends signals; `LocalHost` there does the rest.

Not: finding out what a machine has, installing, or copying datasets and models.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Self, get_args

from trainer_core.errors import JobError
from trainer_core.files import open_own
from trainer_core.jobs.folder import SPEC, SUPERVISOR, writing
from trainer_core.jobs.hosts.frames import LARGEST_BYTES
from trainer_core.jobs.hosts.host import READ_LIMIT_BYTES, Which
from trainer_core.jobs.hosts.machine import Machine
from trainer_core.jobs.hosts.questions import Questions
from trainer_core.jobs.hosts.ssh_failure import MachineError
from trainer_core.jobs.origin import Whereabouts
from trainer_core.jobs.processes import KILL

_LIMIT_S = 60.0
_START_S = 90.0
"""A supervisor may need 60 seconds to start; see `LocalHost`."""
_CERTAIN_S = 30.0
"""A start whose answer was lost is done after this time, or was not begun."""
_POLL_S = 0.2
_HARMLESS_TWICE = (0, signal.SIGCONT, signal.SIGSTOP, KILL)


class SshHost:
    """A machine that ssh reaches. It has one connection, which is opened when needed, and again if it was cut.

    The folder `here` on this machine stands for the folder `there` on the other one, and so does what is in it; a relative `there`
    starts in the home folder. Other paths are those of the other machine. `start` sends the files of the job folder.
    """

    def __init__(self, machine: Machine, here: Path = Path("/"), there: str = "/", limit_s: float = _LIMIT_S) -> None:
        """Nothing is connected yet. `limit_s` is the time in which the machine must answer, in seconds."""
        self.machine = machine
        self._here, self._there = here, PurePosixPath(there)
        self._questions = Questions(machine, limit_s)
        # Several threads may have handles for jobs on this machine.
        self._lock = self._questions.lock

    def put(self, files: Mapping[Path, str | bytes]) -> None:
        """Writes files; see `Host`.

        Raises:
            OSError: one cannot be written there.
            MachineError: the machine cannot be reached.
            JobError: a file is too large.
        """
        for path, content in files.items():
            body = content.encode("utf-8", "surrogateescape") if isinstance(content, str) else content
            if len(body) > LARGEST_BYTES:
                raise JobError(f"{path} is too large for a file of a job.", "Copy it in another way.")
            self._ask({"do": "put", "path": self.there(path)}, body)

    def start(self, folder: Path) -> None:
        """Sends the files of the job folder and starts the supervisor there; see `Host`."""
        with self._lock:
            self._send(folder)
            self._begin({"do": "start", "path": self.there(folder)}, folder)

    def adopt(self, folder: Path, force: bool = False) -> None:
        """Starts a new supervisor there; see `Host`."""
        self._begin({"do": "adopt", "path": self.there(folder), "force": force}, folder)

    def whereabouts(self, folder: Path) -> Whereabouts:
        """Where the job's processes are, as seen from the machine; see `Host`."""
        found = self._ask({"do": "whereabouts", "path": self.there(folder)})[0].get("where")
        return next((each for each in get_args(Whereabouts) if each == found), None) or self._refuse()

    def read(self, path: Path, offset: int = 0, limit: int = READ_LIMIT_BYTES) -> tuple[bytes, int]:
        """Reads a part of a file; see `Host`.

        Raises:
            MachineError: the machine cannot be reached: nothing is known of the file.
        """
        about = {"do": "read", "path": self.there(path), "offset": offset, "limit": min(limit, READ_LIMIT_BYTES)}
        answer, found = self._ask(about)
        after = answer.get("offset")
        return (found, after) if isinstance(after, int) and not isinstance(after, bool) else self._refuse()

    def signal(self, folder: Path, which: Which, number: int) -> None:
        """Sends a signal; see `Host`. It is sent once: a second one can mean something else to a program.

        Raises:
            MachineError: the machine cannot be reached, or it is not known whether the signal arrived.
        """
        about = {"do": "signal", "path": self.there(folder), "which": which, "number": int(number)}
        with self._lock:
            # A connection that was cut meanwhile is noticed with this question.
            self._ask({"do": "ping"})
            try:
                self._ask(about, is_repeated=number in _HARMLESS_TWICE)
            except MachineError as error:
                if not error.is_passing:
                    raise
                told = f"The connection to {self.machine} was cut. It is not known whether the signal arrived."
                raise MachineError(told, "See what the job does, and try again.", "cut") from error

    def alive(self, folder: Path, which: Which) -> bool:
        """Whether such a process still runs there; see `Host`."""
        found = self._ask({"do": "alive", "path": self.there(folder), "which": which})[0].get("alive")
        return found if isinstance(found, bool) else self._refuse()

    def there(self, path: Path) -> str:
        """The path on the machine."""
        return str(self._there / path.relative_to(self._here)) if path.is_relative_to(self._here) else str(path)

    def close(self) -> None:
        """Ends the connection; what was started on the machine goes on. The next call opens another one."""
        self._questions.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _send(self, folder: Path) -> None:
        """Sends the files of a job folder of this machine; `spec.json` last, because a folder with it is complete.

        Raises:
            JobError: one cannot be read, or is too large.
        """
        with writing(folder):
            self._ask({"do": "folder", "path": self.there(folder)})
            found = [Path(where, name) for where, _, names in os.walk(folder) for name in names]
            for path in sorted(found, key=lambda path: (path == folder / SPEC, path)):
                # A link leads to the user's images or models.
                if path.is_symlink():
                    continue
                with open_own(path) as file:
                    self.put({path: file.read(LARGEST_BYTES + 1)})

    def _begin(self, about: Mapping[str, Any], folder: Path) -> None:
        """Has a supervisor started, exactly once also if the connection is cut before the answer."""
        with self._lock:
            self._ask({"do": "ping"})
            before = self.read(folder / SUPERVISOR)[0]
            try:
                self._ask(about, limit_s=_START_S, is_repeated=False)
            except MachineError as error:
                if not error.is_passing:
                    raise
            else:
                return
            # It may have been started, may be starting now, or the request never arrived. Its lock permits only one.
            try:
                self._ask(about, limit_s=_START_S, is_repeated=False)
            except MachineError:
                raise
            except JobError:
                deadline = time.monotonic() + _CERTAIN_S
                while self.read(folder / SUPERVISOR)[0] in (b"", before):
                    if time.monotonic() > deadline:
                        raise
                    time.sleep(_POLL_S)

    def _ask(
        self, about: Mapping[str, Any], body: bytes = b"", *, limit_s: float = 0.0, is_repeated: bool = True
    ) -> tuple[dict[str, Any], bytes]:
        """The answer of the machine. A question `is_repeated` over a new connection if that was cut.

        Raises:
            MachineError: the machine cannot be reached.
            JobError: the job cannot do this, as the machine says.
            OSError: a file cannot be written there.
        """
        return self._questions.ask(about, body, limit_s=limit_s, is_repeated=is_repeated)

    def _refuse(self) -> Any:
        raise MachineError(f"{self.machine} gave an answer that has no meaning.", "Update Easel here and there.")

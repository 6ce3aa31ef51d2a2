"""The interface to the machine that a job runs on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Protocol

from trainer_core.jobs.origin import Whereabouts

Which = Literal["supervisor", "program", "all"]
"""A job's processes: its supervisor; the program that runs now, with its process group; all that its programs started.

Those of another folder, of which this one is a copy, or of another machine, are never meant.
"""
READ_LIMIT_BYTES = 8 << 20


class Host(Protocol):
    """The machine that a job runs on. Each method is a single query or command; a host stores nothing.

    A new host is one module that passes `trainer_core.jobs.hosts.contract.check_host_contract`.
    """

    def put(self, files: Mapping[Path, str | bytes]) -> None:
        """Writes files, each of them atomically.

        Raises:
            OSError: one cannot be written.
        """
        ...

    def start(self, folder: Path) -> None:
        """Starts the supervisor of the job in `folder`, which continues when this process ends.

        Raises:
            JobError: it could not be started.
        """
        ...

    def adopt(self, folder: Path, force: bool = False) -> None:
        """Starts a new supervisor for a job whose supervisor has ended without a result; `force`: also on another machine.

        Raises:
            JobError: it could not be started, or the job may not get one.
        """
        ...

    def whereabouts(self, folder: Path) -> Whereabouts:
        """Where the processes of the job in `folder` are: on this host, with the original of a copy, or elsewhere."""
        ...

    def read(self, path: Path, offset: int = 0, limit: int = READ_LIMIT_BYTES) -> tuple[bytes, int]:
        """At most `limit` bytes of a file from `offset` on, and the offset for the next call.

        A negative offset counts from the end. A missing file has no bytes, and the offset does not change.
        """
        ...

    def signal(self, folder: Path, which: Which, number: int) -> None:
        """Sends a signal to these processes of the job in `folder` if they still run."""
        ...

    def alive(self, folder: Path, which: Which) -> bool:
        """Whether any of these processes of the job in `folder` still runs."""
        ...

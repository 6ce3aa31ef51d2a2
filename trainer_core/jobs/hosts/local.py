"""This machine as the host of a job."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from trainer_core import places
from trainer_core.errors import JobError
from trainer_core.files import open_regular, write_whole
from trainer_core.jobs import processes
from trainer_core.jobs.folder import PROGRAM, SUPERVISOR, JobFolder
from trainer_core.jobs.hosts.host import READ_LIMIT_BYTES, Which
from trainer_core.jobs.processes import Identity

_START_S = 60.0


class LocalHost:
    """This machine.

    The processes of a job are recorded in its folder by id and start time, and marked by a variable in their environment.
    """

    def put(self, files: Mapping[Path, str | bytes]) -> None:
        """Writes files; see `Host`."""
        for path, content in files.items():
            write_whole(path, content)

    def start(self, folder: Path) -> None:
        """Starts the supervisor in its own session; see `Host`."""
        command = [sys.executable, "-P", "-m", "trainer_core.jobs.supervisor", str(folder)]
        log_path = JobFolder(folder).supervisor_log
        with log_path.open("ab") as log:
            starter = subprocess.Popen(
                command,
                cwd=folder,
                env=own_environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                code = starter.wait(_START_S)
            except subprocess.TimeoutExpired:
                starter.kill()
                code = starter.wait()
        if code != 0:
            raise JobError(f"The supervisor of {folder.name} could not be started.", f"The reason is in {log_path}.")

    def read(self, path: Path, offset: int = 0, limit: int = READ_LIMIT_BYTES) -> tuple[bytes, int]:
        """Reads a part of a file; see `Host`."""
        try:
            with open_regular(path) as file:
                begin = offset if offset >= 0 else max(0, file.seek(0, os.SEEK_END) + offset)
                file.seek(begin)
                found = file.read(limit)
        except OSError:
            return b"", offset
        return found, begin + len(found)

    def signal(self, folder: Path, which: Which, number: int) -> None:
        """Sends a signal; see `Host`."""
        leader = _identity(folder, SUPERVISOR if which == "supervisor" else PROGRAM)
        if leader is not None and leader.alive:
            if which == "supervisor":
                processes.send(leader.pid, number)
            else:
                processes.signal_group(leader.pid, number)
        if which == "all":
            for process in processes.of_job(folder):
                processes.send(process.pid, signal.Signals(number))

    def alive(self, folder: Path, which: Which) -> bool:
        """Whether such a process still runs; see `Host`."""
        leader = _identity(folder, SUPERVISOR if which == "supervisor" else PROGRAM)
        is_alive = leader is not None and leader.alive
        return is_alive or (which == "all" and bool(processes.of_job(folder)))


def own_environment() -> dict[str, str]:
    """This process's environment, with a PYTHONPATH from which another Python process can import this package."""
    path = [os.environ.get("PYTHONPATH", "")]
    if places.CHECKOUT.name not in ("site-packages", "dist-packages"):
        path.insert(0, str(places.CHECKOUT))
    return {**os.environ, "PYTHONPATH": os.pathsep.join(part for part in path if part)}


def _identity(folder: Path, name: str) -> Identity | None:
    return Identity.from_dict(JobFolder(folder).read(name))


LOCAL = LocalHost()

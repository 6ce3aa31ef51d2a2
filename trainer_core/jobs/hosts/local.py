"""This machine as the host of a job."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from trainer_core import places
from trainer_core.errors import JobError
from trainer_core.files import open_own, write_whole
from trainer_core.jobs import processes
from trainer_core.jobs.folder import PROGRAM, SUPERVISOR, WRAPPER, JobFolder, unwritable, writing
from trainer_core.jobs.hosts.host import READ_LIMIT_BYTES, Which
from trainer_core.jobs.origin import Origin, Whereabouts
from trainer_core.jobs.processes import Identity

_START_S = 60.0
_ADDED_TO = ("engine.log", "runner.log", "events.jsonl", "lock", "reserve")
"""The files of a job folder that a supervisor opens for writing. All others are replaced, with a link as well."""
REFUSED, ERRNO = 3, 128
"""The exit codes of a supervisor that did not start: it refuses the job; a file cannot be written (this plus the errno)."""
NOT_FLUSHED = 120
"""The exit code of a Python that could not write its last output, as on a full disk. Source: Python, Py_FinalizeEx."""


class LocalHost:
    """This machine.

    The processes of a job are recorded in its folder by id and start time, and marked by a variable in their environment.
    """

    def put(self, files: Mapping[Path, str | bytes]) -> None:
        """Writes files; see `Host`."""
        for path, content in files.items():
            write_whole(path, content, durable=True)

    def start(self, folder: Path) -> None:
        """Starts the supervisor in its own session; see `Host`."""
        _start(folder)

    def adopt(self, folder: Path, force: bool = False) -> None:
        """Starts a new supervisor; see `Host`."""
        _start(folder, "--adopt", *(["--force"] if force else []))

    def whereabouts(self, folder: Path) -> Whereabouts:
        """Where the job's processes are; see `Host`."""
        origin = _origin(folder)
        return origin.whereabouts(folder) if origin else "here"

    def read(self, path: Path, offset: int = 0, limit: int = READ_LIMIT_BYTES) -> tuple[bytes, int]:
        """Reads a part of a file; see `Host`."""
        try:
            with open_own(path) as file:
                begin = offset if offset >= 0 else max(0, file.seek(0, os.SEEK_END) + offset)
                file.seek(begin)
                found = file.read(limit)
        except OSError:
            return b"", offset
        return found, begin + len(found)

    def signal(self, folder: Path, which: Which, number: int) -> None:
        """Sends a signal; see `Host`."""
        if not _has_processes(folder):
            return
        if which == "supervisor":
            supervisor = _identity(folder, SUPERVISOR)
            if supervisor is not None and supervisor.alive:
                processes.send(supervisor.pid, number)
        else:
            leaders = [each for each in _of_program(folder) if each.alive]
            for group in {_group(each.pid) for each in leaders}:
                processes.signal_group(group, number)
        if which == "all":
            for process in processes.of_job(_started_in(folder)):
                processes.send(process.pid, signal.Signals(number))

    def alive(self, folder: Path, which: Which) -> bool:
        """Whether such a process still runs; see `Host`."""
        if not _has_processes(folder):
            return False
        if which == "supervisor":
            supervisor = _identity(folder, SUPERVISOR)
            return supervisor is not None and supervisor.alive
        is_alive = any(each.alive for each in _of_program(folder))
        return is_alive or (which == "all" and bool(processes.of_job(_started_in(folder))))


def _start(folder: Path, *options: str) -> None:
    command = [sys.executable, "-P", "-m", "trainer_core.jobs.supervisor", str(folder), *options]
    _refuse_links(folder)
    log_path = JobFolder(folder).supervisor_log
    with writing(folder), log_path.open("ab") as log:
        begin = log.tell()
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
    if code == REFUSED:
        raise JobError(_said(log_path, begin) or f"The supervisor of {folder.name} refused the job.")
    if code == NOT_FLUSHED:
        code = ERRNO + errno.ENOSPC
    if code > ERRNO:
        raise unwritable(folder, OSError(code - ERRNO, os.strerror(code - ERRNO)))
    if code != 0:
        raise JobError(f"The supervisor of {folder.name} could not be started.", f"The reason is in {log_path}.")


def _refuse_links(folder: Path) -> None:
    """Refuses a folder in which a file to which a supervisor adds is a link: it would change any file of the user."""
    for name in _ADDED_TO:
        if (folder / name).is_symlink():
            raise JobError(
                f"{folder / name} is a link, and Easel would write to the file it leads to.",
                "Look where this folder comes from. Remove the link if the job is yours.",
            )


def _said(path: Path, begin: int) -> str:
    """The last line that the supervisor wrote."""
    with contextlib.suppress(OSError), open_own(path) as log:
        log.seek(begin)
        lines = log.read().decode("utf-8", "replace").split("\n")
        return next((line for line in reversed(lines) if line.strip()), "")
    return ""


def own_environment() -> dict[str, str]:
    """This process's environment, with a PYTHONPATH from which another Python process can import this package."""
    path = [os.environ.get("PYTHONPATH", "")]
    if places.CHECKOUT.name not in ("site-packages", "dist-packages"):
        path.insert(0, str(places.CHECKOUT))
    return {**os.environ, "PYTHONPATH": os.pathsep.join(part for part in path if part)}


def _identity(folder: Path, name: str) -> Identity | None:
    return Identity.from_dict(JobFolder(folder).read(name))


def _of_program(folder: Path) -> list[Identity]:
    """The program that runs now, and the process around it."""
    found = (_identity(folder, name) for name in (WRAPPER, PROGRAM))
    return [each for each in found if each is not None]


def _group(pid: int) -> int:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        return os.getpgid(pid)
    return pid


def _origin(folder: Path) -> Origin | None:
    return Origin.from_dict(JobFolder(folder).read(SUPERVISOR))


def _has_processes(folder: Path) -> bool:
    """Whether processes of this job can be on this machine: it is not a copy, and the machine was not restarted since."""
    origin = _origin(folder)
    return origin is None or (origin.whereabouts(folder) == "here" and not origin.is_past)


def _started_in(folder: Path) -> Path:
    """The folder of the job when it was started, by which its processes are marked."""
    origin = _origin(folder)
    return Path(origin.path) if origin else folder


LOCAL = LocalHost()

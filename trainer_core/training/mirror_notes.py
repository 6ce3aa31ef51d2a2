"""What the passes of a mirror leave in the run folder for people: mirror.log, and what the last pass could not copy."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import IO

from trainer_core.jobs.folder import JobFolder
from trainer_core.text import printable
from trainer_core.training.folder import MIRROR_LOG, RunFolder

FILE = "mirror-end.json"
"""What the last pass of a run that has ended could not copy."""


def keep(run: JobFolder, named: str, lack: str) -> None:
    """Writes down what was not copied to the named folder; without space for it, it is in runner.log all the same."""
    with contextlib.suppress(OSError):
        run.write(FILE, {"to": named, "told": f"Not all was mirrored. {lack}"})


def lack_of(run: JobFolder) -> str:
    """What is wrong with the mirror of a run that has ended, as a sentence; "" if nothing is."""
    told = (run.read(FILE) or {}).get("told")
    return printable(told, 1000) if isinstance(told, str) else ""


def forget(run: JobFolder, named: str) -> None:
    """A pass to this folder has copied everything: what failed at the end no longer counts."""
    if (run.read(FILE) or {}).get("to") == named:
        with contextlib.suppress(OSError):
            (run.path / FILE).unlink()


def open_log(run: RunFolder) -> IO[bytes]:
    """mirror.log of a run, open for writing. It is never a link, which could lead to a file of the user, or a pipe, which would wait.

    Raises:
        OSError: it cannot be opened, or is one of those.
    """
    path = run.path / MIRROR_LOG
    flags = os.O_WRONLY | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    handle = os.open(path, flags, 0o666)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, f"{MIRROR_LOG} is not a regular file", str(path))
    return os.fdopen(handle, "wb")

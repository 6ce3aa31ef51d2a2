"""The lock of a job: one supervisor at a time. The system releases it when the process that holds it ends, however it ends."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from trainer_core.errors import JobError

LOCK = "lock"


def acquire(folder: Path) -> int | None:
    """The open file that holds the lock as long as this process, or one that it forks, keeps it open.

    None where the file system has no locks: then only the recorded identity of the supervisor counts.

    Raises:
        JobError: another supervisor holds it.
        OSError: the file cannot be created.
    """
    import fcntl

    handle = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(handle)
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            raise JobError("Another supervisor has this job already.") from None
        return None
    return handle
